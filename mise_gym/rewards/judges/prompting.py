"""Prompt: a text file with places that are filled in, and the version that its text has."""

import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name

PLACES: Final = ("task", "turns", "first_turn", "last_turn", "num_turns", "outcome", "answer")
"""What a prompt may ask for, as ``{{task}}``; a prompt must ask for ``turns`` and ``answer``."""

_FOLDER: Final = files("mise_gym.rewards.judges") / "prompts" / "chat"
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_HEADING: Final = re.compile(r"^\[(system|user)\]\n", re.MULTILINE)


class Prompt:
    """The messages that a judge sends, with places for the episode.

    A prompt is a text file with the headings ``[system]`` and ``[user]`` on lines of their own, and places such as ``{{task}}``.
    The places are filled in one pass: braces, JSON and even ``{{task}}`` in what is filled in are left alone.

    Args:
        source: A name in ``prompt_names()``, or the path of a ``.txt`` file of your own.

    Raises:
        UnknownNameError: No such prompt.
        ConfigError: The file cannot be read, has no ``[user]`` part, or has an unknown or a missing place.

    Example:
        >>> Prompt("hindsight_v1").messages({"task": '"a {b}"'})[1]["content"].splitlines()[1]
        '"a {b}"'
    """

    def __init__(self, source: str) -> None:
        text = _read(source)
        self.version = f"{Path(source).stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        """Name and fingerprint of the text: a prompt that is edited is another prompt."""
        parts = _HEADING.split(text)[1:]
        self._parts = list(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
        _check(source, self._parts)

    def messages(self, values: Mapping[str, str]) -> tuple[dict[str, str], ...]:
        """Return the messages with their places filled; a place without a value becomes empty.

        Args:
            values: What to fill in, by the names in ``PLACES``.
        """
        return tuple(
            {"role": role, "content": _PLACE.sub(lambda match: values.get(match[1], ""), text)} for role, text in self._parts
        )


def prompt_names() -> list[str]:
    """Return the names of the prompts that come with the package."""
    return sorted(item.name.removesuffix(".txt") for item in _FOLDER.iterdir() if item.name.endswith(".txt"))


def _read(source: str) -> str:
    if not source.endswith(".txt"):
        if source not in prompt_names():
            raise unknown_name("prompt", source, prompt_names())
        return (_FOLDER / f"{source}.txt").read_text(encoding="utf-8")
    try:
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the prompt {source!r}: {error}. Give a text file in UTF-8.") from error


def _check(source: str, parts: list[tuple[str, str]]) -> None:
    if "user" not in [role for role, _ in parts]:
        raise ConfigError(f"The prompt {source!r} has no [user] part. Put the line [user] before what the model is asked.")
    places = [place for _, text in parts for place in _PLACE.findall(text)]
    for place in places:
        if place not in PLACES:
            raise unknown_name("place in a prompt", place, list(PLACES))
    missing = {"turns", "answer"} - set(places)
    if missing:
        raise ConfigError(
            f"The prompt {source!r} lacks {', '.join(sorted(missing))}. Write {{{{turns}}}} and {{{{answer}}}} in it."
        )
