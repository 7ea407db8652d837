"""Decisions among a whole vocabulary: few of their logits are in memory at a time, and nothing that is computed changes."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mise_gym.train import policy as policy_module
from mise_gym.train.batch import Batch, to_batch, with_hindsight
from mise_gym.train.forms import Forms
from mise_gym.train.losses import entropy, reference_kl
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.reading import Anchor, Pass, Reading, read, read_anchor
from mise_gym.train.reference import reference_of
from mise_gym.train.rollout import Rollout
from tests.train.conftest import MakePolicy
from tests.train.speller import play_by
from tests.train.test_passes import EVERYTHING
from tests.train.test_ppo import pay

KINDS = {
    "limited": Forms("constrained"),
    "open": Forms("free", max_action_tokens=12),
    "both": Forms("constrained", thinking=True, max_action_tokens=12),
}
AT_ONCE = 3


@pytest.fixture
def few_logits(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    monkeypatch.setattr(policy_module, "MAX_LOGITS", AT_ONCE * len(tokenizer))


def play(policy: LLMPolicy, kind: str) -> Rollout:
    return play_by(KINDS[kind], policy, games=6)


def batch_of(policy: LLMPolicy, rollout: Rollout) -> Batch:
    return to_batch(policy, [with_hindsight(policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)])


def whole_table(policy: LLMPolicy, batch: Batch) -> Tensor:
    """Return the log-probabilities of all decisions over the vocabulary, one row at a time. Shape ``(N, V)``."""
    features = policy.features(batch.ids)[batch.decisions.rows, batch.decisions.columns]
    rows = []
    for logits, allowed in zip(policy.logits(features), batch.allowed.tolist(), strict=True):
        tokens = [token for token in allowed if token >= 0] or range(len(logits))
        gaps = torch.full_like(logits, -torch.inf)
        gaps[list(tokens)] = 0
        rows.append((logits + gaps).log_softmax(-1))
    return torch.stack(rows)


def tokens_chosen(batch: Batch) -> Tensor:
    """Return the ids of the chosen tokens. Shape ``(N,)``."""
    columns = batch.choices.clamp(max=batch.allowed.shape[1] - 1)[:, None]
    return torch.where(batch.allowed[:, 0] < 0, batch.choices, batch.allowed.gather(1, columns).squeeze(1))


def weighted(logprobs: Tensor, entropies: Tensor, kls: Tensor) -> Tensor:
    """A sum in which every number has a weight of its own."""
    return sum((part * torch.linspace(1, 2, len(part))).sum() for part in (logprobs, 0.5 * entropies, 0.3 * kls))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", ["exact", "k1", "k3"])
def test_in_parts_all_numbers_and_gradients_are_those_of_the_whole_table(
    make_policy: MakePolicy, few_logits: None, kind: str, estimator: Any
) -> None:
    policy, plain, reference = make_policy(0), make_policy(0), make_policy(1)
    batch = batch_of(policy, play(policy, kind))
    table = whole_table(plain, batch)
    ref_table = whole_table(reference, batch).detach()
    tokens = tokens_chosen(batch)
    expected = (
        table.gather(1, tokens[:, None]).squeeze(1),
        entropy(table),
        reference_kl(table, ref_table, tokens, estimator=estimator),
    )

    found = read(policy, batch, read_anchor(reference, batch), estimator)
    weighted(*expected).backward()
    weighted(found.logprobs, found.entropies, found.reference_kls).backward()

    for ours, theirs in zip((found.logprobs, found.entropies, found.reference_kls), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    theirs = dict(plain.named_parameters())
    for name, weights in policy.named_parameters():
        if weights.grad is not None:
            assert torch.allclose(weights.grad, theirs[name].grad, rtol=1e-4, atol=1e-5)


class WidestTable(TorchDispatchMode):
    """Watches every operation and remembers the most rows, of the width of the vocabulary, that one returned."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, Tensor) and each.ndim and each.shape[-1] == self.vocabulary:
                self.rows = max(self.rows, each.numel() // self.vocabulary)
        return result


def update(policy: LLMPolicy, rollout: Rollout, config: PPOConfig = EVERYTHING) -> dict[str, float]:
    rewards = pay(*([float(row % 2)] * len(episode) for row, episode in enumerate(rollout.episodes)))
    learner = PPOLearner(policy, reference_of(policy), config, judge="trained")
    return learner.update(rollout, rewards, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["open", "both"])
def test_no_more_rows_of_logits_are_in_memory_than_may_be(policy: LLMPolicy, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    vocabulary, at_once = policy.model.config.vocab_size, 2 * policy.model.config.hidden_size  # weights transposed are as wide
    monkeypatch.setattr(policy_module, "MAX_LOGITS", at_once * vocabulary)
    rollout = play(policy, kind)
    assert sum(decision.allowed is None for trace in rollout.traces for decision in trace.decisions) > 3 * at_once

    with WidestTable(vocabulary) as widest:
        update(policy, rollout)

    assert widest.rows == at_once


@pytest.mark.parametrize("kind", ["open", "both"])
def test_no_logits_of_open_decisions_are_kept_for_the_backward_pass(policy: LLMPolicy, kind: str) -> None:
    batch = batch_of(policy, play(policy, kind))
    anchor = read_anchor(copy.deepcopy(policy), batch)
    widths: list[int] = []

    with torch.autograd.graph.saved_tensors_hooks(lambda t: widths.append(t.shape[-1] if t.ndim else 0) or t, lambda t: t):
        read(policy, batch, anchor, "exact").logprobs.sum()

    assert policy.model.config.vocab_size not in widths
    assert policy.model.config.hidden_size in widths


def test_what_is_known_from_before_the_update_takes_no_room_for_a_vocabulary(
    policy: LLMPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = play(policy, "open")
    passes: list[Pass] = []
    first = PPOLearner._first_pass
    monkeypatch.setattr(PPOLearner, "_first_pass", lambda *each: passes.append(first(*each)) or passes[-1])

    update(policy, rollout)

    kept = [tensor for each in passes for tensor in tensors(each.before, each.anchor)]
    decisions = sum(len(trace.decisions) for trace in rollout.traces)
    assert sum(tensor.numel() for tensor in kept) < decisions * (policy.model.config.hidden_size + 6)


def tensors(*readings: Reading | Anchor) -> Iterator[Tensor]:
    return (value for reading in readings for name in reading.__slots__ if isinstance(value := getattr(reading, name), Tensor))


@pytest.mark.parametrize("knobs", [{}, {"kl_penalty": "reward"}, {"kl_estimator": "k3"}])
@pytest.mark.parametrize("kind", ["open", "both"])
def test_an_update_in_parts_is_that_of_one_whole(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch, kind: str, knobs: dict[str, Any]
) -> None:
    whole, parts = make_policy(0), make_policy(0)
    rollout = play(whole, kind)
    config = replace(EVERYTHING, **knobs)

    expected = update(whole, rollout, config)
    monkeypatch.setattr(policy_module, "MAX_LOGITS", AT_ONCE * whole.model.config.vocab_size)
    found = update(parts, rollout, config)

    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    theirs = whole.state_dict()
    assert all(torch.allclose(weights, theirs[name], atol=1e-5) for name, weights in parts.state_dict().items())
