"""``python -m webshop_server`` serves the shop; ``mise-gym webshop serve`` records visits, too."""

import argparse
import sys

from webshop_server.command import add_arguments, serve
from webshop_server.errors import ShopError


def main() -> int:
    """Serve until Ctrl-C; a failure is one sentence and exit status 2, Ctrl-C before the shop is open 130."""
    parser = argparse.ArgumentParser(prog="python -m webshop_server", description="Open the shop in a browser.")
    add_arguments(parser)
    try:
        serve(parser.parse_args(), None, say)
    except ShopError as error:
        print(f"webshop_server: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def say(line: str) -> None:
    """Print a line at once, even into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
