"""ActionParser: the command inside what a language model wrote."""

import re
from dataclasses import dataclass
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

_TAG: Final = re.compile(r"<action>((?:(?!</?action>).)*)</action>", re.DOTALL | re.IGNORECASE)
"""An innermost pair of tags."""
_EMPHASIS: Final = "*_` \t"
"""Marks that models put round words; no command begins or ends with them."""


def parse_action(text: str, formats: tuple[str, ...] = FORMATS) -> tuple[str, str]:
    r"""Return the command in ``text`` and the name of the format that it was found in.

    Reasoning up to ``</think>`` is set aside first, and an unfinished ``<think>`` holds no command. The formats are tried in
    the order given; within one format the last occurrence counts, because models restate the command at the end. Of nested tags
    the innermost pair counts. With ``react``, nothing after a line ``Observation: ..`` that follows an action counts: there the
    model has begun to make up the environment's answer. Bold type and backticks around a line are taken off.

    Args:
        text: What the model wrote; any string, of any length (the work grows linearly).
        formats: Some of ``FORMATS``.

    Returns:
        ``(command, format)``; ``("", "malformed")`` when no format fits.

    Example:
        >>> parse_action("I am hungry.\nAction: eat apple\nObservation: Yummy!\nAction: sleep")
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
    commands = [" ".join(command.split()) for command in _TAG.findall(text)]
    return next((command for command in reversed(commands) if command), "")


def _find_react(text: str) -> str:
    found = ""
    for line in text.splitlines():
        label, _, command = line.partition(":")
        label = label.strip(_EMPHASIS).casefold()
        if label == "action":
            found = command.strip(_EMPHASIS) or found
        elif label == "observation" and found:
            break
    return found


def _find_line(text: str) -> str:
    for line in reversed(text.splitlines()):
        command = line.strip().lstrip("> ").strip(_EMPHASIS)
        if command:
            return command
    return ""


_FINDERS: Final = {"tag": _find_tag, "react": _find_react, "line": _find_line}


class ActionParser(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Takes the command out of a language model's text and sends only that to the environment.

    Text without a command is sent on as the empty command: it costs a turn and changes nothing in the world. (Sending the raw
    text on would let a sentence of reasoning act by accident.) Every ``info`` carries

    * ``parsed_action``, and ``action_format``: ``"tag"``, ``"react"``, ``"line"`` or ``"malformed"``; both ``""`` after reset,
    * ``malformed_actions``: their number in this episode so far,
    * ``format_rate``: the share of the turns so far whose text held a command in one of the formats,
    * ``repetition_rate``: the share of the turns so far that repeat the command of the turn before,
    * ``admissible_rate``: the share of the turns so far whose command was among the admissible ones; only where the environment
      reports ``admissible_commands``.

    The rates are 0 before the first turn.

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
        self._report = _Report()
        self._admissible: frozenset[str] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode and a fresh count."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._report = _Report()
        return observation, self._with_report(info)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Parse ``action`` and act."""
        command, name = parse_action(action, self.formats)
        self._report.count(command, name, self._admissible)
        observation, reward, terminated, truncated, info = self.env.step(command)
        return observation, reward, terminated, truncated, self._with_report(info)

    def _with_report(self, info: dict[str, Any]) -> dict[str, Any]:
        admissible = info.get("admissible_commands")
        self._admissible = None if admissible is None else frozenset(admissible)
        report = self._report.as_info()
        if admissible is None:
            del report["admissible_rate"]
        return info | report


@dataclass
class _Report:
    """What is counted in one episode."""

    turns: int = 0
    malformed: int = 0
    repeated: int = 0
    admissible: int = 0
    command: str = ""
    format: str = ""

    def count(self, command: str, format_: str, admissible: frozenset[str] | None) -> None:
        self.repeated += self.turns > 0 and command == self.command
        self.turns += 1
        self.malformed += format_ == MALFORMED
        self.admissible += admissible is not None and command in admissible
        self.command, self.format = command, format_

    def as_info(self) -> dict[str, Any]:
        turns = max(self.turns, 1)
        return {
            "parsed_action": self.command,
            "action_format": self.format,
            "malformed_actions": self.malformed,
            "format_rate": (self.turns - self.malformed) / turns,
            "repetition_rate": self.repeated / turns,
            "admissible_rate": self.admissible / turns,
        }
