"""What the rewards of an episode change by once it is judged; every callback asks here."""

from collections.abc import Mapping
from typing import Any

from mise_gym.errors import ConfigError


def added_rewards(info: Mapping[str, Any]) -> list[float]:
    """Return r_t - e_t of every turn of the episode that ended with ``info``. Length ``T``; zeros where the judge failed.

    Args:
        info: Of the last step, from an environment in ``MISERewardWrapper(env, delivery="info")``.

    Raises:
        ConfigError: The episode was not judged, or its hindsight reward has been paid by the wrapper.
    """
    mise = _judged(info)
    return [total - env for total, env in zip(mise["step_rewards"], mise["env_rewards"], strict=True)]


def turn_credit(info: Mapping[str, Any]) -> list[float]:
    """Return the hindsight part of ``added_rewards``, w_hindsight c(s_t). Length ``T``; zeros where the judge failed.

    Args:
        info: As in ``added_rewards``.

    Raises:
        ConfigError: As in ``added_rewards``.
    """
    mise = _judged(info)
    calibrated = mise["calibrated"] or [0.0] * len(mise["step_rewards"])
    return [mise["w_hindsight"] * reward for reward in calibrated]


def _judged(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``info["mise"]`` of an episode that was judged and not paid yet, or raise."""
    mise: Mapping[str, Any] | None = info.get("mise")
    if mise is None:
        raise ConfigError(
            "An episode ended without info['mise']. Put MISERewardWrapper(env, delivery='info') inside the wrappers that turn "
            "text into numbers."
        )
    if info["reward/hindsight"] != 0:
        raise ConfigError(
            "The wrapper has paid the hindsight reward already, and the callback would pay it again. "
            "Make the wrapper with delivery='info', or leave the callback out."
        )
    return mise
