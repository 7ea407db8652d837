"""added_rewards: by how much the reward of every turn changes once an episode is judged; every callback asks it."""

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
    mise = info.get("mise")
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
    return [total - env for total, env in zip(mise["step_rewards"], mise["env_rewards"], strict=True)]
