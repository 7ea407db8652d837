"""How the environment's reward and the calibrated hindsight reward become one number per turn."""

import numpy as np

from mise_gym.rewards.base import FloatArray


def mix(env_rewards: FloatArray, calibrated: FloatArray | None, w_env: float, w_hindsight: float) -> FloatArray:
    """Return r_t = w_env e_t + w_hindsight r^H_t.

    Args:
        env_rewards: e_t. Shape ``(T,)``.
        calibrated: r^H_t, shape ``(T,)``; ``None`` when the judge failed, which leaves the environment's part alone.
        w_env: Weight of the environment; 0 trains on the judge alone.
        w_hindsight: Weight of the judge; 0 is reinforcement learning on the environment's reward.

    Returns:
        Rewards. Shape ``(T,)``.

    Example:
        >>> mix(np.array([0.0, 1.0]), np.array([0.5, -0.5]), w_env=1.0, w_hindsight=0.2).tolist()
        [0.1, 0.9]
    """
    rewards = w_env * np.asarray(env_rewards, dtype=np.float64)
    if calibrated is not None:
        rewards = rewards + w_hindsight * calibrated
    return rewards
