"""How many more turns per second a vector of processes plays than one environment.

    python examples/benchmarks/vector_speed.py --simulator textworld
    python examples/benchmarks/vector_speed.py --simulator scienceworld

One environment and ``gym.make_vec(id, num_envs=8, vectorization="async")`` play random admissible commands, turn about, in rounds
of the same number of turns; the figures are medians over rounds. Both simulators are asked for admissible commands, look and
inventory in every turn, and TextWorld plays without memory, so that what the simulator computes is most of the work. The commands
are drawn in this process, which takes part of the time of both.

A machine of two shared cores seldom does twice the work of one, so each round also times a plain Python loop, alone and in one
process per core: that ratio is the most that any vector can reach here. ScienceWorld's Java machines translate their code while
they run; the first rounds, which do not count, are theirs.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

import mise_gym  # noqa: F401  # registers the ids

INFOS = ("admissible_commands", "look", "inventory")
SIMULATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "textworld": ("mise/FTWP-v0", {"level": "hard", "num_games": 2, "memoise": False}),
    "scienceworld": ("mise/ScienceWorld-v0", {"task": "find-plant"}),
}


def choose(rng: np.random.Generator, commands: Sequence[str]) -> str:
    """Return one of the commands, but none that ends a ScienceWorld episode."""
    harmless = [command for command in commands if not command.startswith(("focus", "reset"))]
    return harmless[int(rng.integers(len(harmless)))]


def play(envs: Any, turns: int, rng: np.random.Generator) -> float:
    """Play at least so many turns with a vector and return the turns per second."""
    _, infos = envs.reset(seed=int(rng.integers(1000)))
    steps = -(-turns // envs.num_envs)
    start = time.perf_counter()
    for _ in range(steps):
        actions = tuple(choose(rng, commands) for commands in infos["admissible_commands"])
        infos = envs.step(actions)[-1]
    return steps * envs.num_envs / (time.perf_counter() - start)


def spin(_: int) -> float:
    """Return how many rounds per second a plain loop does."""
    table: dict[int, int] = {}
    start = time.perf_counter()
    for number in range(1_000_000):
        table[number & 1023] = table.get(number * 7 & 1023, 0) + 1
    return 1_000_000 / (time.perf_counter() - start)


def machine_ratio(pool: Any, cores: int) -> float:
    """Return how many times the work of one core all of them do together, right now."""
    return sum(pool.map(spin, range(cores), chunksize=1)) / spin(0)


def main() -> None:
    """Print turns per second and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulator", choices=list(SIMULATORS), default="textworld", help="who plays (default: %(default)s)")
    parser.add_argument("--envs", type=int, default=8, help="environments of the vector (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=800, help="turns per round and side (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=8, help="rounds before them (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="two environments, one round of 20 turns")
    arguments = parser.parse_args()
    number, turns, rounds, warm_up = arguments.envs, arguments.turns, arguments.rounds, arguments.warm_up
    if arguments.fast:
        number, turns, rounds, warm_up = 2, 20, 1, 0
    cores = os.cpu_count() or 1
    pool = multiprocessing.Pool(cores)
    env_id, kwargs = SIMULATORS[arguments.simulator]
    kwargs = {**kwargs, "infos": INFOS, "max_turns": None}
    single = gym.make_vec(env_id, num_envs=1, **kwargs)
    many = gym.make_vec(env_id, num_envs=number, vectorization="async", **kwargs)
    rates: dict[str, list[float]] = {"single": [], "many": [], "machine": []}
    for round_number in tqdm(range(warm_up + rounds), unit="round"):
        found = {"machine": machine_ratio(pool, cores)}
        for name, envs in (("single", single), ("many", many)):
            found[name] = play(envs, turns, np.random.default_rng(round_number))
        if round_number >= warm_up:
            for name, rate in found.items():
                rates[name].append(rate)
    pool.close()
    pool.join()
    single.close()
    many.close()
    one, all_of_them, machine = (statistics.median(rates[name]) for name in ("single", "many", "machine"))
    print(
        f"{arguments.simulator}: one environment {one:.0f} turns/s, {number} in {min(number, cores)} processes "
        f"{all_of_them:.0f} turns/s, {all_of_them / one:.2f} times as many; "
        f"a plain loop in {cores} processes does {machine:.2f} times the work of one"
    )


if __name__ == "__main__":
    main()
