"""Whether episodes of ScienceWorld start as in the simulator itself, of which the bridge makes only the chosen task's part.

    python examples/benchmarks/scienceworld_starts.py --every 1

compares the first observation, the task, the inventory and all admissible commands of all 7207 variations, and prints what
differs; without ``--every``, of one in 100.
"""

import argparse
import time

from mise_gym.envs.science.machine import Machine
from mise_gym.envs.science.server import EXTRAS
from mise_gym.envs.science.tasks import TASKS, ScienceTask


class Starter:
    """Starts episodes and times it."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.world, self.seconds = machine, machine.open(), 0.0

    def start(self, task: ScienceTask, variation: int) -> tuple[object, ...]:
        """Return everything that can be told about a start."""
        before = time.perf_counter()
        reply = self.machine.load(self.world, task.name, variation, "", sum(EXTRAS.values()))
        self.seconds += time.perf_counter() - before
        commands = sorted(reply.extras.pop("admissible_commands").split("\n"))
        return reply.text, reply.score, reply.moves, reply.extras, commands


def main() -> None:
    """Print the starts that differ, and how many were compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=100, help="compare one variation in so many")
    parser.add_argument("--fast", action="store_true", help="only three tasks")
    arguments = parser.parse_args()
    ours, theirs = Starter(Machine()), Starter(Machine(use_bridge=False))
    compared = different = 0
    for task in TASKS[:3] if arguments.fast else TASKS:
        variations = range(0, task.variations, arguments.every)
        wrong = [each for each in variations if ours.start(task, each) != theirs.start(task, each)]
        compared, different = compared + len(variations), different + len(wrong)
        print(f"{task.name}: {len(variations) - len(wrong)} of {len(variations)} the same {wrong or ''}", flush=True)
    print(f"{compared - different} of {compared} episodes start in the same way")
    with_bridge, without = (1000 * starter.seconds / compared for starter in (ours, theirs))
    print(f"a start, everything asked for: {with_bridge:.1f} ms, and {without:.1f} ms without the bridge")
    for starter in (ours, theirs):
        starter.machine.leave(starter.world)


if __name__ == "__main__":
    main()
