"""What the model says about a batch in one forward pass: action probabilities, values and beliefs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mise_gym.rewards.metrics import judge_drift
from mise_gym.train.advantages import FloatArray
from mise_gym.train.batch import Batch
from mise_gym.train.choices import in_parts
from mise_gym.train.distributed import gather_objects, merge
from mise_gym.train.losses import KLEstimator, chosen, entropy, reference_kl
from mise_gym.train.policy import LLMPolicy, Reader


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the reference says about a batch.

    Its probabilities are made from the features wherever they are compared with: those of decisions among a whole vocabulary
    are too many to keep.
    """

    reference: Reader
    features: Tensor
    """At the token before each decision. Shape ``(N, D)``."""
    score_logits: Tensor
    """Shape ``(U,)``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one forward pass of the policy reads from a batch."""

    logprobs: Tensor
    """Of the chosen tokens. Shape ``(N,)``."""
    entropies: Tensor
    """Of the decisions. Shape ``(N,)``."""
    reference_kls: Tensor
    """KL(policy || reference) of each decision, or an estimate of it. Shape ``(N,)``."""
    values: Tensor
    """What the critic says. Shape ``(T, 2)``."""
    score_logits: Tensor
    """Of the turns. Shape ``(U,)``."""
    belief_logits: Tensor
    """Of the whole attempts. Shape ``(B,)``."""


def read_anchor(reference: Reader, batch: Batch) -> Anchor:
    """Run the reference once."""
    features = reference.features(batch.ids)
    scores = reference.score_logits(features[batch.slots.rows, batch.slots.columns])
    return Anchor(reference, features[batch.decisions.rows, batch.decisions.columns], scores)


def read(policy: LLMPolicy, batch: Batch, anchor: Anchor, estimator: KLEstimator) -> Reading:
    """Run the model once and read policy, critic and judge from it.

    Args:
        policy: The policy.
        batch: The episodes.
        anchor: What the reference says about them.
        estimator: As for ``losses.reference_kl``.
    """
    features = policy.features(batch.ids)
    at_decisions = features[batch.decisions.rows, batch.decisions.columns]
    compare = partial(_compared, policy, anchor.reference, estimator)
    logprobs, entropies, reference_kls = in_parts(
        compare, policy.rows_of_logits, batch.allowed, batch.choices, at_decisions, anchor.features
    )
    return Reading(
        logprobs,
        entropies,
        reference_kls,
        policy.values(features, batch.states),
        policy.score_logits(features[batch.slots.rows, batch.slots.columns]),
        policy.score_logits(features[batch.attempts.rows, batch.attempts.columns]),
    )


def read_logprobs(policy: LLMPolicy, batch: Batch) -> Tensor:
    """Run the model once and read nothing but the log-probabilities of the chosen tokens. Shape ``(N,)``."""
    features = policy.features(batch.ids)[batch.decisions.rows, batch.decisions.columns]
    (logprobs,) = in_parts(partial(_chosen, policy), policy.rows_of_logits, batch.allowed, batch.choices, features)
    return logprobs


def _chosen(policy: Reader, allowed: Tensor, choices: Tensor, features: Tensor) -> tuple[Tensor]:
    return (chosen(policy.allowed_logits(features, allowed).log_softmax(-1), choices),)


def _compared(  # noqa: PLR0913  # two models, and their columns of a table of decisions
    policy: Reader,
    reference: Reader,
    estimator: KLEstimator,
    allowed: Tensor,
    choices: Tensor,
    features: Tensor,
    ref_features: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probability of the choice, entropy and KL of some decisions, limited ones or open ones. Shape ``(N,)`` each."""
    with torch.no_grad():
        ref_logprobs = reference.allowed_logits(ref_features, allowed).log_softmax(-1)
    logprobs = policy.allowed_logits(features, allowed).log_softmax(-1)
    return (
        chosen(logprobs, choices),
        entropy(logprobs),
        reference_kl(logprobs, ref_logprobs, choices, estimator=estimator),
    )


@dataclass(frozen=True, slots=True)
class Pass:
    """The episodes of a minibatch that go through the model together, and what was read from them before the update."""

    rows: list[int]
    """Which episodes of the rollout."""
    batch: Batch
    before: Reading
    """By the policy."""
    anchor: Anchor
    """By the reference."""
    weights: Mapping[str, float]
    """Which part of the whole minibatch this is, by unit; see ``weights_of``."""

    @property
    def is_counted(self) -> bool:
        """Whether the episodes are this process's part, and not one that stands in for an empty part."""
        return self.weights["turns"] > 0

    def pick(self, per_episode: Sequence[FloatArray]) -> Tensor:
        """Return the entries of these episodes, one after the other. Shapes ``(T_i,)`` -> ``(T,)``."""
        picked = np.concatenate([per_episode[row] for row in self.rows])
        return torch.tensor(picked, dtype=torch.float32, device=self.batch.ids.device)


def by_episode(passes: Sequence[Pass], tensors: Sequence[Tensor], lengths: Sequence[int]) -> list[FloatArray]:
    """Undo ``Pass.pick``.

    Args:
        passes: All of a rollout, or this process's part of them; the parts of the others are added.
        tensors: One per pass. Shape of each ``(T,)``.
        lengths: Entries of each episode of the rollout.

    Returns:
        One array per episode, in the rollout's order.
    """
    parts: dict[int, FloatArray] = {}
    for each, tensor in zip(passes, tensors, strict=True):
        if not each.is_counted:
            continue
        ends = np.cumsum([lengths[row] for row in each.rows])[:-1]
        parts |= zip(each.rows, np.split(tensor.double().cpu().numpy(), ends), strict=True)
    whole = merge(parts)
    return [whole[row] for row in range(len(lengths))]


def drift_metrics(passes: Sequence[Pass]) -> dict[str, float]:
    """Return how far the scores have moved away from those of the frozen judge, on the same episodes."""
    counted = [each for each in passes if each.is_counted]
    mine = [(_scores(each.before), _scores(each.anchor)) for each in counted]
    now, then = zip(*(pair for part in gather_objects(mine) for pair in part), strict=True)
    drift = judge_drift(np.concatenate(now), np.concatenate(then))
    return {"judge/drift_mean": drift.mean, "judge/drift_rms": drift.rms}


def _scores(reading: Reading | Anchor) -> FloatArray:
    return np.asarray(reading.score_logits.sigmoid().double().cpu().numpy())
