"""A batch of episodes against the same numbers looked up one by one."""

import pytest

from mise_gym.train.batch import Batch, JudgedTrace, to_batch, with_hindsight
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout


@pytest.fixture
def sequences(policy: LLMPolicy, rollout: Rollout) -> list[JudgedTrace]:
    return [with_hindsight(policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)]


@pytest.fixture
def batch(policy: LLMPolicy, sequences: list[JudgedTrace]) -> Batch:
    return to_batch(policy, sequences)


def test_rows_are_the_episodes_padded_on_the_right(batch: Batch, sequences: list[JudgedTrace], policy: LLMPolicy) -> None:
    width = max(len(sequence.ids) for sequence in sequences)

    padded = [sequence.ids + [policy.tokenizer.pad_token_id] * (width - len(sequence.ids)) for sequence in sequences]
    assert batch.ids.tolist() == padded


def test_each_decision_is_read_at_the_token_before_it(batch: Batch, sequences: list[JudgedTrace]) -> None:
    places = [(row, decision.position - 1) for row, s in enumerate(sequences) for decision in s.trace.decisions]

    assert list(zip(batch.decisions.rows.tolist(), batch.decisions.columns.tolist(), strict=True)) == places


def test_allowed_choices_and_logprobs_are_those_of_the_decisions(batch: Batch, sequences: list[JudgedTrace]) -> None:
    decisions = [decision for sequence in sequences for decision in sequence.trace.decisions]

    assert [tuple(token for token in row if token >= 0) for row in batch.allowed.tolist()] == [d.allowed for d in decisions]
    assert batch.choices.tolist() == [d.choice for d in decisions]
    assert batch.old_logprobs.tolist() == pytest.approx([d.logprob for d in decisions])


def test_each_decision_knows_its_step_among_all_steps(batch: Batch, sequences: list[JudgedTrace]) -> None:
    turns = [(row, turn) for row, s in enumerate(sequences) for turn in range(len(s.trace.value_positions))]
    expected = [(row, decision.turn) for row, s in enumerate(sequences) for decision in s.trace.decisions]

    assert [turns[turn] for turn in batch.decision_steps.tolist()] == expected


def test_states_and_slots_have_one_place_per_turn_and_a_slot_for_the_attempt(batch: Batch, sequences: list[JudgedTrace]) -> None:
    states = [(row, position) for row, s in enumerate(sequences) for position in s.trace.value_positions]
    slots = [(row, slot) for row, s in enumerate(sequences) for slot in s.slots[:-1]]
    attempts = [(row, s.slots[-1]) for row, s in enumerate(sequences)]

    assert list(zip(batch.states.rows.tolist(), batch.states.columns.tolist(), strict=True)) == states
    assert list(zip(batch.slots.rows.tolist(), batch.slots.columns.tolist(), strict=True)) == slots
    assert list(zip(batch.attempts.rows.tolist(), batch.attempts.columns.tolist(), strict=True)) == attempts


def test_an_episode_without_a_single_choice_still_makes_a_batch(
    policy: LLMPolicy, rollout: Rollout, sequences: list[JudgedTrace]
) -> None:
    sequences[0].trace.decisions.clear()

    batch = to_batch(policy, sequences[:1])

    assert batch.allowed.shape == (0, 1)
    assert len(batch.states.rows) == len(rollout.episodes[0])
