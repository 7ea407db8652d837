"""TurnPrompt: an episode as tokens, with one question about each of its turns. Agent text is quoted data and stays data."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.types import Episode

_FIELD: Final = re.compile(r"\$(task|turn|action)\b")
_GAP: Final = " ... "
_PLACE: Final = "\u241ftranscript\u241f"
_END_TOKENS: Final = 64
"""More than a line without texts of others takes."""
_CHARACTERS: Final = 16
"""More than a token has, as a rule."""
_PLAIN_ANSWER: Final = "Answer:"
"""What stands before the answer where the tokenizer has no chat template."""


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive turns that fit into the model together."""

    turns: range
    """Numbers of the turns, from 0."""
    ids: list[int]
    """The opening and the turns."""
    ends: list[int]
    """How many of ``ids`` a question needs that looks no further than each turn. Length ``len(turns)``."""


class TurnPrompt:
    """Turns episodes into token ids.

    The text comes from a file with the line ``$transcript``: what stands before it opens the prompt and may hold ``$task``; what
    stands behind it is the question and may hold ``$turn`` and ``$action``. A tokenizer with a chat template gets all of it as
    the message of a user, and the answer of the assistant is asked for.

    Whatever the agent or the environment wrote is written as the inside of a JSON string in which even quotation marks are
    escaped, and is tokenised without special tokens: it cannot end its string, and a "<|im_end|>" in it is twelve characters.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        path: The file.
        max_tokens: Longest prompt that the model reads.
        max_text_tokens: Longer tasks, actions and observations keep their beginning and their end, half each.

    Raises:
        ConfigError: The file cannot be used, or ``max_tokens`` is too small for one turn.
    """

    def __init__(self, tokenizer: Any, path: Path, max_tokens: int, max_text_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.max_text_tokens = max_text_tokens
        self._encode = lru_cache(maxsize=20_000)(self._encode_uncached)
        opening, question = _read_prompt(path)
        self._head, self._tail = self._frame()
        self._opening, self._question = opening, question
        self._check_room()

    def windows(self, episode: Episode) -> list[Window]:
        """Return the turns of an episode in as few windows as fit; more turns never change the earlier windows."""
        turns = episode.transitions
        room = self.max_tokens - self._reserved
        windows: list[Window] = []
        for number, turn in enumerate(turns):
            line = self._line({"turn": number + 1, "action": turn.action, "observation": turn.next_observation})
            if not windows or len(windows[-1].ids) + len(line) > room:
                before = self._line({"turn": number, "observation": turn.observation})
                windows.append(Window(range(number, number), self._start(episode.task) + before, []))
            last = windows[-1]
            last.ids.extend(line)
            last.ends.append(len(last.ids))
            windows[-1] = Window(range(last.turns.start, number + 1), last.ids, last.ends)
        return windows

    def outcome(self, episode: Episode, *, has_ended: bool) -> list[int]:
        """Return the line that says how an episode ended; nothing while it runs."""
        if not has_ended:
            return []
        return list(
            self._encode(json.dumps({"end": {"progress": round(episode.progress, 3), "success": episode.success}}) + "\n")
        )

    def question(self, turn: int, action: str) -> list[int]:
        """Return the question about a turn, counted from 0, up to the place of the answer."""
        return [*self._fill(self._question, {"turn": str(turn + 1), "action": action}), *self._tail]

    def _start(self, task: str) -> list[int]:
        return [*self._head, *self._fill(self._opening, {"task": task})]

    def _fill(self, text: str, fields: dict[str, str]) -> list[int]:
        """Return the ids of a text of ours with quoted texts of others in it."""
        ids: list[int] = []
        for index, part in enumerate(_FIELD.split(text)):
            ids += self._quoted(fields.get(part, "")) if index % 2 else self._encode(part)
        return ids

    def _line(self, record: dict[str, Any]) -> list[int]:
        ids: list[int] = []
        for index, (key, value) in enumerate(record.items()):
            start = "{" if not index else ", "
            if isinstance(value, str):
                ids += [*self._encode(f'{start}"{key}": "'), *self._quoted(value), *self._encode('"')]
            else:
                ids += self._encode(f'{start}"{key}": {value}')
        return [*ids, *self._encode("}\n")]

    def _quoted(self, text: str) -> list[int]:
        """Return the inside of a JSON string that holds no quotation mark, shortened in the middle."""
        inside = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', "\\u0022")
        limit = self.max_text_tokens
        if len(inside) <= 2 * _CHARACTERS * limit:
            head = tail = self._encode(inside)
            if len(head) <= limit:
                return list(head)
        else:  # a flood: tokenise no more of it than can be needed
            head, tail = self._encode(inside[: _CHARACTERS * limit]), self._encode(inside[-_CHARACTERS * limit :])
        return [*head[: limit // 2], *self._encode(_GAP), *tail[max(0, len(tail) - (limit - limit // 2)) :]]

    def _encode_uncached(self, text: str) -> tuple[int, ...]:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates
        return tuple(self.tokenizer.encode(clean, add_special_tokens=False, split_special_tokens=True))

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return what the chat template puts before and behind a user's message."""
        bos = self.tokenizer.bos_token_id
        if not getattr(self.tokenizer, "chat_template", None):
            return ([] if bos is None else [bos]), list(self._encode(_PLAIN_ANSWER))
        message = [{"role": "user", "content": _PLACE}]
        text = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        head, found, tail = text.partition(_PLACE)
        if not found:
            raise ConfigError("The chat template of the model drops the user's message. Repair it, or use another model.")
        ours = (self.tokenizer.encode(part, add_special_tokens=False) if part else [] for part in (head, tail))
        return next(ours), next(ours)

    def _check_room(self) -> None:
        text = self.max_text_tokens + len(self._encode(_GAP))
        self._reserved = len(self.question(9999, "")) + text + _END_TOKENS
        needed = len(self._start("")) + 4 * text + 2 * _END_TOKENS + self._reserved
        if needed > self.max_tokens:
            raise ConfigError(
                f"The judge's prompt needs up to {needed} tokens for one turn and the model reads {self.max_tokens}. "
                f"Lower max_text_tokens (now {self.max_text_tokens}), or use a model that reads more."
            )


def _read_prompt(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the prompt {str(path)!r}: {error}. Give a text file, or leave prompt out.") from error
    parts = text.split("$transcript\n")
    if len(parts) != 2 or not parts[1].strip():
        raise ConfigError(
            f"The prompt {str(path)!r} must hold one line '$transcript' and a question behind it. "
            "Copy the built-in one and change it."
        )
    return parts[0], parts[1]


def labels_of(tokenizer: Any, good: str, bad: str) -> tuple[list[int], list[int]]:
    """Return the first tokens of two words, with and without a capital and a blank before them, less those that they share."""
    first, second = (
        {
            tokenizer.encode(form, add_special_tokens=False)[0]
            for form in (word, word.capitalize(), f" {word}", f" {word.capitalize()}")
        }
        for word in (good, bad)
    )
    return sorted(first - second), sorted(second - first)
