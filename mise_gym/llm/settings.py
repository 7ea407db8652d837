"""Turns the plain mappings that people write into the frozen settings of this room, strictly."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name

Settings = TypeVar("Settings")


def read_settings(cls: type[Settings], given: Settings | Mapping[str, Any] | None, what: str) -> Settings:
    """Return ``given`` as settings of class ``cls``.

    Args:
        cls: A dataclass whose fields all have defaults.
        given: Such settings already, a mapping from names to values, or ``None`` for the defaults.
        what: What a field is called in messages ("limit").

    Raises:
        UnknownNameError: A name that is not a field.
        ConfigError: A value out of range, or something that is no mapping.
    """
    if isinstance(given, cls):
        return given
    if not (given is None or isinstance(given, Mapping)):
        raise ConfigError(f"The {what}s are {given!r}. Give a mapping from names to values, or a {cls.__name__}.")
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass, says the docstring
    values = dict(given or {})
    for name in values:
        if name not in known:
            raise unknown_name(what, name, known)
    return cls(**values)


def check_at_least(smallest: float, what: str, **values: float | None) -> None:
    """Raise unless every value is ``None`` or a finite number that is not smaller than ``smallest``.

    Raises:
        ConfigError: A value is out of range or not a number.
    """
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not smallest <= value < float("inf"):
            raise ConfigError(f"The {what} {name}={value!r} is out of range. Give a number of at least {smallest:g}.")
