"""OfferedCommands: which of the admissible commands, or of their stand-ins, a policy may choose from."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from mise_gym.train.rollout import TextEnvironment

Offer = Callable[[Sequence[str], str], list[str]]
"""From the admissible commands and the task in words to what is offered."""


class OfferedCommands(gym.Wrapper[str, str, str, str]):
    """Changes ``info["admissible_commands"]``, and nothing else: the environment goes on to take every string.

    Args:
        env: A text environment that lists admissible commands.
        offer: Chooses what is offered.

    Example:
        >>> env = OfferedCommands(corridor, lambda commands, task: [name for name in commands if name != "look"])
        >>> env.reset()[1]["admissible_commands"]
        ['back', 'forward']
    """

    def __init__(self, env: TextEnvironment, offer: Offer) -> None:
        super().__init__(env)
        self._offer = offer

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode; as the environment does."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._changed(info)

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Take a turn; as the environment does."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._changed(info)

    def _changed(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "admissible_commands": self._offer(info["admissible_commands"], info["task"])}
