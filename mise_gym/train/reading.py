"""What the model says about a batch in one forward pass: action probabilities, values and beliefs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mise_gym.rewards.metrics import judge_drift
from mise_gym.train.advantages import FloatArray
from mise_gym.train.batch import Batch
from mise_gym.train.distributed import merge
from mise_gym.train.policy import LLMPolicy


@dataclass(frozen=True, slots=True)
class Reading:
    """What one forward pass reads from a batch."""

    logprobs: Tensor
    """Of all allowed tokens, ``-inf`` where padded. Shape ``(N, A)``."""
    values: Tensor
    """Shape ``(T,)``."""
    score_logits: Tensor
    """Shape ``(U,)``."""


def read(policy: LLMPolicy, batch: Batch) -> Reading:
    """Run the model once and read policy, critic and judge from it."""
    features = policy.features(batch.ids)
    logits = policy.logits(features[batch.decisions.rows, batch.decisions.columns])
    allowed_logits = logits.gather(1, batch.allowed.clamp(min=0)).masked_fill(batch.allowed < 0, -torch.inf)
    return Reading(
        allowed_logits.log_softmax(-1),
        policy.values(features, batch.states),
        policy.score_logits(features[batch.slots.rows, batch.slots.columns]),
    )


@dataclass(frozen=True, slots=True)
class Minibatch:
    """This process's share of a minibatch, and what was read from it before the update."""

    rows: list[int]
    """Which episodes of the rollout; none when there are fewer than processes."""
    filled: list[int]
    """The same, or another process's episode in place of none."""
    batch: Batch
    """Of the ``filled`` rows."""
    weights: Mapping[str, float]
    """Which part of the whole minibatch this share is, unit by unit; see ``weights_of``."""
    before: Reading
    """By the policy."""
    anchor: Reading
    """By the reference."""

    def pick(self, per_episode: Sequence[FloatArray]) -> Tensor:
        """Return the entries of the ``filled`` rows, one after the other. Shapes ``(T_i,)`` -> ``(T,)``."""
        picked = np.concatenate([per_episode[row] for row in self.filled])
        return torch.tensor(picked, dtype=torch.float32, device=self.batch.ids.device)


def by_episode(minibatches: Sequence[Minibatch], tensors: Sequence[Tensor], lengths: Sequence[int]) -> list[FloatArray]:
    """Undo ``Minibatch.pick``, with the episodes of all processes.

    Args:
        minibatches: All of a rollout.
        tensors: One per minibatch. Shape of each ``(T,)``.
        lengths: Entries of each episode of the rollout.

    Returns:
        One array per episode, in the rollout's order.
    """
    parts: dict[int, FloatArray] = {}
    for minibatch, tensor in zip(minibatches, tensors, strict=True):
        if minibatch.rows:
            ends = np.cumsum([lengths[row] for row in minibatch.rows])[:-1]
            parts |= zip(minibatch.rows, np.split(tensor.double().cpu().numpy(), ends), strict=True)
    everything = merge(parts)
    return [everything[row] for row in range(len(lengths))]


def drift_metrics(minibatches: Sequence[Minibatch], turns: Sequence[int]) -> dict[str, float]:
    """Return how far the beliefs have moved away from those of the frozen judge, on the same episodes.

    Args:
        minibatches: All of a rollout.
        turns: Turns of each episode.
    """
    now = by_episode(minibatches, [each.before.score_logits.sigmoid() for each in minibatches], turns)
    then = by_episode(minibatches, [each.anchor.score_logits.sigmoid() for each in minibatches], turns)
    drift = judge_drift(np.concatenate(now), np.concatenate(then))
    return {"judge/drift_mean": drift.mean, "judge/drift_rms": drift.rms}


def episode_beliefs(score_logits: Tensor, batch: Batch) -> Tensor:
    """Return each episode's stated belief, the mean of P("good") over its turns. Shape ``(U,)`` -> ``(B,)``."""
    episodes = len(batch.outcomes)
    sums = torch.zeros(episodes, device=score_logits.device).index_add(0, batch.slot_episodes, score_logits.sigmoid())
    counts = torch.bincount(batch.slot_episodes, minlength=episodes)
    return sums / counts.clamp(min=1)
