"""History: the last turns of the episode inside the observation."""

from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from mise_gym.errors import ConfigError
from mise_gym.spaces import FreeText


class History(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Puts the last turns before the current observation, in order, each action after a ``>``.

    Args:
        env: A text environment.
        turns: How many past turns (an observation and the action that answered it) to show; 0 shows the current observation only.

    Raises:
        ConfigError: ``turns`` is negative.

    Example:
        With ``turns=1`` the second observation of an episode reads::

            A kitchen. You see a fork.

            > take fork

            Taken.
    """

    def __init__(self, env: gym.Env[str, str], turns: int = 4) -> None:
        RecordConstructorArgs.__init__(self, turns=turns)
        super().__init__(env)
        if turns < 0:
            raise ConfigError(f"History(turns={turns!r}) is negative. Use 0 for the current observation only, or more.")
        self.observation_space = FreeText()
        self.turns = turns
        self._lines: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Forget the past and start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._lines = [observation]
        return observation, info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Act, and return the new observation after the turns that led to it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._lines += [f"> {action}", observation]
        self._lines = self._lines[-(2 * self.turns + 1) :]
        return "\n\n".join(self._lines), reward, terminated, truncated, info
