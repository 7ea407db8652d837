"""HindsightRewardCallback: credit per turn in Stable-Baselines3's on-policy algorithms (PPO, A2C and their kin)."""

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.integrations.added_rewards import added_rewards

require("stable_baselines3")

from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402  # behind the check that says how to install it
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.vec_env import unwrap_vec_normalize  # noqa: E402


class HindsightRewardCallback(BaseCallback):  # type: ignore[misc]  # Stable-Baselines3 is skipped by mypy
    """Puts the reward of every turn where it belongs in the rollout buffer, and has returns and advantages computed again.

    A hindsight reward is known when the episode is over, and Stable-Baselines3 has stored its turns by then. So the wrapper
    leaves the reward alone (``delivery="info"``), and this callback adds r_t - e_t to the stored reward of every turn of every
    episode that ended in the rollout. Adding r_t - e_t to the advantages instead would be wrong: a reward also belongs to the
    turns before it.

    * A timeout: Stable-Baselines3 has added the discounted value of the last state to the stored reward, where it stays.
    * An episode that a rollout's border cuts: its turns before the border were trained on when nobody knew how it would end,
      with the environment's reward; those after it get theirs. ``rollout/unjudged_turns`` logs the share of turns that went
      without, which is small when ``n_steps`` is many times the length of an episode.

    ``rollout/hindsight_reward`` logs the mean over episodes of the reward that was added.

    Args:
        verbose: As in every callback of Stable-Baselines3.

    Raises:
        ConfigError: When training starts: the algorithm has no rollout buffer, or ``VecNormalize`` scales the rewards. When an
            episode ends: it was not judged, or the wrapper has paid already.

    Example:
        ``env = HashedText(AdmissibleIndexAction(MISERewardWrapper(env, delivery="info")))`` and then
        ``PPO("MlpPolicy", env).learn(100_000, callback=HindsightRewardCallback())``.
    """

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._ended: list[tuple[int, int, list[float]]] = []
        """Of every episode that ended in this rollout: its environment, its last row in the buffer, r_t - e_t of all turns."""

    def _on_training_start(self) -> None:
        if not isinstance(getattr(self.model, "rollout_buffer", None), RolloutBuffer):
            raise ConfigError(
                f"{type(self.model).__name__} keeps no rollouts whose rewards could be rewritten. Use PPO or A2C, or "
                "MISERewardWrapper with delivery='terminal', which needs no callback."
            )
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
        judged = 0
        for env, last, additions in self._ended:
            first = max(0, last + 1 - len(additions))
            inside = additions[len(additions) - (last + 1 - first) :]
            buffer.rewards[first : last + 1, env] += np.asarray(inside, dtype=np.float32)
            judged += len(inside)
        buffer.compute_returns_and_advantage(last_values=self.locals["values"], dones=self.locals["dones"])
        self.logger.record("rollout/unjudged_turns", 1 - judged / buffer.rewards.size)
        if self._ended:
            self.logger.record("rollout/hindsight_reward", float(np.mean([sum(added) for _, _, added in self._ended])))
