"""The range checks that the configuration classes share."""

import math

from mise_gym.errors import ConfigError


def check_ranges(table: str, config: object, *names: str, least: float = 0.0, most: float = math.inf) -> None:
    """Check that numeric settings lie in a range; a setting that is ``None`` passes.

    Args:
        table: The table that the settings are in, for the message ("ppo"); empty for the outermost.
        config: Object with the settings as attributes.
        names: Which settings.
        least: The smallest value allowed.
        most: The largest value allowed; infinity itself is never allowed, nor is "not a number".

    Raises:
        ConfigError: One is outside.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not (least <= value <= most and math.isfinite(value)):
            limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            setting = f"{table}.{name}" if table else name
            raise ConfigError(f"The setting {setting!r} is {value!r}; it must be {limits}.")
