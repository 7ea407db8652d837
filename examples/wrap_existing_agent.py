"""Somebody else's environment and agent, untouched, with a reward in hindsight: the twenty lines are in ``main``.

The environment is a plain ``gymnasium.Env`` that knows nothing of this package: a lock with four dials, whose answer is text and
whose reward comes at the end. The agent is a table that learns from a list of rewards, one per turn. The judge scores every
turn once the episode is over; the calibrator learns from the outcomes what its scores are worth.

    python examples/wrap_existing_agent.py            # 300 episodes, a second
    python examples/wrap_existing_agent.py --fast     # 60 episodes
"""

import argparse
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from mise_gym.rewards import JudgeResult, MISERewardWrapper
from mise_gym.types import Episode


class SomebodysLock(gym.Env[str, str]):
    """Four dials with three positions each; the right combination opens it, and only opening it pays."""

    observation_space = gym.spaces.Text(100)
    action_space = gym.spaces.Text(100)
    combination = (2, 0, 1, 2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start at the first dial."""
        super().reset(seed=seed, options=options)
        self.turned: list[int] = []
        return "Dial 0.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Turn a dial and go on to the next; a click can be heard when it is right."""
        self.turned.append(int(action.split()[-1]))
        dial = len(self.turned)
        click = "Click. " if self.turned[-1] == self.combination[dial - 1] else ""
        done = dial == len(self.combination)
        return f"{click}Dial {dial}.", float(done and tuple(self.turned) == self.combination), done, False, {}


class SomebodysAgent:
    """A table of preferences, one row per dial, that learns by REINFORCE from the rewards of an episode."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.preferences = np.zeros((4, 3))
        self.choices: list[tuple[int, int]] = []

    def act(self, observation: str) -> str:
        """Return what to do."""
        dial = int(observation.rstrip(".").split()[-1])
        self.choices.append((dial, int(self.rng.choice(3, p=self._policy(dial)))))
        return f"turn to {self.choices[-1][1]}"

    def learn(self, rewards: Sequence[float]) -> None:
        """Learn from one reward per turn."""
        returns = np.cumsum(rewards[::-1])[::-1]
        for (dial, position), gained in zip(self.choices, returns, strict=True):
            self.preferences[dial] += 0.2 * gained * (np.eye(3)[position] - self._policy(dial))
        self.choices = []

    def _policy(self, dial: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        powers = np.exp(self.preferences[dial])
        return np.asarray(powers / powers.sum())


class EarJudge:
    """Likes clicks; your own judge, or a language model (``judge="http"``), goes here."""

    name = "ear"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the scores of every episode."""
        return [
            JudgeResult(scores=tuple(0.8 if "Click" in turn.next_observation else 0.6 for turn in episode.transitions))
            for episode in episodes
        ]


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train the agent with both rewards; return the share of locks opened in the last third of training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="60 episodes in place of 300")
    episodes = 60 if parser.parse_args(arguments).fast else 300

    opened = {}
    for name, w_hindsight in (("environment's reward", 0.0), ("with hindsight", 1.0)):
        env = MISERewardWrapper(SomebodysLock(), judge=EarJudge(), w_hindsight=w_hindsight, delivery="info")
        agent = SomebodysAgent()
        wins = []
        for _ in range(episodes):
            observation, _ = env.reset()
            done = False
            while not done:
                observation, reward, terminated, truncated, info = env.step(agent.act(observation))
                done = terminated or truncated
            agent.learn(info["mise"]["step_rewards"])
            wins.append(reward)
        opened[name] = float(np.mean(wins[-episodes // 3 :]))
        print(f"{name:22} {opened[name]:.0%} of the locks opened in the last third of {episodes} episodes")
    return opened


if __name__ == "__main__":
    main()
