"""Generalised advantage estimation over turns."""

import numpy as np
from numpy.typing import NDArray


def gae(
    rewards: NDArray[np.float64], values: NDArray[np.float64], *, gamma: float, gae_lambda: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return advantages and value targets of one finished episode.

    An episode cut by a step limit counts as finished: the environment pays its progress at that step, so there is nothing left to
    bootstrap from.

    Args:
        rewards: Reward of each turn. Shape ``(T,)``.
        values: Predicted value of the state before each turn. Shape ``(T,)``.
        gamma: Discount per turn; 1 is none.
        gae_lambda: 0 is one-step TD (low variance, biased by the critic), 1 is Monte Carlo (unbiased, noisy).

    Returns:
        Advantages and value targets, each of shape ``(T,)``.

    References:
        Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation, arXiv 1506.02438, eq. 16.
    """
    advantages = np.zeros_like(rewards)
    carry = 0.0
    for turn in range(len(rewards) - 1, -1, -1):
        next_value = values[turn + 1] if turn + 1 < len(rewards) else 0.0
        carry = rewards[turn] + gamma * next_value - values[turn] + gamma * gae_lambda * carry
        advantages[turn] = carry
    return advantages, advantages + values
