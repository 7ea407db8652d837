"""What MISERewardWrapper costs per step, over the bare environment, with a judge that costs nothing.

    python examples/benchmarks/wrapper_cost.py
    python examples/benchmarks/wrapper_cost.py --rounds 50 --envs 1 --delivery step

Every delivery, for one environment and for a vector of them. Both sides play the same episodes of 20 turns, every other one a
success, turn about, and the medians of the rounds are compared; the cost in a vector is that of one environment's step. Times are
CPU times of this process, so that a busy machine distorts them little.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv

from mise_gym.rewards import MISERewardVectorWrapper, MISERewardWrapper
from mise_gym.rewards.delivery import Delivery
from mise_gym.spaces import FreeText

TURNS = 20
DELIVERIES: tuple[Delivery, ...] = ("terminal", "info", "step")


class Trivial(gym.Env[str, str]):
    """Says always the same; every episode has 20 turns, and every other one ends well."""

    observation_space = FreeText()
    action_space = FreeText()
    episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """Start an episode."""
        self.turn = 0
        self.episodes += 1
        return "A room.", {"task": "Wait.", "progress": 0.0}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:  # noqa: ARG002
        """Wait."""
        self.turn += 1
        done = self.turn == TURNS
        success = done and self.episodes % 2 == 0
        info = {"progress": float(success), "success": success, "task": "Wait.", "task_id": "w", "split": "train"}
        return "A room.", float(success), done, False, info | {"valid_action": True}


def one_microseconds(env: gym.Env[str, str], num_episodes: int) -> float:
    """Play episodes, and return the CPU time of a step; resets count too."""
    before = time.process_time()
    for _ in range(num_episodes):
        env.reset()
        for _ in range(TURNS):
            env.step("wait")
    return 1e6 * (time.process_time() - before) / (num_episodes * TURNS)


def vector_microseconds(env: gym.vector.VectorEnv[Any, Any, Any], num_episodes: int) -> float:
    """Play about as many episodes in a vector, and return the CPU time of one environment's step."""
    steps = num_episodes // env.num_envs * (TURNS + 1)  # an episode takes one step more, which resets
    actions = ["wait"] * env.num_envs
    env.reset()
    before = time.process_time()
    for _ in range(steps):
        env.step(actions)
    return 1e6 * (time.process_time() - before) / (steps * env.num_envs)


def measure(title: str, play: Callable[[Any, int], float], bare: Any, wrapped: Any, arguments: argparse.Namespace) -> float:
    """Play both sides turn about, print the medians and return what the wrapper costs."""
    rounds = [(play(bare, arguments.episodes), play(wrapped, arguments.episodes)) for _ in range(arguments.rounds)]
    cost = statistics.median(after - before for before, after in rounds)
    before, after = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{title}: bare {before:.2f} us, wrapped {after:.2f} us, {cost:.2f} us per step more (at most 20 wanted)")
    return cost


def main(words: Sequence[str] | None = None) -> list[float]:
    """Measure; return the cost of each delivery, first for one environment and then for a vector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="rounds (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=100, help="episodes in a round (default: %(default)s)")
    parser.add_argument("--delivery", choices=DELIVERIES, help="default: each of them")
    parser.add_argument("--envs", type=int, default=8, help="environments in the vector (default: %(default)s)")
    parser.add_argument("--calibrator", default="outcome", help="default: %(default)s")
    arguments = parser.parse_args(words)
    deliveries = DELIVERIES if arguments.delivery is None else (arguments.delivery,)
    costs = []
    for delivery in deliveries:
        one = MISERewardWrapper(Trivial(), judge="constant", calibrator=arguments.calibrator, delivery=delivery)
        costs.append(measure(f"one, {delivery}", one_microseconds, Trivial(), one, arguments))
    for delivery in deliveries:
        bare, inner = (SyncVectorEnv([Trivial] * arguments.envs) for _ in range(2))
        vector = MISERewardVectorWrapper(inner, judge="constant", calibrator=arguments.calibrator, delivery=delivery)
        costs.append(measure(f"vector of {arguments.envs}, {delivery}", vector_microseconds, bare, vector, arguments))
    return costs


if __name__ == "__main__":
    main()
