"""How much faster ScienceWorld is in mise_gym than in its own Python package.

    python examples/benchmarks/scienceworld_speed.py

Both play the same episodes, turn about; the figures are medians over episodes, the ratios say how many times faster mise_gym is.
The time on a processor, of Python and Java together (Linux only), says more than the clock while the machine is busy with others.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np
import scienceworld

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.science.tasks import TASKS

EVERYTHING = ("admissible_commands", "look", "inventory")
SAMPLE = (
    "boil", "use-thermometer", "power-component", "test-conductivity", "find-plant",
    "grow-plant", "chemistry-mix", "lifespan-longest-lived", "identify-life-stages-1", "inclined-plane-determine-angle",
)  # fmt: skip
Act = Callable[[str], object]


def processor_seconds() -> float:
    """Return the time that this process and the Java machines which it has started have spent on a processor."""
    processes = {pid for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()}
    threads = [each for pid in processes for each in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return time.process_time() + sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def timed(act: Callable[[], object], times: int = 1) -> tuple[float, float]:
    """Return how many milliseconds a call takes that does something so many times: by the clock, and on a processor."""
    worked, start = processor_seconds(), time.perf_counter()
    act()
    seconds = time.perf_counter() - start
    return 1000 * seconds / times, 1000 * (processor_seconds() - worked) / times


def per_turn(act: Act, actions: Sequence[str]) -> tuple[float, float]:
    """Return the milliseconds per turn of an episode."""
    return timed(lambda: [act(action) for action in actions], len(actions))


def random_actions(env: gym.Env[str, str], task: str, turns: int) -> list[str]:
    """Return valid actions chosen by chance."""
    rng, actions = np.random.default_rng(0), []
    _, info = env.reset(options={"task": task, "variation": 0})
    for _ in range(turns):
        commands = [command for command in info["admissible_commands"] if not command.startswith(("focus", "reset"))]
        actions.append(commands[int(rng.integers(len(commands)))])
        info = env.step(actions[-1])[4]
    return actions


def measure(turns: int, rounds: int, tasks: Sequence[str]) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Yield what was measured, with whom, and milliseconds by the clock and on a processor."""
    lazy = gym.make("mise/ScienceWorld-v0", max_turns=None).unwrapped
    eager = gym.make("mise/ScienceWorld-v0", max_turns=None, infos=EVERYTHING).unwrapped
    theirs = scienceworld.ScienceWorldEnv()
    for number in range(rounds + 1):  # the first round warms up
        for task in tasks:
            choice = {"task": task, "variation": 0}
            lazy.reset(options=choice)
            ways = {"expert": lazy.expert_actions()[:turns], "random": random_actions(eager, task, turns)}
            for kind, actions in ways.items():
                start_theirs = timed(lambda task=task: (theirs.load(task, 0, ""), theirs.reset()))
                start_ours = timed(lambda choice=choice: lazy.reset(options=choice))
                turn_theirs = per_turn(theirs.step, actions)
                turn_ours = per_turn(lazy.step, actions[: turns if kind == "random" else -1])
                eager.reset(options=choice)
                turn_eager = per_turn(eager.step, actions[: turns if kind == "random" else -1])
                if number:
                    yield "start of an episode", "theirs", start_theirs
                    yield "start of an episode", "ours", start_ours
                    for what, ours in ((f"turn, {kind} actions", turn_ours), (f"turn, {kind} actions, all infos", turn_eager)):
                        yield what, "theirs", turn_theirs
                        yield what, "ours", ours
    theirs.close()


def main() -> None:
    """Print milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20, help="turns per episode")
    parser.add_argument("--rounds", type=int, default=3, help="episodes per task and kind of actions")
    parser.add_argument("--fast", action="store_true", help="one task, one round")
    arguments = parser.parse_args()
    rounds, tasks = (1, SAMPLE[4:5]) if arguments.fast else (arguments.rounds, SAMPLE)
    assert set(tasks) <= {task.name for task in TASKS}
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for what, whose, milliseconds in measure(arguments.turns, rounds, tasks):
        found[what][whose].append(milliseconds)
    for what, both in found.items():
        (theirs, work), (ours, our_work) = (
            map(statistics.median, zip(*both[whose], strict=True)) for whose in ("theirs", "ours")
        )
        print(
            f"{what}: scienceworld {theirs:.1f} ms, mise_gym {ours:.1f} ms, {theirs / ours:.1f} times faster; "
            f"on a processor {work:.1f} ms and {our_work:.1f} ms, {work / our_work:.1f} times less"
        )


if __name__ == "__main__":
    main()
