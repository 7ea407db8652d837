"""HindsightRewardCallback: credit per turn in RLlib's algorithms, on its API stack of env runners and learners."""

from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.integrations.added_rewards import added_rewards

require("tree", extra="rllib")  # which Ray alone does not bring
require("ray.rllib", extra="rllib")

from ray.rllib.callbacks.callbacks import RLlibCallback  # noqa: E402  # behind the check that says how to install it
from ray.rllib.env.single_agent_episode import SingleAgentEpisode  # noqa: E402

_EPISODES: Final = 100
"""Episodes that the logged means are of, as many as in RLlib's own ``episode_return_mean``."""


class HindsightRewardCallback(RLlibCallback):  # type: ignore[misc]  # Ray is skipped by mypy
    """Puts the reward of every turn where it belongs in the samples, before RLlib's learner computes returns and advantages.

    A hindsight reward is known when the episode is over. So the wrapper leaves the reward alone (``delivery="info"``), and this
    callback adds r_t - e_t to the reward of every turn of every episode that ended in the sample.

    * A timeout: RLlib's learner adds the value of the last state after the callback, so nothing is to be done.
    * An episode that a sample's border cuts (``batch_mode="truncate_episodes"``, the default): its turns before the border
      are handed over when nobody knows how it will end, with the environment's reward; those after it get theirs.
      ``batch_mode="complete_episodes"`` leaves out no turn.
    * Evaluation: the rewards stay the environment's, and so do the returns that RLlib reports for it.

    Logged are ``hindsight/unjudged_turns``, the share of turns that went without; ``hindsight/reward``, what was added to an
    episode; and ``hindsight/env_return``, the return of an episode in the environment's own reward, for RLlib's
    ``episode_return_mean`` has the hindsight reward in it. The last two are means over 100 episodes.

    Raises:
        ConfigError: When an episode ends: it was not judged, the wrapper has paid already, or it is one of several agents or of
            the old API stack.

    Example:
        ``config.callbacks(HindsightRewardCallback).env_runners(batch_mode="complete_episodes")``, with environments such as
        ``HashedText(AdmissibleIndexAction(MISERewardWrapper(env, delivery="info")))``.

    Note:
        Every env runner is a process of its own: its environments can share a calibrator, those of two runners cannot.
    """

    def on_episode_end(self, *, episode: Any, env_runner: Any = None, metrics_logger: Any = None, **_: Any) -> None:
        """Add the hindsight rewards to the turns of ``episode``, in place."""
        _check(episode)
        if _is_evaluation(env_runner):
            return
        info = episode.get_infos(-1)
        additions = added_rewards(info)
        inside = additions[-len(episode) :]  # RLlib has been given the rest, before a border
        rewards = [reward + added for reward, added in zip(episode.get_rewards(), inside, strict=True)]
        episode.set_rewards(new_data=rewards, at_indices=slice(0, len(episode)))
        if metrics_logger is not None:
            metrics_logger.log_value(("hindsight", "reward"), sum(additions), window=_EPISODES)
            metrics_logger.log_value(("hindsight", "env_return"), sum(info["mise"]["env_rewards"]), window=_EPISODES)

    def on_sample_end(self, *, samples: Any, env_runner: Any = None, metrics_logger: Any = None, **_: Any) -> None:
        """Log how many turns went without a hindsight reward."""
        for sample in samples:
            _check(sample)
        turns = sum(map(len, samples))
        if metrics_logger is not None and turns and not _is_evaluation(env_runner):
            judged = sum(len(episode) for episode in samples if episode.is_done)
            metrics_logger.log_value(("hindsight", "unjudged_turns"), 1 - judged / turns, window=1)


def _is_evaluation(env_runner: Any) -> bool:
    return env_runner is not None and bool(env_runner.config.in_evaluation)


def _check(episode: Any) -> None:
    """Raise unless ``episode`` is one that can be rewritten."""
    if not isinstance(episode, SingleAgentEpisode):
        raise ConfigError(
            f"The episode is a {type(episode).__name__}, not a SingleAgentEpisode. Use an environment for one agent, and RLlib's "
            "API stack of env runners and learners: config.api_stack(enable_rl_module_and_learner=True, "
            "enable_env_runner_and_connector_v2=True)."
        )
