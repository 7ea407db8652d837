"""What a judge is told to answer, and the strict reading of its answer; nothing is repaired."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mise_gym.llm.chat import ChatReply, TokenChoice

_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*)\n```", re.DOTALL)
_END_OF_REASONING: Final = "</think>"
_DIGITS: Final = "0123456789"
_DIGIT_OF_A_TURN: Final = re.compile(r'"score"\s*:\s*([0-9])')
_LEAST_MASS: Final = 0.5


class UnparsableAnswerError(ValueError):
    """An answer does not keep its format; the message is fit to be told to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an answer says of the turns of one window."""

    scores: tuple[float, ...]
    """One score in [0, 1] per turn."""
    reasons: tuple[str, ...] = ()
    """Why, one sentence per turn; empty when they were not asked for."""


class ScoresAnswer:
    """One score in [0, 1] per turn, as JSON with the number of each turn echoed.

    Args:
        reasons: Whether a sentence is asked for before each score.
    """

    parameters: Mapping[str, Any] = {}
    """Request parameters that the format needs."""
    _scale = "numbers from 0 to 1"
    _example = "0.5"
    _score_schema: Mapping[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}

    def __init__(self, reasons: bool) -> None:
        self._reasons = reasons

    def instruction(self, first: int, last: int) -> str:
        """Return what the model is told to answer about the turns ``first`` to ``last``."""
        reason = '"reason": "one short sentence", ' if self._reasons else ""
        return (
            f"Scores are {self._scale}. Answer with one JSON object and nothing else, "
            f"with one entry for each of the turns {first} to {last}, in this order:\n"
            f'{{"turns": [{{"turn": {first}, {reason}"score": {self._example}}}]}}'
        )

    def schema(self, first: int, last: int) -> dict[str, Any]:
        """Return the JSON schema of the answer."""
        reason = {"reason": {"type": "string"}} if self._reasons else {}
        entry = _object({"turn": {"type": "integer"}, **reason, "score": self._score_schema})
        num_turns = last - first + 1
        return _object({"turns": {"type": "array", "items": entry, "minItems": num_turns, "maxItems": num_turns}})

    def expected_tokens(self, num_turns: int) -> int:
        """Return about how long an answer is."""
        return 8 + num_turns * (14 + 25 * self._reasons)

    def read(self, reply: ChatReply, first: int, last: int) -> Verdict:
        """Read an answer about the turns ``first`` to ``last``.

        Raises:
            UnparsableAnswerError: It does not keep the format.
        """
        entries = _entries(reply, first, last, self._reasons)
        reasons = tuple(_reason(entry) for entry in entries) if self._reasons else ()
        return Verdict(scores=self._scores(entries, reply), reasons=reasons)

    def _scores(self, entries: Sequence[Mapping[str, Any]], reply: ChatReply) -> tuple[float, ...]:  # noqa: ARG002
        return tuple(_score(entry) for entry in entries)


class DigitsAnswer(ScoresAnswer):
    """One digit per turn, read as the expectation over the probabilities that the model gave to all ten digits."""

    parameters = {"logprobs": True, "top_logprobs": 20}  # noqa: RUF012  # never changed
    _scale = "digits from 0 to 9"
    _example = "5"
    _score_schema = {"type": "integer", "minimum": 0, "maximum": 9}  # noqa: RUF012  # never changed

    def _scores(self, entries: Sequence[Mapping[str, Any]], reply: ChatReply) -> tuple[float, ...]:
        for entry in entries:
            if type(entry["score"]) is not int or not 0 <= entry["score"] <= 9:
                raise UnparsableAnswerError(f'The "score" of turn {entry["turn"]} is {entry["score"]!r:.50}, not a digit.')
        places = [match.start(1) for match in _DIGIT_OF_A_TURN.finditer(reply.text)][-len(entries) :]
        if len(places) != len(entries):
            raise UnparsableAnswerError('The key "score" must be written plainly.')
        return tuple(_expectation(reply, place) for place in places)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _entries(reply: ChatReply, first: int, last: int, reasons: bool) -> Sequence[Mapping[str, Any]]:
    """Return the entries of the turns ``first`` to ``last``, whose keys and numbers are as they must be."""
    if reply.was_cut:
        raise UnparsableAnswerError("The answer was longer than the token limit.")
    answer = _only_object(reply.text)
    entries = answer.get("turns")
    if answer.keys() != {"turns"} or not isinstance(entries, list):
        raise UnparsableAnswerError('The object must have one key, "turns", that holds a list.')
    keys = {"turn", "score"} | ({"reason"} if reasons else set())
    if not all(isinstance(entry, dict) and entry.keys() == keys for entry in entries):
        raise UnparsableAnswerError(f"Every entry must be an object with the keys {', '.join(sorted(keys))}.")
    numbers = [entry["turn"] for entry in entries]
    if numbers != list(range(first, last + 1)) or not all(type(number) is int for number in numbers):
        raise UnparsableAnswerError(
            f"The entries must be of the turns {first} to {last}, in order; they are of {numbers!r:.100}."
        )
    return entries


def _only_object(text: str) -> dict[str, Any]:
    """Return the JSON object that an answer consists of, after any reasoning and inside a code fence or not."""
    _, _, text = text.rpartition(_END_OF_REASONING)
    fenced = _FENCE.fullmatch(text.strip())
    try:
        answer = json.loads(fenced[1] if fenced else text, parse_constant=_refuse, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise UnparsableAnswerError(f"The answer is not one JSON object and nothing else: {error}.") from error
    if not isinstance(answer, dict):
        raise UnparsableAnswerError(f"The answer is JSON, but not an object: {answer!r:.50}.")
    return answer


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError(f"a key is there twice among {[key for key, _ in pairs]!r:.100}")
    return record


def _score(entry: Mapping[str, Any]) -> float:
    score = entry["score"]
    if type(score) not in (int, float) or not 0 <= score <= 1:  # false for NaN and infinities too
        raise UnparsableAnswerError(f'The "score" of turn {entry["turn"]} is {score!r:.50}, not a number from 0 to 1.')
    return float(score)


def _reason(entry: Mapping[str, Any]) -> str:
    if not isinstance(entry["reason"], str):
        raise UnparsableAnswerError(f'The "reason" of turn {entry["turn"]} is not a string.')
    return entry["reason"]


def _expectation(reply: ChatReply, place: int) -> float:
    """Return the expected digit at a place of the answer, divided by 9."""
    token, offset = _token_at(reply, place)
    masses = [0.0] * 10
    for alternative, log_probability in token.alternatives.items():
        digit = _digit_instead(token.token, alternative, offset)
        if digit is not None:
            masses[digit] += math.exp(log_probability)
    total = sum(masses)
    if total < _LEAST_MASS:
        raise UnparsableAnswerError(f"The ten digits together have a probability of {total:.2f} only at a score.")
    return sum(digit * mass for digit, mass in enumerate(masses)) / (9 * total)


def _token_at(reply: ChatReply, place: int) -> tuple[TokenChoice, int]:
    """Return the token that covers a character of the answer, and where in the token that character is."""
    if not "".join(token.token for token in reply.tokens).startswith(reply.text):  # perhaps an end marker follows
        raise UnparsableAnswerError("The server gave no token probabilities, or they do not spell the answer.")
    for token in reply.tokens:
        if place < len(token.token):
            return token, place
        place -= len(token.token)
    raise UnparsableAnswerError("The answer has no token for a score.")


def _digit_instead(token: str, alternative: str, offset: int) -> int | None:
    """Return the digit that an alternative has where the token has its own, if they differ in nothing else."""
    is_alike = len(alternative) > offset and alternative[:offset] == token[:offset]
    is_alike = is_alike and alternative[offset + 1 :] == token[offset + 1 :]
    return int(alternative[offset]) if is_alike and alternative[offset] in _DIGITS else None
