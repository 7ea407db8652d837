"""What MISERewardWrapper costs per step, over the bare environment, with a judge that costs nothing.

    python examples/benchmarks/wrapper_cost.py
    python examples/benchmarks/wrapper_cost.py --rounds 50 --delivery step

Both sides play the same episodes of 20 turns in turns, and the medians of the rounds are compared. Times are CPU times of this
process, so that a busy machine distorts them little.
"""

import argparse
import statistics
import time
from typing import Any

import gymnasium as gym

from mise_gym.rewards import MISERewardWrapper
from mise_gym.spaces import FreeText

TURNS = 20


class Trivial(gym.Env[str, str]):
    """Says always the same; every episode has 20 turns."""

    observation_space = FreeText()
    action_space = FreeText()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """Start an episode."""
        self.turn = 0
        return "A room.", {"task": "Wait.", "progress": 0.0}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:  # noqa: ARG002
        """Wait."""
        self.turn += 1
        done = self.turn == TURNS
        info = {"progress": float(done), "success": done, "task": "Wait.", "task_id": "w", "split": "train", "valid_action": True}
        return "A room.", float(done), done, False, info


def microseconds_per_step(env: gym.Env[str, str], num_episodes: int) -> float:
    """Play episodes, and return the CPU time of a step; resets count too."""
    before = time.process_time()
    for _ in range(num_episodes):
        env.reset()
        for _ in range(TURNS):
            env.step("wait")
    return 1e6 * (time.process_time() - before) / (num_episodes * TURNS)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--episodes", type=int, default=100, help="episodes in a round")
    parser.add_argument("--delivery", choices=["terminal", "info", "step"], default="terminal")
    parser.add_argument("--calibrator", default="outcome")
    arguments = parser.parse_args()
    bare = Trivial()
    wrapped = MISERewardWrapper(Trivial(), judge="constant", calibrator=arguments.calibrator, delivery=arguments.delivery)
    times: dict[str, list[float]] = {"bare": [], "wrapped": []}
    for _ in range(arguments.rounds):
        times["bare"].append(microseconds_per_step(bare, arguments.episodes))
        times["wrapped"].append(microseconds_per_step(wrapped, arguments.episodes))
    medians = {name: statistics.median(values) for name, values in times.items()}
    cost = statistics.median(after - before for before, after in zip(times["bare"], times["wrapped"], strict=True))
    print(f"bare {medians['bare']:.2f} us, wrapped {medians['wrapped']:.2f} us: {cost:.2f} us per step more (at most 20 wanted)")


if __name__ == "__main__":
    main()
