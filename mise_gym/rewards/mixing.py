"""How the environment's reward and the calibrated hindsight reward become one number per turn."""

from collections.abc import Sequence


def mix(env_rewards: Sequence[float], calibrated: Sequence[float] | None, w_env: float, w_hindsight: float) -> tuple[float, ...]:
    """Return r_t = w_env e_t + w_hindsight r^H_t.

    Args:
        env_rewards: e_t, one per turn.
        calibrated: r^H_t, one per turn; ``None`` when the judge failed, which leaves the environment's part alone.
        w_env: Weight of the environment; 0 trains on the judge alone.
        w_hindsight: Weight of the judge; 0 is reinforcement learning on the environment's reward.

    Returns:
        Rewards, one per turn.

    Example:
        >>> mix([0.0, 1.0], [0.5, -0.5], w_env=1.0, w_hindsight=0.2)
        (0.1, 0.9)
    """
    if calibrated is None:
        return tuple([w_env * env for env in env_rewards])
    return tuple([w_env * env + w_hindsight * hindsight for env, hindsight in zip(env_rewards, calibrated, strict=True)])
