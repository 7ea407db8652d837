"""What stands around the texts of an episode: a few signs of our own, or the marks of a model's chat template.

A chat template is rendered when the text of a policy is set up, around messages that are placeholders, and taken apart into the
pieces between them. Episodes are put together from the pieces; nothing is rendered again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from mise_gym.errors import ConfigError

ChatTemplate = Literal["auto", "none"]

HINDSIGHT_HEADING: Final = "\nHindsight:\n"
THINKING_INSTRUCTION: Final = (
    "Before each command think in a few words. Then write it on a line of its own, like this: Action: look"
)
COMMAND_INSTRUCTION: Final = "Answer each message with the next command, and with nothing else."
"""Opens a conversation without thoughts; plain text has no instruction, as the warm start shows what to do."""
WHOLE_ATTEMPT: Final = "the whole attempt was"
"""Ends in a word and not, as the lines of the turns, in a colon: a small model tells the two kinds of question apart by it."""
AGAIN: Final = "again"
"""Marks a turn in the hindsight questions that did what an earlier turn had done, and got the same answer."""
HINDSIGHT_QUESTION: Final = (
    "\n\nThe attempt is over. Looking back, was each action good or bad? Answer with a line for each, which "
    "repeats the action and the beginning of what came back, like this: look : A dark room. : good\n"
    f"A line about what had happened before in the same way says so: look : A dark room. {AGAIN} :\n"
    f"Then say in a last line whether the task was done, like this: {WHOLE_ATTEMPT} good"
)

TODAY: Final = {f"%{letter}": datetime(2025, 1, 1, tzinfo=UTC).strftime(f"%{letter}") for letter in "aAbBdFHIjmMpSyY"}
"""What templates are told that ask for the date: a run that goes on tomorrow has to write what it wrote today."""

_OBSERVATIONS: Final = tuple(f"This is observation {turn}." for turn in range(3))
_ACTIONS: Final = tuple(f"this is action {turn}" for turn in range(2))
_WAY_OUT: Final = "Write episodes as plain text (--chat-template none), or give the model's tokenizer another template."


@dataclass(frozen=True, slots=True)
class Frame:
    """Tokens, and a few letters that are tokenised together with what they stand next to."""

    opening: tuple[int, ...]
    """Before the first observation."""
    before_observation: str
    """Blanks before an observation."""
    before_action: str
    """Blanks before what the policy writes."""
    behind_command: str
    """Closes a command, where that takes no token of its own."""
    close: tuple[int, ...]
    """Closes what the policy wrote, where that takes tokens of its own."""
    follow: tuple[int, ...]
    """Between that and the next observation."""
    ask: tuple[int, ...]
    """Behind an observation: now the policy writes."""
    ask_last: tuple[int, ...]
    """Behind the last one."""
    hindsight: tuple[int, ...]
    """Between that and the first line of the hindsight questions."""
    end_ids: frozenset[int]
    """Tokens with which a model ends its text."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a chat template writes between messages."""

    begin: str
    ask: str
    """Between a user's message and the place where the assistant's begins."""
    lead: str
    """Blanks there that are the assistant's to write."""
    between: str
    """Between an assistant's message and the next of the user."""

    def conversation(self, rounds: int) -> str:
        """Return so many placeholders of the user with those of the assistant between them."""
        text = f"{self.begin}{_OBSERVATIONS[0]}{self.ask}"
        for action, observation in zip(_ACTIONS, _OBSERVATIONS[1:rounds], strict=False):
            text += f"{self.lead}{action}{self.between}{observation}{self.ask}"
        return text


def frame_of(tokenizer: Any, chat_template: ChatTemplate, *, thinking: bool) -> Frame:
    """Return the frame of a policy's episodes.

    Args:
        tokenizer: Its tokenizer.
        chat_template: "auto" takes the tokenizer's own, if it has one; "none" is plain text.
        thinking: Whether thoughts come before each action.

    Raises:
        ConfigError: Episodes cannot be written with the template.
    """

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False)) if text else ()

    end_ids = frozenset(() if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,))
    if chat_template == "none" or not getattr(tokenizer, "chat_template", None):
        return _plain_frame(encode, tokenizer.bos_token_id, end_ids, thinking=thinking)
    return _chat_frame(encode, pieces_of(tokenizer), _special_ids(tokenizer), end_ids, thinking=thinking)


def _plain_frame(
    encode: Callable[[str], tuple[int, ...]], bos_id: int | None, end_ids: frozenset[int], *, thinking: bool
) -> Frame:
    return Frame(
        opening=(() if bos_id is None else (bos_id,)) + (encode(THINKING_INSTRUCTION) if thinking else ()),
        before_observation=" ",
        before_action=" ",
        behind_command="\n",
        close=(),
        follow=(),
        ask=encode("\n>"),
        ask_last=encode("\n>"),
        hindsight=encode(HINDSIGHT_HEADING),
        end_ids=end_ids,
    )


def _chat_frame(
    encode: Callable[[str], tuple[int, ...]],
    pieces: Pieces,
    special_ids: frozenset[int],
    end_ids: frozenset[int],
    *,
    thinking: bool,
) -> Frame:
    between = encode(pieces.between)
    ends = [place for place, token in enumerate(between) if token in special_ids]
    if not ends:
        raise ConfigError(
            f"The model's chat template ends an answer with {pieces.between!r}, in which no token is special, so that an answer "
            f"has no end of its own. {_WAY_OUT}"
        )
    close, follow = between[: ends[0] + 1], between[ends[0] + 1 :]
    instruction = THINKING_INSTRUCTION if thinking else COMMAND_INSTRUCTION
    return Frame(
        opening=encode(pieces.begin) + encode(f"{instruction}\n\n"),
        before_observation="",
        before_action=pieces.lead,
        behind_command="",
        close=close,
        follow=follow,
        ask=encode(pieces.ask),
        ask_last=(),
        hindsight=encode(HINDSIGHT_QUESTION) + encode(pieces.ask),
        end_ids=end_ids | {close[-1]},
    )


def pieces_of(tokenizer: Any) -> Pieces:
    """Take the chat template of a tokenizer apart.

    Raises:
        ConfigError: It cannot be rendered, or writes a conversation in another way than message after message, so that an episode
            would not be one growing sequence.
    """
    rendered = [_render(tokenizer, rounds) for rounds in (1, 2, 3)]
    parts = re.split("|".join(map(re.escape, (_OBSERVATIONS[0], _ACTIONS[0], _OBSERVATIONS[1]))), rendered[1])
    if len(parts) != 4:
        raise ConfigError(f"The model's chat template drops or repeats messages of a conversation. {_WAY_OUT}")
    begin, answer, between, ask = parts
    pieces = Pieces(begin, ask, answer.removeprefix(ask), between)
    if pieces.lead.strip() or [pieces.conversation(rounds) for rounds in (1, 2, 3)] != rendered:
        raise ConfigError(
            "The model's chat template writes a message in another way when others come behind it, so that an episode cannot be "
            f"one growing sequence of tokens. {_WAY_OUT}"
        )
    return pieces


def _render(tokenizer: Any, rounds: int) -> str:
    """Return a conversation of placeholders as the template writes it, up to where the assistant shall go on."""
    from jinja2 import TemplateError

    messages = [{"role": "user", "content": _OBSERVATIONS[0]}]
    for action, observation in zip(_ACTIONS, _OBSERVATIONS[1:rounds], strict=False):
        messages += [{"role": "assistant", "content": action}, {"role": "user", "content": observation}]
    date = "{{ format" + "".join(f" | replace({code!r}, {words!r})" for code, words in TODAY.items()) + " }}"
    try:
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=f"{{% macro strftime_now(format) %}}{date}{{% endmacro %}}{tokenizer.get_chat_template()}",
            tokenize=False,
            add_generation_prompt=True,
        )
    except (TemplateError, ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"The model's chat template cannot be rendered: {error}. {_WAY_OUT}") from error
    return str(text)


def _special_ids(tokenizer: Any) -> frozenset[int]:
    added = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(tokenizer.all_special_ids))
