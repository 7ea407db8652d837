"""What the model says about a batch in one forward pass: action probabilities, values and beliefs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mise_gym.rewards.metrics import judge_drift
from mise_gym.train.advantages import FloatArray
from mise_gym.train.batch import Batch
from mise_gym.train.distributed import gather_objects, merge
from mise_gym.train.policy import Reader


@dataclass(frozen=True, slots=True)
class Reading:
    """What one forward pass reads from a batch."""

    logprobs: Tensor
    """Of all allowed tokens, ``-inf`` elsewhere; one column per token of the vocabulary if any was free. Shape ``(N, A)``."""
    values: Tensor
    """Shape ``(T,)``."""
    score_logits: Tensor
    """Shape ``(U,)``."""


def read(policy: Reader, batch: Batch) -> Reading:
    """Run the model once and read policy, critic and judge from it."""
    features = policy.features(batch.ids)
    allowed_logits = policy.allowed_logits(features[batch.decisions.rows, batch.decisions.columns], batch.allowed)
    return Reading(
        allowed_logits.log_softmax(-1),
        policy.values(features, batch.states),
        policy.score_logits(features[batch.slots.rows, batch.slots.columns]),
    )


@dataclass(frozen=True, slots=True)
class Pass:
    """The episodes of a minibatch that go through the model together, and what was read from them before the update."""

    rows: list[int]
    """Which episodes of the rollout."""
    batch: Batch
    before: Reading
    """By the policy."""
    anchor: Reading
    """By the reference."""
    weights: Mapping[str, float]
    """Which part of the whole minibatch this is, by unit; see ``weights_of``."""

    @property
    def is_counted(self) -> bool:
        """Whether the episodes are this process's part, and not one that stands in for an empty part."""
        return self.weights["episodes"] > 0

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
    """Return how far the beliefs have moved away from those of the frozen judge, on the same episodes."""
    counted = [each for each in passes if each.is_counted]
    mine = [(_beliefs(each.before), _beliefs(each.anchor)) for each in counted]
    now, then = zip(*(pair for part in gather_objects(mine) for pair in part), strict=True)
    drift = judge_drift(np.concatenate(now), np.concatenate(then))
    return {"judge/drift_mean": drift.mean, "judge/drift_rms": drift.rms}


def _beliefs(reading: Reading) -> FloatArray:
    return np.asarray(reading.score_logits.sigmoid().double().cpu().numpy())


def episode_beliefs(score_logits: Tensor, batch: Batch) -> Tensor:
    """Return each episode's stated belief, the mean of P("good") over its turns. Shape ``(U,)`` -> ``(B,)``."""
    episodes = len(batch.outcomes)
    sums = torch.zeros(episodes, device=score_logits.device).index_add(0, batch.slot_episodes, score_logits.sigmoid())
    counts = torch.bincount(batch.slot_episodes, minlength=episodes)
    return sums / counts.clamp(min=1)
