"""Forms of a turn: which token may come next while a turn is written, when it is finished, and what its action is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from mise_gym.envs.wrappers.action_parser import MALFORMED, parse_action
from mise_gym.errors import ConfigError
from mise_gym.train.text import ACTION_LABEL, EpisodeText
from mise_gym.train.trace import Writing

THINKING_FORMATS: Final = ("tag", "react")
"""How a command may stand behind a thought."""

Decoding = Literal["constrained", "free"]


class Form(Protocol):
    """One turn of one row while it is written."""

    def allowed(self) -> tuple[int, ...] | None:
        """Return the tokens that may come next: one that is forced, none when the turn is written, ``None`` for any token."""
        ...

    def take(self, token: int) -> None:
        """Note the next token."""
        ...

    def writing(self) -> Writing:
        """Return what was written, once the turn is finished."""
        ...


FormOf = Callable[[EpisodeText, Sequence[str]], Form]
"""Starts a turn: the episode's text and the admissible commands, which may be none."""


class CommandForm:
    """One of the admissible commands, and nothing else.

    Args:
        text: How commands become tokens.
        commands: The admissible commands.

    Raises:
        ConfigError: There are none.
    """

    def __init__(self, text: EpisodeText, commands: Sequence[str]) -> None:
        if not commands:
            raise ConfigError(
                "The environment lists no admissible commands, and the actions are constrained to them. "
                "Make it with infos=('admissible_commands',), or write freely: --decoding free."
            )
        self._text = text
        self._node = text.choices(tuple(commands))
        self._ids: list[int] = []

    def allowed(self) -> tuple[int, ...] | None:
        """Return the tokens that continue one of the commands."""
        return self._node.tokens

    def take(self, token: int) -> None:
        """Go down the trie."""
        self._node = self._node.children[token]
        self._ids.append(token)

    def writing(self) -> Writing:
        """Return the command."""
        action = self._text.decode(self._ids).strip()
        return Writing(action, action, self._ids)


class FreeForm:
    """Any text up to its end: a line break, or, with thoughts, the end of the command behind them.

    What ends in another way, in a conversation without the sign that ends an answer, is closed by tokens that nobody chose. Text
    that reaches the limit holds no command, even if it begins like one: half a command is another command.

    Args:
        text: How tokens become text.
        max_tokens: The turn is cut off after so many tokens.
        thinking: Whether thoughts may come before the command; it then stands in ``<action>..</action>`` or on a line
            ``Action: ..``.
    """

    def __init__(self, text: EpisodeText, max_tokens: int, *, thinking: bool) -> None:
        self._text = text
        self._max_tokens = max_tokens
        self._thinking = thinking
        self._ids: list[int] = []
        self._closing: list[int] | None = None
        self._is_cut = False

    def allowed(self) -> tuple[int, ...] | None:
        """Return everything until the text has ended, then what may be missing to close it."""
        return None if self._closing is None else tuple(self._closing[:1])

    def take(self, token: int) -> None:
        """Note a token and see whether it ends the text."""
        self._ids.append(token)
        if self._closing is not None:
            self._closing = self._closing[1:]
        elif self._text.is_end(token) or self._is_end(token):
            self._closing = self._text.closing(self._ids)
        elif len(self._ids) >= self._max_tokens:
            self._is_cut = True
            self._closing = self._text.closing(self._ids)

    def writing(self) -> Writing:
        """Return the text and the command in it; the empty command where it holds none."""
        written = self._text.decode(self._ids).strip()
        action, format_ = ("", MALFORMED) if self._is_cut else parse_action(written, self._formats)
        return Writing(action, written, self._ids, format_ == MALFORMED)

    @property
    def _formats(self) -> tuple[str, ...]:
        return THINKING_FORMATS if self._thinking else ("line",)

    def _is_end(self, token: int) -> bool:
        piece = self._text.piece(token)
        if not self._thinking:
            return "\n" in piece
        if "\n" not in piece and ">" not in piece:
            return False
        written = self._text.decode(self._ids)
        lines = written[: written.rfind("\n") + 1]
        return parse_action(written, ("tag",))[1] != MALFORMED or parse_action(lines, ("react",))[1] != MALFORMED


class ThoughtfulCommandForm:
    """Thoughts in any words up to a line ``Action:``, and then one of the admissible commands.

    A thought that ends otherwise, at its limit or with the model's end sign, is followed by that line all the same, and counts as
    malformed.

    Args:
        text: How tokens become text.
        commands: The admissible commands.
        max_tokens: The thought is cut off after so many tokens.

    Raises:
        ConfigError: There are no commands.
    """

    def __init__(self, text: EpisodeText, commands: Sequence[str], max_tokens: int) -> None:
        self._text = text
        self._command = CommandForm(text, commands)
        self._max_tokens = max_tokens
        self._thought: list[int] = []
        self._label: list[int] | None = None
        self._is_led = False

    def allowed(self) -> tuple[int, ...] | None:
        """Return everything in the thought, then what is left of the label, then what continues a command."""
        if self._label is None:
            return None
        return tuple(self._label[:1]) or self._command.allowed()

    def take(self, token: int) -> None:
        """Note a token."""
        if self._label == []:
            self._command.take(token)
            return
        self._thought.append(token)
        if self._label is not None:
            self._label = self._label[1:]
        elif self._is_label(token):
            self._label = []
        elif self._text.is_end(token) or len(self._thought) >= self._max_tokens:
            self._is_led = True
            self._label = list(self._text.encode(f"\n{ACTION_LABEL}"))

    def writing(self) -> Writing:
        """Return the thought and the command."""
        command = self._command.writing()
        ids = self._thought + command.ids
        return Writing(command.action, self._text.decode(ids).strip(), ids, self._is_led)

    def _is_label(self, token: int) -> bool:
        if ":" not in self._text.piece(token):
            return False
        line = self._text.decode(self._thought).rpartition("\n")[2]
        return line.strip(" \t*_`").casefold() == ACTION_LABEL.casefold()


@dataclass(frozen=True, slots=True)
class Forms:
    """Starts the form of each turn; the fields are the settings of the same names."""

    decoding: Decoding = "constrained"
    thinking: bool = False
    max_action_tokens: int = 32

    def __call__(self, text: EpisodeText, commands: Sequence[str]) -> Form:
        """Return the form of a new turn."""
        if self.decoding == "free":
            return FreeForm(text, self.max_action_tokens, thinking=self.thinking)
        return ThoughtfulCommandForm(text, commands, self.max_action_tokens) if self.thinking else CommandForm(text, commands)
