"""HindsightRewardCallback: credit per turn in Stable-Baselines3's on-policy algorithms (PPO, A2C, those of sb3-contrib)."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.integrations.added_rewards import added_rewards, turn_credit

require("stable_baselines3")

from stable_baselines3.common.base_class import BaseAlgorithm  # noqa: E402  # behind the check that says how to install it
from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.vec_env import unwrap_vec_normalize  # noqa: E402

Rewards = NDArray[np.float32]
Credit = Literal["turn", "return"]


class HindsightRewardCallback(BaseCallback):  # type: ignore[misc]  # Stable-Baselines3 is skipped by mypy
    """Puts the hindsight reward of every turn where it belongs in the rollout buffer, before the algorithm learns from it.

    A hindsight reward is known when the episode is over, and Stable-Baselines3 has stored its turns by then. So the wrapper
    leaves the reward alone (``delivery="info"``), and this callback pays the turns of the episodes that ended in the rollout.

    * A timeout: Stable-Baselines3 has added the discounted value of the last state to the stored reward, where it stays.
    * An episode that a rollout's border cuts: its turns before the border were trained on when nobody knew how it would end,
      with the environment's reward; those after it get theirs. ``rollout/unjudged_turns`` logs the share of turns that went
      without, which is small when ``n_steps`` is many times the length of an episode.

    ``rollout/hindsight_reward`` logs the mean over episodes of the reward that was added, summed over turns.

    Args:
        credit: What a hindsight reward w_hindsight c(s_t) is credit for. ``"turn"``: its own turn, to whose advantage it is added
            and to nothing else; the critic learns the environment's return alone. A score in hindsight has weighed already what
            came of its turn. ``"return"``: as any other reward, all turns before it too; it is added to the stored rewards, and
            what follows from it, discounted as GAE does, to returns and advantages. Potential-based shaping needs this one.
        verbose: As in every callback of Stable-Baselines3.

    Raises:
        ConfigError: No such credit. When training starts: the algorithm has no rollout buffer, or one with advantages of its
            own kind, or ``VecNormalize`` scales the rewards. When an episode ends: it was not judged, or has been paid already.

    Example:
        ``env = HashedText(AdmissibleIndexAction(MISERewardWrapper(env, delivery="info")))`` and then
        ``PPO("MlpPolicy", env).learn(100_000, callback=HindsightRewardCallback())``.

    Note:
        PPO and TRPO normalise advantages, so that ``"turn"`` depends on the ratio of the two weights only; A2C does not unless
        it is told to.
    """

    def __init__(self, credit: Credit = "turn", verbose: int = 0) -> None:
        super().__init__(verbose)
        if credit not in get_args(Credit):
            raise ConfigError(f"credit={credit!r} is unknown. Give one of {', '.join(get_args(Credit))}.")
        self._credit = credit
        self._ended: list[_Ended] = []

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
                added = np.array(added_rewards(self.locals["infos"][env]))
                credit = np.array(turn_credit(self.locals["infos"][env])) * (self._credit == "turn")
                self._ended.append(_Ended(env, row, added - credit, credit))
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        rewards, credit = np.zeros_like(buffer.rewards), np.zeros_like(buffer.rewards)  # (n_steps, n_envs)
        for episode in self._ended:
            episode.add_to(rewards, episode.rewards)
            episode.add_to(credit, episode.credit)
        surplus = _discounted(rewards, buffer.episode_starts, buffer.gamma * buffer.gae_lambda)
        buffer.rewards += rewards
        buffer.returns += surplus
        buffer.advantages += surplus + credit
        self._log()

    def _log(self) -> None:
        judged = sum(min(len(episode.rewards), episode.last + 1) for episode in self._ended)
        self.logger.record("rollout/unjudged_turns", 1 - judged / self.model.rollout_buffer.rewards.size)
        if self._ended:
            added = [(episode.rewards + episode.credit).sum() for episode in self._ended]
            self.logger.record("rollout/hindsight_reward", float(np.mean(added)))


@dataclass(frozen=True, slots=True)
class _Ended:
    """An episode that ended in this rollout; it may have begun in an earlier one. It has T turns."""

    env: int
    last: int
    """Its last row in the buffer."""
    rewards: NDArray[np.float64]
    """What is added to the rewards of its turns. Shape ``(T,)``."""
    credit: NDArray[np.float64]
    """What is added to their advantages alone. Shape ``(T,)``."""

    def add_to(self, buffer: Rewards, values: NDArray[np.float64]) -> None:
        """Add a value per turn where the rollout has that turn. Shapes ``(n_steps, n_envs)`` and ``(T,)``."""
        inside = values[-self.last - 1 :]
        buffer[self.last + 1 - len(inside) : self.last + 1, self.env] += inside


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
    """Return the sum over this turn and those after it in its episode, discounted by ``decay``. Shapes ``(n_steps, n_envs)``.

    Advantages of GAE are linear in the rewards: with decay gamma * lambda this is what ``rewards`` add to them.
    """
    sums = rewards.copy()
    for row in reversed(range(len(rewards) - 1)):
        sums[row] += decay * (1 - episode_starts[row + 1]) * sums[row + 1]
    return sums
