"""A text world for the trainer's tests: commands that share tokens, episodes of different lengths, no simulator."""

from typing import Any, Final

import gymnasium as gym

from mise_gym.spaces import FreeText

THINGS: Final = ("red apple", "red apricot", "green apple", "green pear")
HALF_RIGHT: Final = 0.625
"""Progress for taking a thing of the right colour."""


class Pantry(gym.Env[str, str]):
    """The task names one of four things. Taking a thing ends the game; reading the label takes a turn and lengthens the text.

    Option ``game`` says which thing is wanted (modulo four). In every third game the pantry has to be unlocked first, and that is
    the only command then.
    """

    def __init__(self, max_turns: int = 4) -> None:
        self.observation_space = FreeText()
        self.action_space = FreeText()
        self.max_turns = max_turns
        self.turn, self.progress, self.wanted, self.is_locked = 0, 0.0, THINGS[0], False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        game = (options or {}).get("game", 0)
        self.turn, self.progress, self.wanted, self.is_locked = 0, 0.0, THINGS[game % len(THINGS)], game % 3 == 2
        return f"On the shelf: {', '.join(THINGS)}.", self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        assert action in self._commands
        self.turn += 1
        self.is_locked = False
        taken = action.removeprefix("take ")
        terminated = taken in THINGS
        if terminated:
            self.progress = 1.0 if taken == self.wanted else HALF_RIGHT * (taken[:3] == self.wanted[:3])
        truncated = not terminated and self.turn >= self.max_turns
        return "The label is long. " * self.turn, self.progress, terminated, truncated, self._info()

    @property
    def _commands(self) -> list[str]:
        return ["unlock pantry"] if self.is_locked else [*(f"take {thing}" for thing in THINGS), "read label", "wait"]

    def _info(self) -> dict[str, Any]:
        return {
            "progress": self.progress,
            "success": self.progress == 1,
            "task": f"Take the {self.wanted}!",
            "split": "train",
            "task_id": f"pantry-{self.wanted}",
            "valid_action": True,
            "admissible_commands": self._commands,
        }


class OpenPantry(Pantry):
    """Takes any text: what is no command costs a turn. Option ``max_turns`` cuts an episode there."""

    def __init__(self, max_turns: int = 4, *, lists_commands: bool = True) -> None:
        self.lists_commands = lists_commands
        super().__init__(max_turns)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.max_turns = (options or {}).get("max_turns", self.max_turns)
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action in self._commands:
            return super().step(action)
        self.turn += 1
        return "Nothing happens.", 0.0, False, self.turn >= self.max_turns, self._info() | {"valid_action": False}

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        return info if self.lists_commands else {name: value for name, value in info.items() if name != "admissible_commands"}
