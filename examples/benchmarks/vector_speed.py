"""How many more turns per second a vector of processes plays than one environment.

    python examples/benchmarks/vector_speed.py --simulator textworld
    python examples/benchmarks/vector_speed.py --simulator scienceworld

One environment and ``gym.make_vec(id, num_envs=8, vectorization="async")`` play random admissible commands, turn about, in rounds
of the same number of turns; the figures are medians over rounds. Both simulators are asked for admissible commands, look and
inventory in every turn, and TextWorld plays without memory, so that what the simulator computes is most of the work. The commands
are drawn in this process, which takes part of the time of both.

Two cores that share memory and caches seldom do twice the work of one. So in each round one environment also plays in every
core's own process, none waiting for another: that ratio to one environment alone is the most that any vector can reach here, and
what the vector falls short of it is the price of stepping together. ScienceWorld's Java machines translate their code while they
run; the first rounds, which do not count, are theirs.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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


def make(simulator: str, **kwargs: Any) -> Any:
    """Make a vector of environments of a simulator."""
    env_id, settings = SIMULATORS[simulator]
    return gym.make_vec(env_id, infos=INFOS, max_turns=50, **settings, **kwargs)


@functools.cache
def only_one(simulator: str) -> Any:
    """Return this process's own environment."""
    return make(simulator, num_envs=1)


def play_apart(simulator: str, turns: int, round_number: int) -> float:
    """Play with this process's own environment, and return the turns per second."""
    return play(only_one(simulator), turns, np.random.default_rng(round_number))


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
    simulator = arguments.simulator
    players = [ProcessPoolExecutor(1) for _ in range(cores)]
    for player in players:  # before there is anything that a fork could take along
        player.submit(play_apart, simulator, 1, 0).result()
    single = make(simulator, num_envs=1)
    many = make(simulator, num_envs=number, vectorization="async")
    rates: dict[str, list[float]] = {"single": [], "many": [], "apart": []}
    for round_number in tqdm(range(warm_up + rounds), unit="round"):
        waiting = [player.submit(play_apart, simulator, turns // cores, round_number) for player in players]
        found = {"apart": sum(player.result() for player in waiting)}
        for name, envs in (("single", single), ("many", many)):
            found[name] = play(envs, turns, np.random.default_rng(round_number))
        if round_number >= warm_up:
            for name, rate in found.items():
                rates[name].append(rate)
    for player in players:
        player.shutdown()
    single.close()
    many.close()
    one, all_of_them, apart = (statistics.median(rates[name]) for name in ("single", "many", "apart"))
    print(
        f"{simulator}: one environment {one:.0f} turns/s, {number} in {min(number, cores)} processes "
        f"{all_of_them:.0f} turns/s, {all_of_them / one:.2f} times as many; "
        f"{cores} processes that do not wait for each other {apart:.0f} turns/s, {apart / one:.2f} times as many"
    )


if __name__ == "__main__":
    main()
