"""Everything a policy may write in a turn, and that the learner computes the same probabilities as the writer."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mise_gym.envs.wrappers.action_parser import parse_action
from mise_gym.errors import ConfigError
from mise_gym.rewards.base import RewardBreakdown
from mise_gym.train.batch import to_batch, with_hindsight
from mise_gym.train.decoding import TurnDecoder
from mise_gym.train.forms import Forms
from mise_gym.train.frame import WHOLE_ATTEMPT
from mise_gym.train.metrics import rollout_metrics
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.reading import read_logprobs
from mise_gym.train.rescoring import rescored
from mise_gym.train.rollout import Rollout, collect
from mise_gym.train.text import RESULT_TOKENS, WRITTEN
from mise_gym.train.trace import Writing
from mise_gym.trajectories import read_episodes, write_episodes
from tests.train.pantry import OpenPantry
from tests.train.speller import Speller, make_speller, play_by
from tests.train.test_ppo import expect_nothing, pay

KINDS = {
    "constrained": Forms("constrained"),
    "constrained, thinking": Forms("constrained", thinking=True, max_action_tokens=24),
    "free": Forms("free", max_action_tokens=12),
    "free, thinking": Forms("free", thinking=True, max_action_tokens=24),
}
FREE, THINKING, LED = KINDS["free"], KINDS["free, thinking"], KINDS["constrained, thinking"]


@pytest.fixture(scope="module")
def speller(tokenizer: Any) -> Speller:
    policies = {thinking: make_speller(tokenizer, thinking=thinking) for thinking in (False, True)}
    return lambda thinking: copy.deepcopy(policies[thinking])


@pytest.fixture(params=KINDS)
def forms(request: pytest.FixtureRequest) -> Forms:
    return KINDS[request.param]


@pytest.fixture
def played(forms: Forms, speller: Speller) -> tuple[LLMPolicy, Rollout]:
    policy = speller(forms.thinking)
    return policy, play_by(forms, policy)


def writings(rollout: Rollout) -> list[Writing]:
    return [writing for trace in rollout.traces for writing in trace.writings]


def pay_every_other(rollout: Rollout) -> list[RewardBreakdown]:
    return pay(*([float(row % 2)] * len(episode) for row, episode in enumerate(rollout.episodes)))


def preference(policy: LLMPolicy, rollout: Rollout) -> float:
    """Return by how much likelier the tokens of the episodes that were paid are than those of the others."""
    parts = (Rollout(rollout.episodes[first::2], rollout.traces[first::2]) for first in (1, 0))
    paid, unpaid = (learner_logprobs(policy, part)[0].mean().item() for part in parts)
    return paid - unpaid


def learner_logprobs(policy: LLMPolicy, rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
    sequences = [with_hindsight(policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)]
    batch = to_batch(policy, sequences)
    with torch.no_grad():
        return read_logprobs(policy, batch), batch.old_logprobs


def test_the_world_exercises_turns_of_different_lengths_and_rows_that_finish_early(played: tuple[LLMPolicy, Rollout]) -> None:
    _, rollout = played

    assert len({len(episode) for episode in rollout.episodes}) > 1
    assert len({len(writing.ids) for writing in writings(rollout)}) > 1


def test_the_learner_reads_the_logprobs_that_were_written_down(played: tuple[LLMPolicy, Rollout]) -> None:
    now, then = learner_logprobs(*played)

    assert len(then) > 20
    assert torch.allclose(now, then, atol=1e-4)


def test_the_tokens_of_an_episode_are_what_was_seen_and_written(played: tuple[LLMPolicy, Rollout]) -> None:
    policy, rollout = played

    for episode, trace in zip(rollout.episodes, rollout.traces, strict=True):
        ids = policy.text.opening(episode.task, episode.transitions[0].observation)
        for turn, writing, value in zip(episode.transitions, trace.writings, trace.value_positions, strict=True):
            assert value == len(ids) - 1
            ids += writing.ids + policy.text.observation(turn.next_observation)
        assert trace.ids == ids


def test_every_chosen_token_stands_in_the_episode_where_its_decision_says(played: tuple[LLMPolicy, Rollout]) -> None:
    for trace in played[1].traces:
        for decision in trace.decisions:
            chosen = decision.choice if decision.allowed is None else decision.allowed[decision.choice]
            assert trace.ids[decision.position] == chosen


def test_a_judge_that_only_has_the_episode_reads_the_tokens_that_were_written(
    played: tuple[LLMPolicy, Rollout], tmp_path: Path
) -> None:
    policy, rollout = played
    write_episodes(tmp_path / "played.jsonl", rollout.episodes)

    for episode, trace in zip(read_episodes(tmp_path / "played.jsonl"), rollout.traces, strict=True):
        judged = with_hindsight(policy, episode, trace)
        assert policy.with_hindsight(episode) == (judged.ids, judged.slots)


def test_an_update_from_it_prefers_what_paid(played: tuple[LLMPolicy, Rollout]) -> None:
    policy, rollout = played
    config = PPOConfig(num_epochs=2, minibatch_episodes=100, learning_rate=2e-3, kl_coef=0, ent_coef=0, vf_coef=0, target_kl=9)
    expect_nothing(policy)
    before = preference(policy, rollout)

    reference = copy.deepcopy(policy).requires_grad_(False)
    losses = PPOLearner(policy, reference, config, judge="measured").update(
        rollout, pay_every_other(rollout), np.random.default_rng(0)
    )

    assert all(np.isfinite(value) for value in losses.values())
    assert losses["train/entropy"] > 0
    assert preference(policy, rollout) > before + 0.01


def test_greedy_play_together_and_alone_writes_the_same(forms: Forms, speller: Speller) -> None:
    policy = speller(forms.thinking)
    together, alone = (play_by(forms, policy, 6, num_envs=count, temperature=0.0) for count in (6, 1))

    assert [trace.ids for trace in together.traces] == [trace.ids for trace in alone.traces]


def test_temperature_zero_takes_the_likeliest_token_of_all(speller: Speller) -> None:
    policy = speller(False)

    for trace in play_by(FREE, policy, 4, temperature=0.0).traces:
        for decision in trace.decisions:
            with torch.no_grad():
                logits = policy.model(input_ids=torch.tensor([trace.ids[: decision.position]]), use_cache=False).logits[0, -1]
            assert decision.choice == logits.argmax()


def test_free_tokens_follow_the_policys_probabilities(speller: Speller) -> None:
    policy = speller(False)
    opening = policy.text.opening("Take the red apple!", "On the shelf.")
    decoder = TurnDecoder(policy, [opening] * 3000, range(3000), 1.0, Forms("free", max_action_tokens=1))

    decoder.act([()] * 3000)

    decisions = [trace.decisions[0] for trace in decoder.traces]
    probability = {decision.choice: np.exp(decision.logprob) for decision in decisions}
    likeliest = max(probability, key=lambda token: probability[token])
    share = np.mean([decision.choice == likeliest for decision in decisions])
    assert 0.05 < probability[likeliest] < 0.95
    assert share == pytest.approx(probability[likeliest], abs=0.04)


def test_a_free_action_is_the_line_that_was_written_and_needs_no_list_of_commands(speller: Speller) -> None:
    policy = speller(False)
    rollout = play_by(FREE, policy, 24)

    whole = [writing for writing in writings(rollout) if not writing.is_malformed]
    assert len(whole) > 10
    for writing in whole:
        assert policy.text.decode(writing.ids).endswith("\n") or any(map(policy.text.is_end, writing.ids))
        assert (writing.action, "line") == parse_action(writing.text, ("line",))
    assert any(not turn.valid_action for episode in rollout.episodes for turn in episode.transitions)


def test_what_is_cut_off_holds_no_command_and_is_closed_by_a_line_break_that_nobody_chose(speller: Speller) -> None:
    policy = speller(False)
    forms = Forms("free", max_action_tokens=2)
    rollout = play_by(forms, policy, 24)

    cut = [writing for writing in writings(rollout) if len(writing.ids) > 2]
    assert cut
    assert {(writing.action, writing.is_malformed) for writing in cut} == {("", True)}
    assert all(policy.text.decode(writing.ids).endswith("\n") for writing in cut)
    assert max(sum(d.turn == 0 for d in trace.decisions) for trace in rollout.traces) == 2


def test_only_what_the_parser_takes_as_the_action_goes_to_the_environment(speller: Speller) -> None:
    rollout = play_by(THINKING, speller(True), 24)

    for episode, trace in zip(rollout.episodes, rollout.traces, strict=True):
        assert [turn.action for turn in episode.transitions] == [writing.action for writing in trace.writings]
        for writing in trace.writings:
            expected = "" if writing.is_malformed else parse_action(writing.text, ("tag", "react"))[0]
            assert writing.action == expected
    assert {writing.is_malformed for writing in writings(rollout)} == {True, False}


def test_thoughts_before_a_constrained_action_are_free_and_the_action_is_admissible(speller: Speller) -> None:
    policy = speller(True)
    rollout = play_by(LED, policy, 24)

    assert all(turn.valid_action for episode in rollout.episodes for turn in episode.transitions)
    for writing in writings(rollout):
        assert writing.text.endswith(f"Action: {writing.action}")
    kinds = {decision.allowed is None for trace in rollout.traces for decision in trace.decisions}
    assert kinds == {True, False}
    assert {writing.is_malformed for writing in writings(rollout)} == {True, False}


def test_hindsight_questions_are_about_actions_and_what_they_brought_and_not_about_thoughts(speller: Speller) -> None:
    policy = speller(True)
    rollout = play_by(THINKING, policy, 6)

    for episode, trace in zip(rollout.episodes, rollout.traces, strict=True):
        ids = with_hindsight(policy, episode, trace).ids[len(trace.ids) :]
        seen = [" ".join(turn.next_observation.split()) for turn in episode.transitions]
        results = [policy.text.decode(policy.text.encode(f" {observation}")[:RESULT_TOKENS]) for observation in seen]
        turns = [(turn.action, turn.next_observation) for turn in episode.transitions]
        marks = [" again" if what_happened in turns[:number] else "" for number, what_happened in enumerate(turns)]
        asked = "".join(f" {turn[0]} :{result}{mark} :\n" for turn, result, mark in zip(turns, results, marks, strict=True))
        assert policy.text.decode(ids) == f"\nHindsight:\n{asked} {WHOLE_ATTEMPT}"


def test_the_text_is_kept_with_the_episode_where_it_is_more_than_the_action(speller: Speller) -> None:
    rollout = play_by(THINKING, speller(True), 6)

    kept = [(e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True) if WRITTEN in e.extra]
    assert kept
    for episode, trace in kept:
        assert [(turn["text"], turn["ids"], turn["is_malformed"]) for turn in episode.extra[WRITTEN]] == [
            (writing.text, writing.ids, writing.is_malformed) for writing in trace.writings
        ]


def test_nothing_is_kept_twice_where_the_action_is_all_that_was_written(speller: Speller) -> None:
    rollout = play_by(KINDS["constrained"], speller(False))

    assert all(WRITTEN not in episode.extra for episode in rollout.episodes)


def test_malformed_and_invalid_turns_are_counted(speller: Speller) -> None:
    rollout = play_by(FREE, speller(False), 24)
    turns = [turn for episode in rollout.episodes for turn in episode.transitions]

    measured = rollout_metrics(rollout.episodes, pay_every_other(rollout))

    assert measured["rollout/malformed_rate"] == np.mean([writing.is_malformed for writing in writings(rollout)])
    assert measured["rollout/valid_action_rate"] == np.mean([turn.valid_action for turn in turns])
    assert 0 < measured["rollout/malformed_rate"] < 1 - measured["rollout/valid_action_rate"]


def test_constrained_actions_without_a_list_of_commands_are_refused_with_the_way_out(speller: Speller) -> None:
    with pytest.raises(ConfigError, match=r"lists no admissible commands.*--decoding free"):
        collect([OpenPantry(lists_commands=False)], [{}], speller(False), [0])


def test_the_learners_logprobs_can_take_the_place_of_the_writers(played: tuple[LLMPolicy, Rollout]) -> None:
    policy, rollout = played
    wrong = [replace(t, decisions=[replace(d, logprob=-9.0) for d in t.decisions]) for t in rollout.traces]

    mended = rescored(policy, replace(rollout, traces=wrong))

    for trace, expected in zip(mended.traces, rollout.traces, strict=True):
        assert [d.logprob for d in trace.decisions] == pytest.approx([d.logprob for d in expected.decisions], abs=1e-4)
