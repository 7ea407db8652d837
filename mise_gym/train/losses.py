"""The loss terms: pure functions of tensors, no model and no random numbers.

A *decision* is a token that the policy chose among several allowed ones; tokens that were forced have no gradient and are left
out.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

KLEstimator = Literal["exact", "k1", "k3"]
CalibrationScore = Literal["brier", "log"]

_LOG_BELOW: Final = 0.01


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """The clipped surrogate and what to watch beside it."""

    loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_range: float, clip_range_high: float | None = None
) -> PolicyLoss:
    """Return PPO's clipped surrogate loss, averaged over decisions.

    Args:
        logprobs: Log-probability of each chosen token now. Shape ``(N,)``.
        old_logprobs: The same when it was chosen. Shape ``(N,)``.
        advantages: Advantage of the step that the token belongs to. Shape ``(N,)``.
        clip_range: The ratio may leave 1 by this much before its gradient stops.
        clip_range_high: The same, upwards; ``None`` is ``clip_range``. More room upwards keeps rare choices alive.

    References:
        Schulman et al., Proximal Policy Optimization Algorithms, arXiv 1707.06347, eq. 7. The KL estimate is Schulman's k3.
        Yu et al., DAPO, arXiv 2503.14476, section 3.1 (the upper limit of its own).
    """
    log_ratio = logprobs - old_logprobs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + (clip_range if clip_range_high is None else clip_range_high))
    loss = -mean(torch.min(ratio * advantages, clipped * advantages))
    with torch.no_grad():
        clip_fraction = mean((ratio != clipped).float())
        approx_kl = mean(ratio - 1 - log_ratio)
    return PolicyLoss(loss, clip_fraction, approx_kl)


def value_loss(values: Tensor, value_targets: Tensor) -> Tensor:
    """Return half the mean squared error of the critic, its two predictions added up; both shapes ``(T, 2)``."""
    return 0.5 * mean(((values - value_targets) ** 2).sum(-1))


def chosen(logprobs: Tensor, choices: Tensor) -> Tensor:
    """Return the log-probabilities of the chosen tokens. Shapes ``(N, A)`` and ``(N,)`` -> ``(N,)``."""
    return logprobs.gather(1, choices[:, None]).squeeze(1)


def reference_kl(logprobs: Tensor, ref_logprobs: Tensor, choices: Tensor, *, estimator: KLEstimator) -> Tensor:
    """Return KL(policy || reference) of each decision, or an estimate of it. Shape ``(N,)``.

    Args:
        logprobs: Log-probabilities of all allowed tokens, ``-inf`` where padded. Shape ``(N, A)``.
        ref_logprobs: The same under the reference model. Shape ``(N, A)``.
        choices: Index of the token that was chosen. Shape ``(N,)``.
        estimator: "exact" sums over all allowed tokens. The others read the chosen one only: "k1" is the log-ratio, unbiased, of
            either sign; "k3" is (r - 1) - log r with r = reference / policy, unbiased, never negative, of less variance where the
            two are close.

    Note:
        As a loss "k1" is useless: its gradient is zero on average. That of "k3" is, on average, the one of
        KL(reference || policy), which pulls the same way; only "exact" has that of KL(policy || reference).

    References:
        Schulman, Approximating KL Divergence, joschu.net/blog/kl-approx.html, 2020.
    """
    if estimator == "exact":
        probs = logprobs.exp()
        gap = torch.where(probs > 0, logprobs - ref_logprobs, torch.zeros_like(logprobs))
        return (probs * gap).sum(-1)
    log_ratio = chosen(logprobs, choices) - chosen(ref_logprobs, choices)
    return log_ratio if estimator == "k1" else torch.expm1(-log_ratio) + log_ratio


def entropy(logprobs: Tensor) -> Tensor:
    """Return the entropy of each decision in nats. Shape ``(N, A)`` -> ``(N,)``; ``-inf`` where padded."""
    probs = logprobs.exp()
    return -(probs * torch.where(probs > 0, logprobs, torch.zeros_like(logprobs))).sum(-1)


def mean(values: Tensor) -> Tensor:
    """Return the mean over the decisions of a batch, and 0 for a batch without any. Shape ``(N,)`` -> scalar."""
    return values.sum() / max(len(values), 1)


def calibration_reward(beliefs: Tensor, outcomes: Tensor, *, score: CalibrationScore = "brier") -> Tensor:
    """Return r^C of each episode, in [0, 1]: how well the stated belief p agrees with the outcome R.

    Both scores are strictly proper: where R is random, their expectation is highest exactly when p is E[R]. Both are
    bounded, so that one surprising episode cannot tear the judge away. "brier" is 1 - (p - R)^2. "log" is the cross-entropy
    R log p + (1 - R) log(1 - p), moved and scaled into [0, 1]; it cares more for small probabilities. Where the logarithm's
    argument falls below 0.01 it goes on along its tangent, which bounds it and, unlike clipping p, still leads a judge back who
    was sure and wrong; E[R] outside of [0.01, 0.99] is therefore met only to within 0.01.

    Args:
        beliefs: P("good") of each whole attempt. Shape ``(B,)``.
        outcomes: R of each, in [0, 1]. Shape ``(B,)``.
        score: Which of the two.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950. Good, Rational
        decisions, Journal of the Royal Statistical Society B 14, 1952 (the logarithm). Their use as r^C is ours: the constants of
        arXiv 2604.11611 were not available.
    """
    if score == "brier":
        return 1 - (beliefs - outcomes) ** 2
    agreement = outcomes * _bounded_log(beliefs) + (1 - outcomes) * _bounded_log(1 - beliefs)
    return 1 + agreement / (1 - math.log(_LOG_BELOW))


def _bounded_log(p: Tensor) -> Tensor:
    """Return log p; below ``_LOG_BELOW`` its tangent there, which ends at log(_LOG_BELOW) - 1."""
    inside = p.clamp(min=_LOG_BELOW)
    return inside.log() + (p - inside) / _LOG_BELOW


def bernoulli_kl(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """Return KL(Bernoulli(logits) || Bernoulli(ref_logits)) element by element: the anchor of the score slots."""
    probs = logits.sigmoid()
    return probs * (logsigmoid(logits) - logsigmoid(ref_logits)) + (1 - probs) * (logsigmoid(-logits) - logsigmoid(-ref_logits))
