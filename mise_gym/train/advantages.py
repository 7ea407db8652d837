"""Advantages: how much better a step went than expected. Pure functions of arrays, no model and no random numbers.

A *step* is what gets credit of its own: a turn, or a token that was chosen.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
GroupBaseline = Literal["rloo", "grpo"]


def gae(
    rewards: FloatArray, values: FloatArray, *, gamma: float | FloatArray, gae_lambda: float
) -> tuple[FloatArray, FloatArray]:
    """Return advantages and value targets of one finished episode.

    An episode cut by a step limit counts as finished: the environment pays its progress at that step, so there is nothing left to
    bootstrap from.

    Args:
        rewards: Reward of each step. Shape ``(T,)``.
        values: Predicted value of the state before each step. Shape ``(T,)``.
        gamma: Discount per step; 1 is none. An array of shape ``(T,)`` discounts what follows each step by its own.
        gae_lambda: 0 is one-step TD (low variance, biased by the critic), 1 is Monte Carlo (unbiased, noisy).

    Returns:
        Advantages and value targets, each of shape ``(T,)``.

    References:
        Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation, arXiv 1506.02438, eq. 16.
    """
    discounts = np.broadcast_to(gamma, rewards.shape)
    advantages = np.zeros_like(rewards)
    carry = 0.0
    for step in range(len(rewards) - 1, -1, -1):
        next_value = values[step + 1] if step + 1 < len(rewards) else 0.0
        carry = rewards[step] + discounts[step] * (next_value + gae_lambda * carry) - values[step]
        advantages[step] = carry
    return advantages, advantages + values


def returns_to_go(rewards: FloatArray, *, gamma: float) -> FloatArray:
    """Return the discounted sum of the rewards from each turn on. Shape ``(T,)`` -> ``(T,)``."""
    returns, _ = gae(rewards, np.zeros_like(rewards), gamma=gamma, gae_lambda=1.0)
    return returns


def group_advantages(returns: Sequence[FloatArray], baseline: GroupBaseline) -> list[FloatArray]:
    """Return advantages by comparing episodes that began in the same state.

    A turn is compared with the same turn of the other episodes, and with the last turn of those that were over by then. Where
    only the last turn pays and nothing is discounted this is the comparison of outcomes that both methods are known for.

    Args:
        returns: Return to go from each turn, one array per episode of the group. Shape of each ``(T,)``.
        baseline: "rloo" subtracts the mean of the other episodes, which leaves the policy gradient unbiased; "grpo" subtracts the
            mean of all and divides by their standard deviation, so that every task weighs the same, however little it paid.

    Returns:
        One array per episode. Shape of each ``(T,)``.

    References:
        Ahmadian et al., Back to Basics, arXiv 2402.14740, eq. 6 (RLOO, there with one reward per episode). Shao et al.,
        DeepSeekMath, arXiv 2402.03300, section 4.1 (GRPO, likewise).
    """
    turns = np.arange(max(len(each) for each in returns))
    table = np.stack([each[np.minimum(turns, len(each) - 1)] for each in returns])
    if baseline == "rloo":
        advantages = table - (table.sum(0) - table) / (len(table) - 1)
    else:
        advantages = (table - table.mean(0)) / (table.std(0) + 1e-8)
    return [row[: len(each)] for row, each in zip(advantages, returns, strict=True)]


def normalise(advantages: Sequence[FloatArray]) -> list[FloatArray]:
    """Shift and scale advantages to mean 0 and standard deviation 1 over all steps of all episodes. Shape of each ``(T,)``."""
    everything = np.concatenate(advantages)
    return [(each - everything.mean()) / (everything.std() + 1e-8) for each in advantages]
