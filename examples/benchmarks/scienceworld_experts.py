"""Whether the expert solves every task of ScienceWorld, at three variations each: the first of every split.

    python examples/benchmarks/scienceworld_experts.py

Takes about five minutes the first time, most of it for the two tasks of genetics; the solutions are then kept on disk. With
``--check`` it fails if the lengths are not those in ``mise_gym.envs.science.tasks``, which the documentation shows.
"""

import argparse
import time

import gymnasium as gym

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.science.tasks import SPLITS, TASKS, ScienceTask
from mise_gym.errors import MiseError


def play(env: gym.Env[str, str], task: ScienceTask, variation: int) -> int | None:
    """Play the expert's actions; return how many it takes to succeed, or ``None`` if it fails."""
    env.reset(options={"task": task.name, "variation": variation})
    try:
        actions = env.unwrapped.expert_actions()  # type: ignore[attr-defined]  # of every environment of this suite
    except MiseError:
        return None
    ends = [env.step(action)[2:] for action in actions]
    terminated, _, info = ends[-1]
    return len(actions) if terminated and info["success"] else None


def main() -> None:
    """Print the lengths of the solutions, and how many tasks are solved at every variation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="only three tasks")
    parser.add_argument("--check", action="store_true", help="fail if the table of tasks says something else")
    arguments = parser.parse_args()
    env = gym.make("mise/ScienceWorld-v0", max_turns=None)
    tasks = TASKS[11:14] if arguments.fast else TASKS
    lengths = {}
    for task in tasks:
        start = time.perf_counter()
        lengths[task] = tuple(play(env, task, task.variations_of(split)[0]) for split in SPLITS)
        said = (f"{split} {length or 'fails'}" for split, length in zip(SPLITS, lengths[task], strict=True))
        print(task.name, *said, f"{time.perf_counter() - start:.1f} s")
    print(f"{sum(None not in each for each in lengths.values())} of {len(tasks)} tasks solved at every variation")
    env.close()
    wrong = [task.name for task in tasks if lengths[task] != task.expert_lengths]
    if arguments.check and wrong:
        raise SystemExit(f"The table in mise_gym/envs/science/tasks.py is wrong about {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
