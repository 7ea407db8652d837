"""Wrappers around ``info["admissible_commands"]``: show them to a reader, or number them for a learner."""

import logging
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from mise_gym.errors import ConfigError
from mise_gym.spaces import FreeText

logger = logging.getLogger(__name__)


class AdmissibleCommands(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Lists the admissible commands under every observation.

    Args:
        env: A text environment made with ``infos=("admissible_commands",)``.
        heading: The line above the list.

    Raises:
        ConfigError: At ``reset``, when ``info`` has no admissible commands.
    """

    def __init__(self, env: gym.Env[str, str], heading: str = "Admissible commands:") -> None:
        RecordConstructorArgs.__init__(self, heading=heading)
        super().__init__(env)
        self.observation_space = FreeText()
        self.heading = heading

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_commands(observation, info), info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Act."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_commands(observation, info), reward, terminated, truncated, info

    def _with_commands(self, observation: str, info: dict[str, Any]) -> str:
        lines = [f"- {command}" for command in _admissible(info)]
        return "\n".join([observation, "", self.heading, *lines])


class AdmissibleIndexAction(gym.Wrapper[str, int, str, str], RecordConstructorArgs):
    """Actions become indices into the admissible commands, for learners that choose among numbers.

    Every ``info`` carries ``action_mask``, shape ``(max_actions,)``, 1 where an index stands for a command (what
    ``Discrete.sample(mask)`` takes; ``MaskablePPO`` asks ``action_masks()``), and ``dropped_commands``, how many commands did
    not fit. An index without a command sends the empty command: it costs a turn and changes nothing.

    Args:
        env: A text environment made with ``infos=("admissible_commands",)``.
        max_actions: Size of the action space. Commands beyond it cannot be chosen; the first time, that is logged as a warning.

    Raises:
        ConfigError: ``max_actions`` is below 1, or, at ``reset``, ``info`` has no admissible commands.
    """

    def __init__(self, env: gym.Env[str, str], max_actions: int = 64) -> None:
        RecordConstructorArgs.__init__(self, max_actions=max_actions)
        super().__init__(env)  # type: ignore[arg-type]  # gymnasium's hint names the outer types for the inner environment
        if max_actions < 1:
            raise ConfigError(f"AdmissibleIndexAction(max_actions={max_actions!r}) leaves no action. Use 1 or more.")
        self.action_space = spaces.Discrete(max_actions)  # type: ignore[assignment]  # a Space[int64] serves ints
        self.max_actions = max_actions
        self._commands: list[str] = []
        self._warned = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_mask(info)

    def step(self, action: int) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Send the command that ``action`` stands for."""
        index = int(action)
        command = self._commands[index] if 0 <= index < len(self._commands) else ""
        observation, reward, terminated, truncated, info = self.env.step(command)  # type: ignore[arg-type]  # as above
        return observation, reward, terminated, truncated, self._with_mask(info)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions stand for a command now, under the name that ``MaskablePPO`` knows. Shape ``(max_actions,)``."""
        return np.arange(self.max_actions) < len(self._commands)

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        commands = _admissible(info)
        self._commands = commands[: self.max_actions]
        dropped = len(commands) - len(self._commands)
        if dropped and not self._warned:
            self._warned = True
            logger.warning(
                "%d of %d admissible commands do not fit into max_actions=%d.", dropped, len(commands), self.max_actions
            )
        return info | {"action_mask": self.action_masks().astype(np.int8), "dropped_commands": dropped}


def _admissible(info: dict[str, Any]) -> list[str]:
    try:
        return list(info["admissible_commands"])
    except KeyError as error:
        raise ConfigError(
            "The environment reports no admissible commands. Make it with infos=('admissible_commands',), for example "
            "gym.make('mise/FTWP-v0', infos=('admissible_commands',))."
        ) from error
