"""What many environments cost, and whether episodes repeat themselves: ScienceWorld in mise_gym and in its own Python package.

    python examples/benchmarks/scienceworld_machines.py

Memory is the resident memory of all Java processes (Linux only). Repeating means: the same valid actions, the same texts.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import scienceworld

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.science.tasks import TASKS


def java_megabytes() -> float:
    """Return the resident memory of the Java processes that this process has started."""
    children = Path("/proc/self/task").glob("*/children")
    processes = {pid for each in children for pid in each.read_text().split()}
    sizes = [line for pid in processes for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line]
    return sum(int(line.split()[1]) for line in sizes) / 1024


def start_many(make: Callable[[], Any], close: Callable[[Any], None], number: int) -> tuple[float, float, float]:
    """Return the seconds that the first and a further environment take to start, and the megabytes of all together."""
    envs, seconds = [], []
    for _ in range(number):
        start = time.perf_counter()
        envs.append(make())
        seconds.append(time.perf_counter() - start)
    megabytes = java_megabytes()
    for env in envs:
        close(env)
    return seconds[0], sorted(seconds[1:])[(number - 1) // 2], megabytes


def start_ours() -> gym.Env[str, str]:
    """Start an episode with an environment of its own."""
    env = gym.make("mise/ScienceWorld-v0", infos=["admissible_commands"])
    env.reset(options={"task": "boil", "variation": 0})
    return env


def start_theirs() -> Any:
    """Start an episode with an environment of its own."""
    env = scienceworld.ScienceWorldEnv()
    env.load("boil", 0, "")
    env.reset()
    return env


def episode(envs: Sequence[gym.Env[str, str]], task: str, turns: int) -> list[str]:
    """Return what the first environment says while the others play other tasks."""
    rng, texts = np.random.default_rng(0), []
    observation, info = envs[0].reset(options={"task": task, "variation": 0})
    for number, other in enumerate(envs[1:]):
        other.reset(seed=number)
    for _ in range(turns):
        texts.append(observation)
        commands = [command for command in info["admissible_commands"] if not command.startswith("focus")]
        observation, _, _, _, info = envs[0].step(commands[int(rng.integers(len(commands)))])
        for other in envs[1:]:
            other.step("wait1")
    return texts


def main() -> None:
    """Print memory, times to start, and how many tasks repeat themselves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=8, help="environments at the same time")
    parser.add_argument("--turns", type=int, default=15, help="turns of the episodes that are repeated")
    parser.add_argument("--fast", action="store_true", help="two environments, three tasks")
    arguments = parser.parse_args()
    number, tasks = (2, TASKS[:3]) if arguments.fast else (arguments.envs, TASKS)
    ours = start_many(start_ours, lambda env: env.close(), number)
    theirs = start_many(start_theirs, lambda env: env.close(), number)
    for name, (first, further, megabytes) in {"mise_gym": ours, "scienceworld": theirs}.items():
        print(f"{name}: first start {first:.2f} s, a further one {further:.3f} s, {number} environments {megabytes:.0f} MB")
    print(f"memory {theirs[2] / ours[2]:.1f} times less, a further start {theirs[1] / ours[1]:.0f} times faster")
    envs = [gym.make("mise/ScienceWorld-v0", max_turns=None, infos=["admissible_commands"]) for _ in range(number)]
    same = sum(episode(envs[:1], task.name, arguments.turns) == episode(envs, task.name, arguments.turns) for task in tasks)
    print(f"the same alone and among {number - 1} others: {same} of {len(tasks)} tasks")
    for env in envs:
        env.close()


if __name__ == "__main__":
    main()
