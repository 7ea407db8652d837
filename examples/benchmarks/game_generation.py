"""How much faster mise_gym makes cooking games than TextWorld's generator called plainly.

Both make the same games, one after the other in turns, each in one process that has made a game before. In use, mise_gym also
makes games side by side on all cores; that gain is not counted here.

    python examples/benchmarks/game_generation.py --games 10
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import textworld
from textworld.challenges import CHALLENGES

from mise_gym.envs.game_pool import GameWorkerProcess
from mise_gym.envs.levels import DEFAULT_LEVEL, GameFamily, cooking_family


def make_plainly(family: GameFamily, seed: int, folder: Path) -> None:
    """Make a game as ``tw-make`` does."""
    options = textworld.GameOptions()
    options.seeds, options.path, options.force_recompile = seed, str(folder / f"plain-{seed}.z8"), True
    game = CHALLENGES[family.challenge][1]({**family.settings_for("train"), "seed": seed}, options)
    textworld.generator.compile_game(game, options)


def make_ours(worker: GameWorkerProcess, family: GameFamily, seed: int, folder: Path) -> None:
    """Make a game as ``make_games`` does."""
    settings, stem = family.settings_for("train"), str(folder / f"ours-{seed}")
    worker.make({"challenge": family.challenge, "settings": settings, "seed": seed, "share": None, "stem": stem})


def main() -> None:
    """Print seconds per game and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=10, help="games to make with each")
    parser.add_argument("--level", default=DEFAULT_LEVEL, help="difficulty of the games")
    parser.add_argument("--fast", action="store_true", help="only two games each")
    arguments = parser.parse_args()
    family, worker = cooking_family(arguments.level), GameWorkerProcess()
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        makers = {
            "plain": lambda seed: make_plainly(family, seed, folder),
            "ours": lambda seed: make_ours(worker, family, seed, folder),
        }
        for seed in range(1 + (2 if arguments.fast else arguments.games)):
            for kind, make in makers.items():
                start = time.perf_counter()
                make(seed)
                seconds[kind].append(time.perf_counter() - start)
    worker.close()
    plain, ours = (statistics.median(seconds[kind][1:]) for kind in ("plain", "ours"))
    print(f"{family.name}: plainly {plain:.2f} s per game, mise_gym {ours:.2f} s per game, {plain / ours:.1f} times faster")


if __name__ == "__main__":
    main()
