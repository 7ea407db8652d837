"""The strict reading of answers: what is a score, and all that is none."""

import json
import math

import pytest

from mise_gym.llm.chat import ChatReply, TokenChoice
from mise_gym.rewards.judges.answers import DigitsAnswer, ScoresAnswer, UnparsableAnswerError

GOOD = '{"turns": [{"turn": 3, "score": 0.25}, {"turn": 4, "score": 1}]}'


def read(text, **reply):
    return ScoresAnswer(reasons=False).read(ChatReply(text=text, **reply), 3, 4)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\n",
        f"<think>Perhaps 8/10, or {{}}.</think>\n{GOOD}",
        f"The template opened the thought. </think> ```json\n{GOOD}\n```",
    ],
)
def test_one_object_is_read_also_in_a_fence_and_after_reasoning(text):
    assert read(text).scores == (0.25, 1.0)


BAD = {
    "nothing": ("", "not one JSON object"),
    "a number": ("0.8", "not an object"),
    "eight of ten": ("8/10", "not one JSON object"),
    "prose before": (f"Here: {GOOD}", "not one JSON object"),
    "prose after": (f"{GOOD} Done.", "not one JSON object"),
    "prose around a fence": (f"Here:\n```json\n{GOOD}\n```", "not one JSON object"),
    "two objects": (f"{GOOD}\n{GOOD}", "not one JSON object"),
    "two fences": (f"```\n{GOOD}\n```\n```\n{GOOD}\n```", "not one JSON object"),
    "unfinished reasoning": (f"<think> {GOOD}", "not one JSON object"),
    "half an object": (GOOD[:-5], "not one JSON object"),
    "a list": (f"[{GOOD}]", "not an object"),
    "deep nesting": ("[" * 100_000, "not one JSON object"),
    "another key": ('{"scores": [0.25, 1]}', 'one key, "turns"'),
    "a key too many": (GOOD[:-1] + ', "total": 1}', 'one key, "turns"'),
    "a key twice": (GOOD[:-1] + ', "turns": []}', "twice"),
    "bare numbers": ('{"turns": [0.25, 1]}', "Every entry must be an object"),
    "an entry too few": ('{"turns": [{"turn": 3, "score": 0.25}]}', "turns 3 to 4"),
    "an entry too many": (GOOD[:-2] + ', {"turn": 5, "score": 1}]}', "turns 3 to 4"),
    "other turns": (GOOD.replace("3", "1"), "turns 3 to 4"),
    "the same turn twice": (GOOD.replace("4", "3"), "turns 3 to 4"),
    "another order": ('{"turns": [{"turn": 4, "score": 1}, {"turn": 3, "score": 0}]}', "in order"),
    "turns as text": (GOOD.replace("3", '"3"'), "turns 3 to 4"),
    "turns with a point": (GOOD.replace('"turn": 3', '"turn": 3.0'), "turns 3 to 4"),
    "no score": (GOOD.replace(', "score": 1', ""), "with the keys score, turn"),
    "a reason not asked for": (GOOD.replace('"turn": 3', '"turn": 3, "reason": ""'), "with the keys score, turn"),
    "too high": (GOOD.replace("0.25", "1.0001"), "1.0001, not a number from 0 to 1"),
    "too low": (GOOD.replace("0.25", "-0.1"), "-0.1, not a number from 0 to 1"),
    "percent": (GOOD.replace("0.25", "25"), "25, not a number from 0 to 1"),
    "a score as text": (GOOD.replace("0.25", '"0.25"'), "'0.25', not a number"),
    "a fraction as text": (GOOD.replace("0.25", '"8/10"'), "'8/10', not a number"),
    "true": (GOOD.replace("0.25", "true"), "True, not a number"),
    "null": (GOOD.replace("0.25", "null"), "None, not a number"),
    "NaN": (GOOD.replace("0.25", "NaN"), "NaN is not a number in JSON"),
    "infinity": (GOOD.replace("0.25", "-Infinity"), "-Infinity is not a number in JSON"),
    "overflow": (GOOD.replace("0.25", "1e999"), "inf, not a number from 0 to 1"),
    "a huge integer": (GOOD.replace("0.25", "9" * 400), "not a number from 0 to 1"),
}


@pytest.mark.parametrize(("text", "complaint"), BAD.values(), ids=BAD)
def test_anything_else_is_no_score(text, complaint):
    with pytest.raises(UnparsableAnswerError, match=complaint):
        read(text)


def test_an_answer_that_was_cut_is_no_answer_even_if_it_looks_whole():
    with pytest.raises(UnparsableAnswerError, match="token limit"):
        read(GOOD, was_cut=True)


def test_reasons_are_read_when_they_were_asked_for():
    text = '{"turns": [{"turn": 1, "reason": "It \\"opened\\" the door.", "score": 1}]}'
    verdict = ScoresAnswer(reasons=True).read(ChatReply(text=text), 1, 1)
    assert (verdict.scores, verdict.reasons) == ((1.0,), ('It "opened" the door.',))


def test_a_reason_that_is_no_text_is_refused():
    with pytest.raises(UnparsableAnswerError, match='"reason" of turn 1'):
        ScoresAnswer(reasons=True).read(ChatReply(text='{"turns": [{"turn": 1, "reason": 7, "score": 1}]}'), 1, 1)


@pytest.mark.parametrize("answer", [ScoresAnswer(False), ScoresAnswer(True), DigitsAnswer(False)])
def test_the_example_in_the_instruction_has_the_shape_of_the_schema(answer):
    example = json.loads(answer.instruction(3, 5).splitlines()[-1])
    schema = answer.schema(3, 5)["properties"]["turns"]
    assert example["turns"][0].keys() == set(schema["items"]["required"])
    assert (schema["minItems"], schema["maxItems"]) == (3, 3)


def tokens(*parts):
    """Each part is the text of a token, or a tuple of it and probabilities of alternatives."""
    choices = []
    for part in parts:
        text, alternatives = part if isinstance(part, tuple) else (part, {part: 1.0})
        choices.append(
            TokenChoice(token=text, alternatives={key: math.log(probability) for key, probability in alternatives.items()})
        )
    return ChatReply(text="".join(choice.token for choice in choices), tokens=tuple(choices))


def digits(*parts, last=1, reasons=False):
    return DigitsAnswer(reasons).read(tokens(*parts), 1, last).scores


HEAD = '{"turns": [{"turn": 1, "score": '


def test_the_score_is_the_expectation_over_the_digits():
    wavering = ("4", {"4": 0.5, "5": 0.3, "9": 0.2})
    assert digits(HEAD, wavering, "}]}") == pytest.approx([(0.5 * 4 + 0.3 * 5 + 0.2 * 9) / 9])


def test_what_is_no_digit_is_left_out_of_the_expectation():
    assert digits(HEAD, ("9", {"9": 0.6, '"': 0.3, "10": 0.1}), "}]}") == pytest.approx([1.0])


def test_a_token_may_hold_more_than_the_digit():
    assert digits(HEAD[:-1], (" 3}", {" 3}": 0.5, " 6}": 0.5, "6": 0.5}), "]}") == pytest.approx([0.5])


def test_every_turn_is_read_at_its_own_token():
    parts = [HEAD, ("0", {"0": 1.0}), '}, {"turn": 2, "score": ', ("9", {"9": 0.75, "0": 0.25}), "}]}"]
    assert digits(*parts, last=2) == pytest.approx([0.0, 0.75])


def test_digits_in_reasoning_and_in_reasons_are_not_read():
    head = '"score": 1</think>{"turns": [{"turn": 1, "reason": "a \\"score\\": 2", "score": '
    assert digits(head, ("9", {"9": 1.0}), "}]}", reasons=True) == (1.0,)


def test_an_end_marker_after_the_answer_is_allowed():
    reply = tokens(HEAD, "9", "}]}", "<|im_end|>")
    reply = ChatReply(text=reply.text.removesuffix("<|im_end|>"), tokens=reply.tokens)
    assert DigitsAnswer(False).read(reply, 1, 1).scores == (1.0,)


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ((HEAD, "0.5", "}]}"), "0.5, not a digit"),
        ((HEAD, "10", "}]}"), "10, not a digit"),
        ((HEAD, ("7", {"7": 0.3, "8": 0.1}), "}]}"), "probability of 0.40 only"),
        ((HEAD.replace("score", "\\u0073core"), "7", "}]}"), "plainly"),
    ],
)
def test_other_digits_are_no_scores(parts, complaint):
    with pytest.raises(UnparsableAnswerError, match=complaint):
        digits(*parts)


def test_without_probabilities_there_are_no_scores():
    with pytest.raises(UnparsableAnswerError, match="no token probabilities"):
        DigitsAnswer(False).read(ChatReply(text=HEAD + "7}]}"), 1, 1)
