"""OfferedCommands: what a policy may choose from, and what it is shown, where both would be too much."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from mise_gym.train.rollout import TextEnvironment

Offer = Callable[[Sequence[str], str], list[str]]
"""From the admissible commands and the task in words to what is offered."""
Shorten = Callable[[str, str], str]
"""From an observation and the task in words to what is shown."""


class OfferedCommands(gym.Wrapper[str, str, str, str]):
    """Changes ``info["admissible_commands"]`` and shortens observations; the environment goes on to take every string.

    Args:
        env: A text environment that lists admissible commands.
        offer: Chooses what is offered.
        shorten: Leaves out what the policy need not read; ``None`` shows everything.
    """

    def __init__(self, env: TextEnvironment, offer: Offer, shorten: Shorten | None = None) -> None:
        super().__init__(env)
        self._offer = offer
        self._shorten = shorten

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode; as the environment does."""
        return self._changed(*self.env.reset(seed=seed, options=options))

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Take a turn; as the environment does."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._changed(observation, info)
        return observation, reward, terminated, truncated, info

    def _changed(self, observation: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        shown = observation if self._shorten is None else self._shorten(observation, info["task"])
        return shown, {**info, "admissible_commands": self._offer(info["admissible_commands"], info["task"])}
