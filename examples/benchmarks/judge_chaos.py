"""A judge behind a server that fails on purpose: is any episode lost, and is any score invented?

    python examples/benchmarks/judge_chaos.py
    python examples/benchmarks/judge_chaos.py --episodes 100 --fault-rate 0.6

Episodes of 20 turns are played in 16 environments, and each is judged when it ends. The server rate-limits, hangs, breaks off and
answers nonsense at the given rate. Scores count as invented unless the server sent exactly these in a sound answer to a question
about exactly this episode.
"""

import argparse
import logging
import time
from collections import Counter
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mise_gym.rewards import MISERewardVectorWrapper
from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.rehearsal import SOUND, RehearsalServer, random_plan
from mise_gym.spaces import FreeText

TURNS = 20


class Counting(gym.Env[str, str]):
    """Says how many turns there were; every episode has 20 and another name."""

    observation_space = FreeText()
    action_space = FreeText()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """Start an episode."""
        super().reset(seed=seed)
        self.turn = 0
        self.task = f"Count, episode {self.np_random.integers(2**60)}."
        return "Turn 0.", {"task": self.task}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:  # noqa: ARG002
        """Count."""
        self.turn += 1
        return f"Turn {self.turn}.", 0.0, self.turn == TURNS, False, {"task": self.task}


def rehearse(num_episodes: int, num_envs: int, fault_rate: float, seed: int = 0) -> dict[str, Any]:
    """Judge episodes against a failing server, and return what happened."""
    settings = {"timeout_seconds": 1.0, "first_wait_seconds": 0.05, "retries": 4}
    ended: list[tuple[str, str, tuple[float, ...]]] = []
    with RehearsalServer(random_plan(fault_rate, seed), seed=seed) as server:
        judge = HttpJudge("rehearsal", base_url=server.base_url, retry=settings)
        envs = SyncVectorEnv([Counting] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        wrapped = MISERewardVectorWrapper(envs, judge=judge, delivery="info", max_failures=num_episodes, retries=0)
        wrapped.reset(seed=seed)
        while len(ended) < num_episodes:
            infos = wrapped.step(["count"] * num_envs)[4].get("final_info", {})
            if "mise" in infos:
                ended += zip(infos["task"], infos["mise"]["status"], map(tuple, infos["mise"]["scores"]), strict=True)
        wrapped.close()
        judge.close()
    judged = [(task, scores) for task, status, scores in ended if status == "ok"]
    return {
        "episodes": len(ended),
        "judged": len(judged),
        "flagged": Counter(status for _, status, _ in ended if status != "ok"),
        "invented": sum(task not in server.sound_scores.get(scores, "") for task, scores in judged),
        "scored although flagged": sum(status != "ok" and bool(scores) for _, status, scores in ended),
        "requests": len(server.requests),
        "faults": {fault: count for fault, count in sorted(server.happened.items()) if fault != SOUND},
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--envs", type=int, default=16)
    parser.add_argument("--fault-rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    started = time.perf_counter()
    counts = rehearse(arguments.episodes, arguments.envs, arguments.fault_rate, arguments.seed)
    for name, value in counts.items():
        print(f"{name}: {dict(value) if isinstance(value, dict) else value}")
    share = sum(counts["faults"].values()) / counts["requests"]
    print(f"faulty answers: {share:.1%} of the requests, in {time.perf_counter() - started:.1f} s; no exception was raised")


if __name__ == "__main__":
    main()
