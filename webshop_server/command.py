"""The options of serving and how it is done, for ``mise-gym webshop serve`` and ``python -m webshop_server``."""

import argparse
import contextlib
import logging
import logging.handlers
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from webshop_server.config import ShopConfig, default_folder
from webshop_server.engine.goal_list import KINDS
from webshop_server.engine.scoring import QUIRKS
from webshop_server.errors import ServingError
from webshop_server.hosts import LOOPBACK
from webshop_server.past_visit import PastVisit
from webshop_server.server import DEFAULT_PORT, ShopServer

_LOG_BYTES: Final = 5_000_000
_LOG_FILES: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of serving."""
    parser.add_argument("--catalogue", type=Path, metavar="DIR", help="folder of a catalogue (default: the generated one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="another name under which browsers may ask for the shop; can be repeated (default: localhost and the address)",
    )
    parser.add_argument("--goals", choices=KINDS, default="human", help="what the start page lists first (default: %(default)s)")
    parser.add_argument(
        "--quirks", choices=QUIRKS, default="upstream", help="WebShop with its flaws, or repaired (default: %(default)s)"
    )
    parser.add_argument("--show-attributes", action="store_true", help="give products a page with their hidden attributes")
    parser.add_argument("--hide-score", action="store_true", help="do not tell shoppers the score of their purchase")
    parser.add_argument("--seed", type=int, help='repeats the draws of "Surprise me" (default: other ones each time)')
    parser.add_argument("--log", type=Path, metavar="FILE", help="write a line per request; three files of 5 MB are kept")


def serve(arguments: argparse.Namespace, on_end: Callable[[PastVisit], None] | None, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        arguments: What ``add_arguments`` asked for.
        on_end: Called for each visit that is over.
        say: Shows a line to the user.

    Raises:
        ShopError: The catalogue, the address or a number is no good.
    """
    if arguments.log is not None:
        _log_to(arguments.log)
    config = ShopConfig(
        catalogue=default_folder() if arguments.catalogue is None else arguments.catalogue,
        goals=arguments.goals,
        quirks=arguments.quirks,
        show_attributes=arguments.show_attributes,
        show_score=not arguments.hide_score,
        seed=arguments.seed,
        host_names=tuple(arguments.host_name),
        on_end=on_end,
    )
    server = ShopServer(config, host=arguments.host, port=arguments.port)
    catalogue = server.storefront.catalogue
    say(f"The shop is open at {server.url} ({len(catalogue):,} products from {str(catalogue.folder)!r}). Ctrl-C closes it.")
    if arguments.host not in LOOPBACK:
        say("It has no passwords: everybody who can reach this machine can use it.")
    with _ended_by_sigterm():
        server.run()
    say("The shop is closed.")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have the signal that ends services do what Ctrl-C does, so that visits are recorded."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_to(path: Path) -> None:
    try:
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES - 1, encoding="utf-8")
    except OSError as error:
        raise ServingError(
            f"The log {str(path)!r} cannot be written: {error.strerror}. Choose another file with --log."
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("webshop_server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
