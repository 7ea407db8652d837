"""How an episode becomes tokens, and where the hindsight questions stand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mise_gym.errors import ConfigError
from mise_gym.train.model import train_tokenizer
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout
from mise_gym.train.text import RESULT_TOKENS, EpisodeText
from mise_gym.types import Transition


@pytest.fixture(scope="module")
def text(tokenizer: Any) -> EpisodeText:
    return EpisodeText(tokenizer, max_observation_tokens=12)


@given(action=st.text().map(str.strip))
@settings(max_examples=50, deadline=None, database=None)
def test_every_action_comes_back_from_its_tokens(tokenizer: Any, action: str) -> None:
    text = EpisodeText(tokenizer)

    assert text.decode(text.action(action)).strip() == action


def test_punctuation_in_an_action_is_left_as_it_is(text: EpisodeText) -> None:
    action = "take the chef 's knife , then don 't drop it ."

    assert text.decode(text.action(action)).strip() == action


def test_every_action_ends_with_the_same_token(text: EpisodeText) -> None:
    assert text.action("take red apple")[-1] == text.action("wait")[-1] == text.encode("\n")[0]


def test_the_goal_comes_before_the_first_observation(tokenizer: Any) -> None:
    text = EpisodeText(tokenizer)
    opening = text.opening("Eat.", "A room.")

    assert opening[0] == text.tokenizer.bos_token_id
    assert text.tokenizer.decode(opening[1:]) == " Eat. A room.\n>"


def test_a_goal_that_the_observation_says_is_not_repeated(text: EpisodeText) -> None:
    assert text.opening("Eat now.", "Hi! Eat\n now.") == text.opening("", "Hi! Eat now.")


def test_a_long_observation_keeps_both_its_ends(text: EpisodeText) -> None:
    ids = text.encode(" " + "abcdefghij" * 10)

    assert text.observation("abcdefghij" * 10) == [*ids[:6], *ids[-6:], *text.encode("\n>")]


def test_an_observation_of_the_greatest_length_is_kept_whole(text: EpisodeText) -> None:
    assert text.tokenizer.decode(text.observation("q" * 11)) == " " + "q" * 11 + "\n>"


def test_a_tokenizer_that_cannot_tell_good_from_bad_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not tell ' good' from ' bad' by their first tokens"):
        EpisodeText(train_tokenizer(["x"], vocab_size=259))  # bytes only, so both begin with the blank


def turn(action: str, answer: str) -> Transition:
    return Transition(observation="o", action=action, reward=0.0, next_observation=answer)


def test_a_slot_stands_behind_each_action_with_what_came_back_and_behind_the_whole_attempt(text: EpisodeText) -> None:
    hindsight = text.hindsight([turn("take red apple", "Taken.\n\nWell done."), turn("wait", "Time passes.")])

    ends = [text.tokenizer.decode(hindsight.ids[: slot + 1]) for slot in hindsight.slots]
    assert ends == [
        "\nHindsight:\n take red apple : Taken. Well done. :",
        "\nHindsight:\n take red apple : Taken. Well done. :\n wait : Time passes. :",
        "\nHindsight:\n take red apple : Taken. Well done. :\n wait : Time passes. :\n the whole attempt was",
    ]


def test_what_had_happened_before_is_marked_and_another_answer_to_the_same_is_not(text: EpisodeText) -> None:
    turns = [turn("wait", "Time passes."), turn("wait", "It rains."), turn("look", "It rains."), turn("wait", "Time passes.")]

    hindsight = text.hindsight(turns)

    lines = text.tokenizer.decode(hindsight.ids).splitlines()[2:6]
    assert lines == [" wait : Time passes. :", " wait : It rains. :", " look : It rains. :", " wait : Time passes. again :"]
    assert {hindsight.ids[slot] for slot in hindsight.slots[:-1]} == {text.encode(" :")[-1]}


def test_a_slot_repeats_the_beginning_of_a_long_answer_only(text: EpisodeText) -> None:
    hindsight = text.hindsight([turn("wait", "abcdefghij" * 100)])

    begun = text.tokenizer.decode(text.encode(" " + "abcdefghij" * 100)[:RESULT_TOKENS])
    assert text.tokenizer.decode(hindsight.ids[: hindsight.slots[0] + 1]) == f"\nHindsight:\n wait :{begun} :"


def test_an_episode_reads_the_same_as_what_was_generated(policy: LLMPolicy, rollout: Rollout) -> None:
    for episode, trace in zip(rollout.episodes, rollout.traces, strict=True):
        questions = policy.text.hindsight(episode.transitions)

        ids, slots = policy.with_hindsight(episode)

        assert ids == trace.ids + questions.ids
        assert slots == [len(trace.ids) + slot for slot in questions.slots]
