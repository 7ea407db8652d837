"""HindsightRewardCallback: credit per turn in Stable-Baselines3's on-policy algorithms (PPO, A2C, those of sb3-contrib)."""

import numpy as np
from numpy.typing import NDArray

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.integrations.added_rewards import added_rewards

require("stable_baselines3")

from stable_baselines3.common.base_class import BaseAlgorithm  # noqa: E402  # behind the check that says how to install it
from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.vec_env import unwrap_vec_normalize  # noqa: E402

Rewards = NDArray[np.float32]


class HindsightRewardCallback(BaseCallback):  # type: ignore[misc]  # Stable-Baselines3 is skipped by mypy
    """Puts the reward of every turn where it belongs in the rollout buffer, and brings returns and advantages up to date.

    A hindsight reward is known when the episode is over, and Stable-Baselines3 has stored its turns by then. So the wrapper
    leaves the reward alone (``delivery="info"``), and this callback adds r_t - e_t to the stored reward of every turn of every
    episode that ended in the rollout. Adding r_t - e_t to the advantages instead would be wrong: a reward also belongs to the
    turns before it. Every turn gets the sum over those that follow it, discounted as GAE does.

    * A timeout: Stable-Baselines3 has added the discounted value of the last state to the stored reward, where it stays.
    * An episode that a rollout's border cuts: its turns before the border were trained on when nobody knew how it would end,
      with the environment's reward; those after it get theirs. ``rollout/unjudged_turns`` logs the share of turns that went
      without, which is small when ``n_steps`` is many times the length of an episode.

    ``rollout/hindsight_reward`` logs the mean over episodes of the reward that was added.

    Args:
        verbose: As in every callback of Stable-Baselines3.

    Raises:
        ConfigError: When training starts: the algorithm has no rollout buffer, or one with advantages of its own kind, or
            ``VecNormalize`` scales the rewards. When an episode ends: it was not judged, or the wrapper has paid already.

    Example:
        ``env = HashedText(AdmissibleIndexAction(MISERewardWrapper(env, delivery="info")))`` and then
        ``PPO("MlpPolicy", env).learn(100_000, callback=HindsightRewardCallback())``.
    """

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._ended: list[tuple[int, int, list[float]]] = []
        """Of every episode that ended in this rollout: its environment, its last row in the buffer, r_t - e_t of all turns."""

    def _on_training_start(self) -> None:
        _check_buffer(self.model)
        normalizer = unwrap_vec_normalize(self.training_env)
        if normalizer is not None and normalizer.norm_reward:
            raise ConfigError("VecNormalize scales the rewards before this callback sees them. Give it norm_reward=False.")

    def _on_rollout_start(self) -> None:
        self._ended = []

    def _on_step(self) -> bool:
        row = self.model.rollout_buffer.pos  # the turn is stored after this call
        for env, done in enumerate(self.locals["dones"]):
            if done:
                self._ended.append((env, row, added_rewards(self.locals["infos"][env])))
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        added = np.zeros_like(buffer.rewards)  # (n_steps, n_envs)
        judged = 0
        for env, last, additions in self._ended:
            first = max(0, last + 1 - len(additions))
            added[first : last + 1, env] = additions[first - last - 1 :]
            judged += last + 1 - first
        buffer.rewards += added
        surplus = _discounted(added, buffer.episode_starts, buffer.gamma * buffer.gae_lambda)
        buffer.advantages += surplus
        buffer.returns += surplus
        self.logger.record("rollout/unjudged_turns", 1 - judged / buffer.rewards.size)
        if self._ended:
            self.logger.record("rollout/hindsight_reward", float(np.mean([sum(additions) for _, _, additions in self._ended])))


def _check_buffer(model: BaseAlgorithm) -> None:
    """Raise unless ``model`` has a rollout buffer whose advantages are those of GAE."""
    buffer = getattr(model, "rollout_buffer", None)
    if not isinstance(buffer, RolloutBuffer):
        raise ConfigError(
            f"{type(model).__name__} keeps no rollouts whose rewards could be rewritten. Use PPO or A2C, or "
            "MISERewardWrapper with delivery='terminal', which needs no callback."
        )
    if type(buffer).compute_returns_and_advantage is not RolloutBuffer.compute_returns_and_advantage:
        raise ConfigError(
            f"{type(buffer).__name__} computes returns and advantages in a way of its own, which this callback cannot repeat. "
            "Use Stable-Baselines3's RolloutBuffer, or MISERewardWrapper with delivery='terminal', which needs no callback."
        )


def _discounted(rewards: Rewards, episode_starts: Rewards, decay: float) -> Rewards:
    """Return the sum over the following turns of the same episode, discounted by ``decay`` a turn. Shapes ``(n_steps, n_envs)``.

    Advantages of GAE are linear in the rewards: with decay gamma * lambda this is what ``rewards`` add to them.
    """
    sums = rewards.copy()
    for row in reversed(range(len(rewards) - 1)):
        sums[row] += decay * (1 - episode_starts[row + 1]) * sums[row + 1]
    return sums
