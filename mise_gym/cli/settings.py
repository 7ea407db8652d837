"""``name=value`` words of the command line, and the environments they are for."""

import inspect
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

import gymnasium as gym

from mise_gym.errors import ConfigError, UnknownNameError
from mise_gym.registry import Registry, unknown_name


def parse_settings(flag: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the settings in words such as ``game=3``; a value is read as JSON where it is JSON, and as text otherwise.

    Raises:
        ConfigError: A word has no ``=``, or a name comes twice.

    Example:
        >>> parse_settings("--option", ["game=3", "split=test"])
        {'game': 3, 'split': 'test'}
    """
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"{flag} {word!r} is not of the form name=value. Write, for example, {flag} game=3.")
        if name in settings:
            raise ConfigError(f"{flag} gives {name!r} twice. Give it once.")
        settings[name] = _value(text)
    return settings


def make_text_env(
    env_id: str, settings: Mapping[str, Any], *, preferred: Mapping[str, Any] = MappingProxyType({})
) -> gym.Env[str, str]:
    """Make an environment that is named on the command line.

    Args:
        env_id: A registered id, or ``module:id``.
        settings: Keyword arguments of the environment class.
        preferred: Further ones, for environments that have them; ``settings`` win.

    Raises:
        UnknownNameError: No such module, id or keyword argument.
    """
    name, build = find_environment(env_id)
    known = inspect.signature(build).parameters
    for setting in settings:
        if setting not in known:
            raise unknown_name(f"setting of {name}", setting, list(known))
    defaults = {name: value for name, value in preferred.items() if name in known}
    return cast("gym.Env[str, str]", gym.make(name, **{**defaults, **settings}))


def find_environment(env_id: str) -> tuple[str, Any]:
    """Return the registered id and the class (or function) that makes the environment.

    Args:
        env_id: A registered id, or ``module:id``, of which the module is imported first.

    Raises:
        UnknownNameError: No such module or id.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        _register(module)
    if name not in gym.registry:
        raise unknown_name("environment", name, [key for key in gym.registry if key.startswith("mise/")])
    entry_point = gym.registry[name].entry_point
    return name, Registry("environment", {}).load(entry_point) if isinstance(entry_point, str) else entry_point


def _register(module: str) -> None:
    """Import a module that registers environments of its own."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UnknownNameError(
            f"No module {module!r} to take environments from. Check the name, or install its package."
        ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
