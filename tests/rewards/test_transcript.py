"""How an episode is written into a prompt."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mise_gym.rewards.judges.transcript import MOST_CHARACTERS, outcome, quoted, windows
from mise_gym.types import Episode, Transition


def episode(num_turns, action="go", observation="a room", **facts):
    turns = tuple(
        Transition(observation=f"before {turn}", action=f"{action} {turn}", reward=0.0, next_observation=observation)
        for turn in range(1, num_turns + 1)
    )
    ending = {"progress": 0.5, "success": False, "terminated": True, "truncated": False} | facts
    return Episode(task="", transitions=turns, **ending)


def turns_of(window):
    return [json.loads(line)["turn"] for line in window.lines]


@given(st.text(max_size=500 // 12))  # an emoji takes twelve characters, and 500 are shown of an action
def test_json_reads_quoted_text_back_unchanged(text):
    assert json.loads(quoted(text, "action")) == text


@given(st.text(alphabet=st.characters(), max_size=50))
def test_quoted_text_is_one_line_of_harmless_ascii(text):
    inside = quoted(text, "action")[1:-1]
    assert inside.isascii()
    assert inside.isprintable()
    assert not set(inside) & set("<>`")
    assert '"' not in inside.replace("\\\\", "").replace('\\"', "")


@pytest.mark.parametrize("marker", ["[INST]", "[/INST]", "[TOOL_CALLS]"])
def test_bracketed_role_markers_are_escaped_and_other_brackets_stay(marker):
    assert marker not in quoted(f"{marker} search[red shoes]", "action")
    assert "search[red shoes]" in quoted(f"{marker} search[red shoes]", "action")


def test_a_flood_shows_its_beginning_and_its_end_and_says_how_much_is_left_out():
    (window,) = windows(episode(1, observation="x" * 50_000 + "y" * 50_000), 40, 10**6)
    line = json.loads(window.lines[0])
    limit = MOST_CHARACTERS["observation"]
    assert line["characters_left_out"] == 100_000 - limit
    assert line["observation"] == "x" * (limit // 2) + " ... " + "y" * (limit // 2)


@pytest.mark.parametrize("text", ["x" * 9000, '"' * 9000, "\x00" * 9000, "💯" * 9000, "<" * 1999])
@pytest.mark.parametrize("kind", MOST_CHARACTERS)
def test_a_quoted_text_is_never_much_longer_than_allowed(text, kind):
    line = quoted(text, kind)
    assert MOST_CHARACTERS[kind] * 0.4 < len(line) < MOST_CHARACTERS[kind] + 10
    assert json.loads(line)[0] == text[0]


def test_a_short_turn_leaves_nothing_out():
    (window,) = windows(episode(1), 40, 10**6)
    assert json.loads(window.lines[0]) == {"turn": 1, "action": "go 1", "observation": "a room"}


@pytest.mark.parametrize("num_turns", [0, 1, 7, 8, 9, 30])
def test_every_turn_is_in_exactly_one_window(num_turns):
    cut = list(windows(episode(num_turns), 8, 10**6))
    assert [turn for window in cut for turn in turns_of(window)] == list(range(1, num_turns + 1))
    assert all(window.last - window.first < 8 for window in cut)
    assert [(window.first, window.last) for window in cut] == [(turns_of(each)[0], turns_of(each)[-1]) for each in cut]


def test_a_window_keeps_its_characters_too():
    cut = list(windows(episode(20, observation="o" * 300), 40, 1000))
    assert [turn for window in cut for turn in turns_of(window)] == list(range(1, 21))
    assert all(sum(map(len, window.lines)) <= 1000 for window in cut)


def test_a_turn_that_is_longer_than_a_window_gets_one():
    assert [turns_of(window) for window in windows(episode(2, observation="o" * 300), 40, 100)] == [[1], [2]]


def test_a_window_begins_with_what_the_agent_saw_before_it():
    second = list(windows(episode(4), 2, 10**6))[1]
    assert json.loads(second.text.splitlines()[0]) == {"before_turn": 3, "observation": "before 3"}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"success": True, "progress": 1.0}, "success, the task was fulfilled."),
        ({}, "no success, the environment ended the episode; progress 0.50 of 1."),
        ({"terminated": False, "truncated": True}, "no success, the limit of turns was reached; progress 0.50 of 1."),
        ({"terminated": False}, "not known yet, the episode goes on; progress so far 0.50 of 1."),
    ],
)
def test_the_outcome_is_told_in_words(facts, words):
    assert outcome(episode(1, **facts)) == words
