"""From the episodes of a rollout to the tensors that the loss reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mise_gym.llm.batching import pad
from mise_gym.train.choices import pack_allowed
from mise_gym.train.credit import CreditLevel, Steps
from mise_gym.train.distributed import total
from mise_gym.train.policy import LLMPolicy, Places
from mise_gym.train.trace import TokenTrace
from mise_gym.types import Episode

UNITS: Final = {"value_loss": "steps", "anchor_kl": "turns", "calibration_reward": "episodes"}
"""Term of the loss -> what it is a mean over; all others are means over decisions."""


@dataclass(frozen=True, slots=True)
class JudgedTrace:
    """One episode ready for training: its tokens with the hindsight questions behind them."""

    trace: TokenTrace
    steps: Steps
    ids: list[int]
    slots: list[int]
    """Of the turns, and of the whole attempt."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors of B episodes with N decisions (at most A allowed tokens each), T steps and U turns in all."""

    ids: Tensor
    """Shape ``(B, S)``."""
    decisions: Places
    """Where each decision's features are: at the token before it. Shape ``(N,)``."""
    allowed: Tensor
    """Allowed token ids, as ``choices.pack_allowed`` makes them. Shape ``(N, A)``."""
    choices: Tensor
    """Column of the chosen token in ``allowed``, or its id where every token was. Shape ``(N,)``."""
    old_logprobs: Tensor
    """Shape ``(N,)``."""
    decision_steps: Tensor
    """Which of the T steps each decision belongs to. Shape ``(N,)``."""
    states: Places
    """Where the critic reads. Shape ``(T,)``."""
    slots: Places
    """Where the scores of the turns are read. Shape ``(U,)``."""
    attempts: Places
    """Where the belief about each episode is read. Shape ``(B,)``."""


def with_hindsight(policy: LLMPolicy, episode: Episode, trace: TokenTrace, level: CreditLevel = "turn") -> JudgedTrace:
    """Put the hindsight questions behind an episode's tokens, and divide it into steps."""
    questions = policy.text.hindsight(episode.transitions)
    start = len(trace.ids)
    slots = [start + slot for slot in questions.slots]
    return JudgedTrace(trace, Steps.of(trace, level), trace.ids + questions.ids, slots)


def to_batch(policy: LLMPolicy, sequences: Sequence[JudgedTrace]) -> Batch:
    """Pad and flatten some episodes."""
    device = policy.device
    traces = [sequence.trace for sequence in sequences]
    ids, _ = pad([sequence.ids for sequence in sequences], policy.tokenizer.pad_token_id or 0, device)
    decisions = [decision for trace in traces for decision in trace.decisions]
    first_step = np.cumsum([0, *(len(sequence.steps.turns) for sequence in sequences)])
    decision_steps = [first_step[row] + step for row, sequence in enumerate(sequences) for step in sequence.steps.of_decisions]
    return Batch(
        ids=ids,
        decisions=Places.of([[d.position - 1 for d in trace.decisions] for trace in traces]),
        allowed=pack_allowed([decision.allowed for decision in decisions]).to(device),
        choices=torch.tensor([d.choice for d in decisions], dtype=torch.long, device=device),
        old_logprobs=torch.tensor([d.logprob for d in decisions], device=device),
        decision_steps=torch.tensor(decision_steps, dtype=torch.long, device=device),
        states=Places.of([sequence.steps.positions for sequence in sequences]),
        slots=Places.of([sequence.slots[:-1] for sequence in sequences]),
        attempts=Places.of([sequence.slots[-1:] for sequence in sequences]),
    )


def weights_of(batches: Sequence[Batch], counted: int) -> list[dict[str, float]]:
    """Return, unit by unit, which part of a minibatch each of its passes is; 1 where there is one pass in one process.

    Weighted by it, the means over the passes add up, over all processes, to the mean over the whole minibatch.

    Args:
        batches: This process's passes.
        counted: How many of them are its part of the minibatch; the others only stand in, and their weights are 0.
    """
    sizes = [(len(b.choices), len(b.states.rows), len(b.slots.rows), len(b.ids)) for b in batches]
    mine = torch.tensor(sizes, dtype=torch.float64, device=batches[0].ids.device)
    mine[counted:] = 0
    parts = mine / total(mine.sum(0)).clamp(min=1)
    return [dict(zip(("decisions", "steps", "turns", "episodes"), part, strict=True)) for part in parts.tolist()]
