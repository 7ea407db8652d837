"""How much faster TextWorld is in mise_gym than in ``textworld.gym``.

    python examples/benchmarks/textworld_speed.py

Both play the same episodes of random admissible commands, turn about; the figures are medians over episodes, the ratios say how
many times faster mise_gym is. Times are CPU times of this process, in which both run, so that a busy machine distorts them
little. Every episode is played for the first time, so that what mise_gym remembers of earlier episodes helps only where they
began alike; "played before" is what memory brings when an episode comes again. "Lazily" means that description and inventory
are read at the end of the episode and not in every turn, for which ``textworld.gym`` has no way.
"""

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import textworld
import textworld.gym
from tqdm import tqdm

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.games import make_game
from mise_gym.envs.levels import CHALLENGES, game_family

GAMES = ("basic", "hard", "tw-simple")
ADMISSIBLE = ("admissible_commands",)
TEXTS = ("look", "inventory")
WAYS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool], ...] = (
    ("no infos", (), (), True),
    ("admissible commands", ADMISSIBLE, (), True),
    ("admissible commands, description and inventory lazily", ADMISSIBLE, TEXTS, True),
    ("admissible commands, description and inventory every turn", (*ADMISSIBLE, *TEXTS), (), True),
    ("admissible commands, without memory", ADMISSIBLE, (), False),
)
"""What is measured: a name, the infos of every turn, those of the last one, and whether exchanges are remembered."""


def start_theirs(path: Path, infos: Sequence[str]) -> Any:
    """Return an environment of ``textworld.gym``."""
    names = {"look": "description"}
    asked = textworld.EnvInfos(**{names.get(name, name): True for name in infos})
    return textworld.gym.make(textworld.gym.register_game(str(path), asked, max_episode_steps=10_000))


def start_ours(path: Path, infos: Sequence[str], *, memoise: bool) -> Any:
    """Return the same environment of mise_gym, with the one game that it plays already known."""
    env = gym.make("mise/TextWorld-v0", games=path, infos=infos, memoise=memoise, max_turns=None).unwrapped
    env.reset()
    return env


def random_episodes(path: Path, turns: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Yield commands of episodes, chosen by chance in an environment of its own."""
    env = start_theirs(path, ADMISSIBLE)
    while True:
        _, infos = env.reset()
        actions: list[str] = []
        done = False
        while not done and len(actions) < turns:
            actions.append(str(rng.choice(infos["admissible_commands"])))
            _, _, done, infos = env.step(actions[-1])
        yield actions


def play(env: Any, actions: Sequence[str], last: Sequence[str] = ()) -> tuple[float, float]:
    """Return the milliseconds of the reset and of the whole episode."""
    start = time.process_time()
    env.reset()
    begun = time.process_time()
    for action in actions:
        env.step(action)
    for name in last:
        env.find_out(name)
    return 1000 * (begun - start), 1000 * (time.process_time() - start)


def measure(path: Path, episodes: int, turns: int) -> Iterator[tuple[str, float, float]]:
    """Yield what was measured, and milliseconds of ``textworld.gym`` and of mise_gym."""
    scripts = random_episodes(path, turns, np.random.default_rng(0))
    for name, every_turn, last, memoise in WAYS:
        theirs, ours = start_theirs(path, (*every_turn, *last)), start_ours(path, every_turn, memoise=memoise)
        for number in range(episodes + 1):
            actions = next(scripts)
            reset_theirs, episode_theirs = play(theirs, actions)
            reset_ours, episode_ours = play(ours, actions, last)
            if number:  # the first one warms up
                yield f"episode, {name}", episode_theirs, episode_ours
                yield "reset on a known game", reset_theirs, reset_ours
                if name == "no infos":
                    yield "episode played before, no infos", episode_theirs, play(ours, actions)[1]


def main() -> None:
    """Print milliseconds and ratios."""
    warnings.simplefilter("ignore")  # jericho knows none of TextWorld's games
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=GAMES, metavar="NAME", help="generators, or levels of cooking games")
    parser.add_argument("--episodes", type=int, default=9, help="episodes per row (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=40, help="most turns per episode (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="two short episodes per row")
    arguments = parser.parse_args()
    episodes, turns = (2, 10) if arguments.fast else (arguments.episodes, arguments.turns)
    for name in tqdm(arguments.games, unit="game"):
        path = make_game(game_family(name, None, None) if name in CHALLENGES else name, "train", 0)
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for what, theirs, ours in measure(path, episodes, turns):
            found[what].append((theirs, ours))
        tqdm.write(f"{name} ({path.stem})")
        for what, pairs in found.items():
            theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
            tqdm.write(f"  {what}: textworld.gym {theirs:.1f} ms, mise_gym {ours:.2f} ms, {theirs / ours:.2f} times faster")


if __name__ == "__main__":
    main()
