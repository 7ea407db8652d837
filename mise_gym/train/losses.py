"""The loss terms: pure functions of tensors, no model and no random numbers.

A *decision* is a token that the policy chose among several allowed ones; tokens that were forced have no gradient and are left
out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, mse_loss


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """The clipped surrogate and what to watch beside it."""

    loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor


def policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_range: float) -> PolicyLoss:
    """Return PPO's clipped surrogate loss, averaged over decisions.

    Args:
        logprobs: Log-probability of each chosen token now. Shape ``(N,)``.
        old_logprobs: The same when it was chosen. Shape ``(N,)``.
        advantages: Advantage of the turn that the token belongs to. Shape ``(N,)``.
        clip_range: The ratio may leave 1 by this much before its gradient stops.

    References:
        Schulman et al., Proximal Policy Optimization Algorithms, arXiv 1707.06347, eq. 7. The KL estimate is Schulman's k3.
    """
    log_ratio = logprobs - old_logprobs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = -torch.min(ratio * advantages, clipped * advantages).mean()
    with torch.no_grad():
        clip_fraction = ((ratio - 1).abs() > clip_range).float().mean()
        approx_kl = (ratio - 1 - log_ratio).mean()
    return PolicyLoss(loss, clip_fraction, approx_kl)


def value_loss(values: Tensor, value_targets: Tensor) -> Tensor:
    """Return half the mean squared error of the critic; both shapes ``(T,)``."""
    return 0.5 * mse_loss(values, value_targets)


def reference_kl(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return the mean exact KL(policy || reference) of the decisions.

    Args:
        logprobs: Log-probabilities of all allowed tokens, ``-inf`` where padded. Shape ``(N, A)``.
        ref_logprobs: The same under the reference model. Shape ``(N, A)``.
    """
    probs = logprobs.exp()
    gap = torch.where(probs > 0, logprobs - ref_logprobs, torch.zeros_like(logprobs))
    return (probs * gap).sum(-1).mean()


def entropy(logprobs: Tensor) -> Tensor:
    """Return the mean entropy of the decisions in nats. Shape ``(N, A)`` -> scalar; ``-inf`` where padded."""
    probs = logprobs.exp()
    return -(probs * torch.where(probs > 0, logprobs, torch.zeros_like(logprobs))).sum(-1).mean()


def calibration_reward(beliefs: Tensor, outcomes: Tensor) -> Tensor:
    """Return r^C = 1 - (p - R)^2 for each episode, in [0, 1].

    Brier's score is strictly proper: its expectation is highest exactly when the stated belief is E[R]. As it is bounded, one
    surprising episode cannot tear the judge away, as it can with a log score.

    Args:
        beliefs: The episode's stated belief p: the mean over turns of P("good"). Shape ``(E,)``.
        outcomes: The environment's outcome R in [0, 1]. Shape ``(E,)``.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950. Its use as r^C is
        ours: the constants of arXiv 2604.11611 were not available.
    """
    return 1 - (beliefs - outcomes) ** 2


def bernoulli_kl(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """Return KL(Bernoulli(logits) || Bernoulli(ref_logits)) element by element: the anchor of the score slots."""
    probs = logits.sigmoid()
    return probs * (logsigmoid(logits) - logsigmoid(ref_logits)) + (1 - probs) * (logsigmoid(-logits) - logsigmoid(-ref_logits))
