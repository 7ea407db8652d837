"""How much faster mise_gym makes cooking games than ``tw-make``, TextWorld's command.

    python examples/benchmarks/game_generation.py --games 200 --processes 2

Batches of games are made in turns: by ``tw-make`` with as many processes side by side as mise_gym has, each of which makes one
game, and by ``make_games``, whose processes make one game after the other (starting them counts). Times are wall times; the ratio
is that of the sums, and the median over batches is shown too. mise_gym besides sees to it that no game occurs twice.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from mise_gym.envs.game_pool import GamePool
from mise_gym.envs.games import make_games
from mise_gym.envs.levels import DEFAULT_LEVEL, parse_level

BATCH = 10


def tw_make(level: str, seed: int, folder: Path) -> None:
    """Make a game with TextWorld's command."""
    program = next(file.locate() for file in metadata.files("textworld") or () if file.name == "tw-make")
    options = []
    for name, value in parse_level(level).items():
        if value and name != "mixed":
            options += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    output = str(folder / f"{seed}.z8")
    command = [sys.executable, str(program), "tw-cooking", *options, "--split", "train", "--seed", str(seed), "--output", output]
    subprocess.run([*command, "--silent"], check=True, stdout=subprocess.DEVNULL)


def seconds(make: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    make()
    return time.perf_counter() - start


def main() -> None:
    """Print seconds per game and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=20, help="games to make with each (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="processes of each (default: %(default)s)")
    parser.add_argument("--level", default=DEFAULT_LEVEL, help="difficulty of the games (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="only two games each")
    arguments = parser.parse_args()
    games, batch = (2, 2) if arguments.fast else (arguments.games, min(BATCH, arguments.games))
    spent: dict[str, list[float]] = {"theirs": [], "ours": []}
    with (
        tempfile.TemporaryDirectory() as name,
        GamePool(arguments.processes) as pool,
        ThreadPoolExecutor(arguments.processes) as threads,
    ):
        folder, level = Path(name), arguments.level
        for first in tqdm(range(0, games, batch), unit="batch"):
            end = min(first + batch, games)
            seeds = range(first, end)
            spent["theirs"].append(seconds(lambda seeds=seeds: list(threads.map(lambda n: tw_make(level, n, folder), seeds))))
            more = {"workers": pool, "progress": False, "cache": folder / "ours"}
            spent["ours"].append(seconds(lambda end=end, more=more: make_games(level, "train", end, **more)))
    theirs, ours = (sum(spent[whose]) for whose in ("theirs", "ours"))
    median = statistics.median(one / other for one, other in zip(spent["theirs"], spent["ours"], strict=True))
    print(
        f"{level}, {games} games, {arguments.processes} processes each: tw-make {theirs / games:.2f} s per game, "
        f"mise_gym {ours / games:.2f} s per game, {theirs / ours:.1f} times faster (median of batches {median:.1f})"
    )


if __name__ == "__main__":
    main()
