"""Sends random strings to a simulator, by the hundred thousand, and counts what comes of them.

    python examples/benchmarks/fuzz.py --simulator textworld --strings 100000
    python examples/benchmarks/fuzz.py --simulator scienceworld --strings 100000

A string is random bytes read as Latin-1 or as UTF-8 (with lone surrogates where they are none), a damaged or chained command,
words in disorder, a command to the interpreter with noise around it, or a very long one. The simulator runs inside this process
(ScienceWorld: in the Java machine of this process), so if anything went through that kills it, no counts would be printed. After
every episode the expert's solution is played, and must still win: the strings have left nothing behind.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import gymnasium as gym
from tqdm import tqdm

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.errors import SimulatorCrashed

SIMULATORS = {
    "textworld": ("mise/FTWP-v0", {"num_games": 5}, ({},)),
    "scienceworld": ("mise/ScienceWorld-v0", {}, tuple({"task": task} for task in ("find-plant", "boil", "power-component"))),
}
OUTCOMES = (
    "strings",
    "turned away before the simulator",
    "understood",
    "episodes that they ended",
    "crashes of the simulator",
    "experts who lost afterwards",
)
TURNS = 200
META = ("save", "restore", "restart", "quit", "script", "undo", "verify", "tw-trace-actions", "restrict commands", "notify off")
JOINTS = (". ", " then ", "\n", ", ", "\x00", "; ", "\r", "\u2028", "\x1b[2J", "\t")
Maker = Callable[[random.Random, Sequence[str]], str]


def latin(rng: random.Random, _: Sequence[str]) -> str:
    """Return bytes as Latin-1."""
    return rng.randbytes(rng.randrange(60)).decode("latin-1")


def utf8(rng: random.Random, _: Sequence[str]) -> str:
    """Return bytes as UTF-8; what is none becomes lone surrogates."""
    return rng.randbytes(rng.randrange(60)).decode("utf-8", errors="surrogateescape")


def damaged(rng: random.Random, commands: Sequence[str]) -> str:
    """Return a command with some characters replaced."""
    letters = list(rng.choice(commands))
    for _ in range(rng.randint(1, 3)):
        letters[rng.randrange(len(letters))] = chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), 0)))
    return "".join(letters)


def disorder(rng: random.Random, commands: Sequence[str]) -> str:
    """Return words of commands, in any order."""
    words = [word for command in commands for word in command.split()]
    return " ".join(rng.choices([*words, "all", "it", "except", "into", "me", "the", "99", "?", '"'], k=rng.randint(1, 9)))


def chained(rng: random.Random, commands: Sequence[str]) -> str:
    """Return several commands in one string."""
    return rng.choice(JOINTS).join(rng.choices([*commands, *META], k=rng.randint(2, 4)))


def meta(rng: random.Random, _: Sequence[str]) -> str:
    """Return a command to the interpreter with something before and after it."""
    return latin(rng, ())[:3] + rng.choice(META) + rng.choice(("", " ", "\x00", " x", ".sav", "\n"))


def long(rng: random.Random, commands: Sequence[str]) -> str:
    """Return a text of up to 100 kB."""
    return rng.choice(commands) * rng.randrange(1, 5000)


MAKERS: tuple[Maker, ...] = (latin, utf8, damaged, disorder, chained, meta, long)
WEIGHTS = (20, 20, 20, 20, 10, 9, 1)


def fuzz(simulator: str, strings: int, seed: int, *, progress: bool = True) -> Counter[str]:
    """Send so many strings and return counts by outcome."""
    env_id, arguments, choices = SIMULATORS[simulator]
    env = gym.make(env_id, max_turns=None, **arguments).unwrapped
    rng, counts = random.Random(seed), Counter[str](dict.fromkeys(OUTCOMES, 0))
    bar = tqdm(total=strings, unit="string", unit_scale=True, disable=not progress)
    while counts["strings"] < strings:
        env.reset(seed=rng.randrange(1000), options=rng.choice(choices))
        expert = env.expert_actions()
        makers = rng.choices(MAKERS, WEIGHTS, k=min(TURNS, strings - counts["strings"]))
        send(env, (make(rng, expert) for make in makers), counts)
        bar.update(counts["strings"] - bar.n)
        counts["experts who lost afterwards"] += not still_works(env, expert, simulator)
    bar.close()
    env.close()
    return counts


def send(env: gym.Env[str, str], actions: Iterable[str], counts: Counter[str]) -> None:
    """Send strings until the episode ends, and count what came of them."""
    refused = 0
    for action in actions:
        counts["strings"] += 1
        try:
            *_, terminated, _, info = env.step(action)
        except SimulatorCrashed:
            counts["crashes of the simulator"] += 1
            break
        counts["understood"] += info["valid_action"]
        refused = info.get("refused_actions", 0)
        if terminated:
            counts["episodes that they ended"] += 1
            break
    counts["turned away before the simulator"] += refused


def still_works(env: gym.Env[str, str], expert: Sequence[str], simulator: str) -> bool:
    """Start the same episode again and return whether the expert's solution wins it (ScienceWorld: whether it is understood)."""
    task = env.get_wrapper_attr("known_options")[0]
    env.reset(options={task: env.get_wrapper_attr("_task").task_id})
    infos = []
    for action in expert[: None if simulator == "textworld" else 5]:
        *_, terminated, _, info = env.step(action)
        infos.append(info)
        if terminated:
            break
    return bool(infos[-1]["success"]) if simulator == "textworld" else all(info["valid_action"] for info in infos)


def main() -> int:
    """Fuzz, print the counts, and return 1 if anything crashed or was left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulator", choices=list(SIMULATORS), default="textworld", help="what to send them to")
    parser.add_argument("--strings", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides the strings (default: %(default)s)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    counts = fuzz(arguments.simulator, arguments.strings, arguments.seed)
    print(f"{arguments.simulator}, seed {arguments.seed}, {time.perf_counter() - start:.0f} s:")
    for what, count in counts.items():
        print(f"  {what}: {count}")
    return int(counts["crashes of the simulator"] + counts["experts who lost afterwards"] > 0)


if __name__ == "__main__":
    sys.exit(main())
