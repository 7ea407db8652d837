"""ActionParser: the command inside what a language model wrote."""

from typing import Any, Final, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name
from mise_gym.spaces import FreeText

FORMATS: Final = ("tag", "react", "line")
"""``tag``: ``<action>..</action>``; ``react``: a line ``Action: ..``; ``line``: the last line that is not blank."""

MALFORMED: Final = "malformed"
"""Name of the format when none fits."""


def parse_action(text: str, formats: tuple[str, ...] = FORMATS) -> tuple[str, str]:
    r"""Return the command in ``text`` and the name of the format that it was found in.

    Reasoning up to ``</think>`` is set aside first, and an unfinished ``<think>`` holds no command. The formats are tried in
    the order given; within one format the last occurrence counts, because models restate the command at the end.

    Args:
        text: What the model wrote; any string, of any length (the work grows linearly).
        formats: Some of ``FORMATS``.

    Returns:
        ``(command, format)``; ``("", "malformed")`` when no format fits.

    Example:
        >>> parse_action("I am hungry.\nAction: eat apple")
        ('eat apple', 'react')
        >>> parse_action("eat apple", formats=("tag",))
        ('', 'malformed')
    """
    answer = text.rpartition("</think>")[2].partition("<think>")[0]
    for name in formats:
        command = _FINDERS[name](answer)
        if command:
            return command, name
    return "", MALFORMED


def _find_tag(text: str) -> str:
    before, tag, _ = text.rpartition("</action>")
    _, opening, command = before.rpartition("<action>")
    return " ".join(command.split()) if tag and opening else ""


def _find_react(text: str) -> str:
    for line in reversed(text.splitlines()):
        label, colon, command = line.strip().partition(":")
        if colon and label.casefold() == "action":
            return command.strip()
    return ""


def _find_line(text: str) -> str:
    for line in reversed(text.splitlines()):
        command = line.strip().lstrip("> ")
        if command:
            return command
    return ""


_FINDERS: Final = {"tag": _find_tag, "react": _find_react, "line": _find_line}


class ActionParser(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Takes the command out of a language model's text and sends only that to the environment.

    Text without a command is sent on as the empty command: it costs a turn and changes nothing in the world. (Sending the raw
    text on would let a sentence of reasoning act by accident.) Every ``info`` carries ``parsed_action``, ``action_format``
    (``"tag"``, ``"react"``, ``"line"``, ``"malformed"``; ``""`` after reset) and ``malformed_actions``, their number in this
    episode so far.

    Args:
        env: A text environment.
        formats: What to accept, in order of preference: ``"tag"``, ``"react"``, ``"line"``. With ``"line"`` among them only
            blank text is malformed; leave it out to insist on the format.

    Raises:
        UnknownNameError: A format is none of the three.
        ConfigError: No format is given.
    """

    def __init__(self, env: gym.Env[str, str], formats: tuple[str, ...] = FORMATS) -> None:
        RecordConstructorArgs.__init__(self, formats=list(formats))
        super().__init__(env)
        if not formats:
            raise ConfigError(f"ActionParser accepts no format. Choose some of {', '.join(FORMATS)}.")
        for name in formats:
            if name not in _FINDERS:
                raise unknown_name("action format", name, list(FORMATS))
        self.action_space = FreeText()
        self.formats = tuple(formats)
        self._malformed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode and a fresh count."""
        self._malformed = 0
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, info | self._report("", "")

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Parse ``action`` and act."""
        command, name = parse_action(action, self.formats)
        self._malformed += name == MALFORMED
        observation, reward, terminated, truncated, info = self.env.step(command)
        return observation, reward, terminated, truncated, info | self._report(command, name)

    def _report(self, command: str, name: str) -> dict[str, Any]:
        return {"parsed_action": command, "action_format": name, "malformed_actions": self._malformed}
