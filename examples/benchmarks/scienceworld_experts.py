"""Whether the expert solves every task of ScienceWorld, at three variations each: the first of every split.

    python examples/benchmarks/scienceworld_experts.py

Takes about five minutes the first time, most of it for the two tasks of genetics; the solutions are then kept on disk.
"""

import argparse
import time

import gymnasium as gym

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.science.tasks import SPLITS, TASKS, ScienceTask
from mise_gym.errors import MiseError


def play(env: gym.Env[str, str], task: ScienceTask, variation: int) -> str:
    """Play the expert's actions; return how many succeeded, or "fails"."""
    env.reset(options={"task": task.name, "variation": variation})
    try:
        actions = env.unwrapped.expert_actions()  # type: ignore[attr-defined]  # of every environment of this suite
    except MiseError:
        return "fails"
    ends = [env.step(action)[2:] for action in actions]
    terminated, _, info = ends[-1]
    return str(len(actions)) if terminated and info["success"] else "fails"


def main() -> None:
    """Print the lengths of the solutions, and how many tasks are solved at every variation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="only three tasks")
    arguments = parser.parse_args()
    env = gym.make("mise/ScienceWorld-v0", max_turns=None)
    solved, tasks = 0, TASKS[11:14] if arguments.fast else TASKS
    for task in tasks:
        start = time.perf_counter()
        results = {split: play(env, task, task.variations_of(split)[0]) for split in SPLITS}
        solved += "fails" not in results.values()
        print(task.name, *(f"{split} {result}" for split, result in results.items()), f"{time.perf_counter() - start:.1f} s")
    print(f"{solved} of {len(tasks)} tasks solved at every variation")
    env.close()


if __name__ == "__main__":
    main()
