"""From a rollout and its rewards to the tensors that the loss reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mise_gym.llm.batching import pad
from mise_gym.train.choices import pack_allowed
from mise_gym.train.distributed import total
from mise_gym.train.policy import LLMPolicy, Places
from mise_gym.train.trace import TokenTrace
from mise_gym.types import Episode

UNITS: Final = {"value_loss": "turns", "anchor_kl": "turns", "calibration_reward": "episodes"}
"""Term of the loss -> what it is a mean over; all others are means over decisions."""


@dataclass(frozen=True, slots=True)
class JudgedTrace:
    """One episode ready for training: its tokens with the hindsight questions behind them."""

    trace: TokenTrace
    ids: list[int]
    slots: list[int]
    outcome: float


@dataclass(slots=True)
class TurnTargets:
    """What PPO needs to know of each turn of one episode. Shape ``(T,)`` each."""

    advantages: NDArray[np.float64]
    value_targets: NDArray[np.float64]

    @classmethod
    def joined(cls, episodes: Sequence["TurnTargets"]) -> "TurnTargets":
        """Put the targets of some episodes one behind the other."""
        return cls(np.concatenate([one.advantages for one in episodes]), np.concatenate([one.value_targets for one in episodes]))


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors of B episodes with N decisions (at most A allowed tokens each) and T turns in all."""

    ids: Tensor
    """Shape ``(B, S)``."""
    decisions: Places
    """Where each decision's features are: at the token before it. Shape ``(N,)``."""
    allowed: Tensor
    """Allowed token ids, as ``choices.pack_allowed`` makes them. Shape ``(N, A)``."""
    choices: Tensor
    """Column of the chosen token in what ``LLMPolicy.allowed_logits`` makes of ``allowed``. Shape ``(N,)``."""
    old_logprobs: Tensor
    """Shape ``(N,)``."""
    decision_turns: Tensor
    """Which of the T turns each decision belongs to. Shape ``(N,)``."""
    states: Places
    """Where the critic reads. Shape ``(T,)``."""
    slots: Places
    """Where the beliefs are read. Shape ``(T,)``."""
    slot_episodes: Tensor
    """Which of the B episodes each slot belongs to. Shape ``(T,)``."""
    outcomes: Tensor
    """R of each episode. Shape ``(B,)``."""


def with_hindsight(policy: LLMPolicy, episode: Episode, trace: TokenTrace) -> JudgedTrace:
    """Put the hindsight questions behind an episode's tokens."""
    questions = policy.text.hindsight([turn.action for turn in episode.transitions])
    start = len(trace.ids)
    return JudgedTrace(trace, trace.ids + questions.ids, [start + slot for slot in questions.slots], episode.progress)


def to_batch(policy: LLMPolicy, sequences: Sequence[JudgedTrace]) -> Batch:
    """Pad and flatten some episodes."""
    device = policy.device
    traces = [sequence.trace for sequence in sequences]
    ids, _ = pad([sequence.ids for sequence in sequences], policy.tokenizer.pad_token_id or 0, device)
    decisions = [decision for trace in traces for decision in trace.decisions]
    first_turn = np.cumsum([0, *(len(trace.value_positions) for trace in traces)])
    is_limited = all(decision.allowed is not None for decision in decisions)
    chosen = [d.choice if is_limited else trace.ids[d.position] for trace in traces for d in trace.decisions]
    decision_turns = [first_turn[row] + d.turn for row, trace in enumerate(traces) for d in trace.decisions]
    slots = Places.of([sequence.slots for sequence in sequences])
    return Batch(
        ids=ids,
        decisions=Places.of([[d.position - 1 for d in trace.decisions] for trace in traces]),
        allowed=pack_allowed([decision.allowed for decision in decisions]).to(device),
        choices=torch.tensor(chosen, dtype=torch.long, device=device),
        old_logprobs=torch.tensor([d.logprob for d in decisions], device=device),
        decision_turns=torch.tensor(decision_turns, dtype=torch.long, device=device),
        states=Places.of([trace.value_positions for trace in traces]),
        slots=slots,
        slot_episodes=slots.rows.to(device),
        outcomes=torch.tensor([sequence.outcome for sequence in sequences], dtype=torch.float32, device=device),
    )


def weights_of(batches: Sequence[Batch], is_counted: Sequence[bool]) -> list[dict[str, float]]:
    """Return, unit by unit, which part of each minibatch this process holds; 1 where there is one process.

    Weighted by it, the means over a process's batch add up, over processes, to the mean over the whole minibatch.

    Args:
        batches: This process's part of each minibatch.
        is_counted: False for one that only fills the place of an empty part; its weights are 0.
    """
    sizes = [(len(batch.choices), len(batch.slot_episodes), len(batch.outcomes)) for batch in batches]
    mine = torch.tensor(sizes, dtype=torch.float64) * torch.tensor(is_counted)[:, None]
    parts = mine / total(mine.to(batches[0].ids.device, copy=True)).cpu().clamp(min=1)
    return [dict(zip(("decisions", "turns", "episodes"), part, strict=True)) for part in parts.tolist()]


def weighted(term: Tensor, weight: float) -> Tensor:
    """Return ``weight * term``; 0 for the weight 0, even where the term is a mean over nothing."""
    return term * weight if weight else term.nan_to_num() * 0
