"""Whether the scripted buyer gets the whole reward for every goal of the generated catalogue, in both kinds of quirks.

    python examples/benchmarks/webshop_experts.py
    python examples/benchmarks/webshop_experts.py --every 1

Prints how many purchases were perfect; the exit status is 1 unless all were.
"""

import argparse
import sys

from webshop_server.config import default_folder
from webshop_server.engine.buyer import buy
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.goal import Goal
from webshop_server.engine.goal_list import KINDS
from webshop_server.engine.scoring import QUIRKS, Quirks
from webshop_server.errors import GoalError


def main() -> int:
    """Buy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=20, help="look at every N-th goal only (default: %(default)s)")
    every = parser.parse_args().every
    failures = 0
    for quirks in QUIRKS:
        shop = Catalogue(default_folder(), quirks)
        for kind in KINDS:
            goals = shop.goals(kind)
            numbers = range(0, len(goals), every)
            failed = [number for number in numbers if not succeeds(shop, goals[number], quirks)]
            failures += len(failed)
            print(f"{quirks}, {kind}: {len(numbers) - len(failed)} of {len(numbers)} {failed[:10] or ''}", flush=True)
    return 1 if failures else 0


def succeeds(shop: Catalogue, goal: Goal, quirks: Quirks) -> bool:
    """Return whether the buyer finds a way to reward 1.0."""
    try:
        buy(shop, goal, quirks=quirks)
    except GoalError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
