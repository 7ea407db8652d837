"""Forms of a turn, fed with text: where it ends, which action it holds."""

from collections.abc import Iterable
from typing import Any

import pytest

from mise_gym.train.forms import CommandForm, Form, FreeForm, ThoughtfulCommandForm
from mise_gym.train.text import EpisodeText
from mise_gym.train.trace import Writing

COMMANDS = ("take red apple", "take red apricot", "wait")


@pytest.fixture(scope="module")
def text(tokenizer: Any) -> EpisodeText:
    return EpisodeText(tokenizer, thinking=True)


def write(form: Form, tokens: Iterable[int]) -> tuple[Writing, list[int]]:
    """Write tokens as long as the form takes any, and what it forces; return what was written and the tokens left over."""
    left = list(tokens)
    while (allowed := form.allowed()) is None or allowed:
        is_forced = allowed is not None and len(allowed) == 1
        form.take(left.pop(0) if left and not (is_forced and left[0] not in allowed) else allowed[0])
    return form.writing(), left


def free(text: EpisodeText, written: str, *, thinking: bool, max_tokens: int = 200) -> tuple[Writing, str]:
    writing, left = write(FreeForm(text, max_tokens, thinking=thinking), text.encode(written))
    return writing, text.decode(left)


@pytest.mark.parametrize(
    ("written", "action", "rest"),
    [
        (" take red apple\n take it", "take red apple", " take it"),
        (" **wait**\n", "wait", ""),
        ("\n wait\n", "", " wait\n"),
    ],
)
def test_free_text_ends_with_its_line(text: EpisodeText, written: str, action: str, rest: str) -> None:
    writing, left = free(text, written, thinking=False)

    assert (writing.action, left) == (action, rest)
    assert writing.is_malformed == (action == "")


@pytest.mark.parametrize(
    ("written", "action"),
    [
        (" I am hungry.\nThe apple is red.\nAction: take red apple\n", "take red apple"),
        (" Action: wait\n", "wait"),
        ("<think>Action: not\nthis</think><action>take red apple</action>", "take red apple"),
        ("<think>hm</think>\n**Action:** wait\n", "wait"),
    ],
)
def test_a_thought_ends_with_the_command_behind_it(text: EpisodeText, written: str, action: str) -> None:
    writing, left = free(text, written + " Observation: you win", thinking=True)

    assert (writing.action, left) == (action, " Observation: you win")
    assert writing.text == written.strip()
    assert not writing.is_malformed


def test_text_is_closed_with_one_line_break(text: EpisodeText) -> None:
    for written in ("<action>wait</action>", "Action: wait\n"):
        writing, _ = free(text, written, thinking=True)
        assert text.decode(writing.ids) == written.rstrip("\n") + "\n"


def test_the_end_sign_of_the_model_ends_free_text_like_a_line_break(text: EpisodeText) -> None:
    end_id = text.tokenizer.eos_token_id
    writing, left = write(FreeForm(text, 200, thinking=False), [*text.encode(" wait"), end_id, 7])

    assert (writing.action, writing.is_malformed, left) == ("wait", False, [7])
    assert text.decode(writing.ids).endswith("\n")


def test_half_a_command_is_not_sent(text: EpisodeText) -> None:
    tokens = len(text.encode(" take red"))

    writing, left = free(text, " take red apple\n", thinking=False, max_tokens=tokens)

    assert (writing.action, writing.text, writing.is_malformed, left) == ("", "take red", True, " apple\n")


def test_a_thought_without_a_command_runs_to_its_limit(text: EpisodeText) -> None:
    writing, _ = free(text, " the label is long.\n" * 50, thinking=True, max_tokens=20)

    assert (writing.action, writing.is_malformed) == ("", True)


@pytest.mark.parametrize("label", [" I am hungry.\nAction:", " Action:", "\n**Action:"])
def test_behind_the_label_only_commands_are_possible(text: EpisodeText, label: str) -> None:
    form = ThoughtfulCommandForm(text, COMMANDS, 200)

    writing, left = write(form, text.encode(label) + text.encode(" take red apricot\n"))

    assert not left
    assert (writing.action, writing.text, writing.is_malformed) == (
        "take red apricot",
        f"{label.strip()} take red apricot",
        False,
    )


def test_a_thought_that_ends_without_the_label_is_led_to_it(text: EpisodeText) -> None:
    form = ThoughtfulCommandForm(text, ("wait",), max_tokens=5)

    writing, _ = write(form, text.encode(" the label is long" * 9))

    assert (writing.action, writing.is_malformed) == ("wait", True)
    assert writing.text.endswith("\nAction: wait")


def test_a_single_command_is_forced_from_its_first_token(text: EpisodeText) -> None:
    writing, left = write(CommandForm(text, ["take red apple"]), [])

    assert (writing.action, writing.text, left) == ("take red apple", "take red apple", [])
    assert not writing.is_malformed
