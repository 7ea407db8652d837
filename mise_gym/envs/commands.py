"""What a text of an agent becomes before it reaches the interpreter of a text game.

The interpreter is C code inside our process: a NUL character kills it, "save" writes files, "restart" cuts the game loose from
the state that is tracked beside it, "open fridge. take egg" is two commands, and a backslash begins a command to the console of
the interpreter. So only one plain command is passed on.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

MAX_LENGTH: Final = 190
"""Characters; the interpreter silently cuts off what is longer."""
UNKNOWN_VERB: Final = "That's not a verb I recognise."
NOT_UNDERSTOOD: Final = "I didn't understand that sentence."
ONE_AT_A_TIME: Final = "Please give one command at a time."

_META_VERB: Final = re.compile(
    r"""(
    save | restore | restart | quit | q | die | script | transcript | unscript | noscript | verbose | brief | superbrief |
    long | short | normal | notify | version | verify | recording | replay | undo | again | g | oops | o | prefer |
    pronouns | nouns | glklist | test | actions | rules | showme | showverb | trace | tree | relations | responses |
    scenes | scope | showheap | purloin | abstract | gonear | random | restrict | print_state | enable | disable
    | tw-.* )""",
    re.IGNORECASE | re.VERBOSE,
)
"""Commands to the interpreter and not to the game."""


@dataclass(frozen=True)
class Refusal:
    """An action that is not passed on, with what the agent reads instead."""

    text: str


def to_command(action: str) -> str | Refusal:
    """Return the command to send for an action, or the refusal.

    Args:
        action: Any string.

    Example:
        >>> to_command("  Open   the fridge ")
        'Open the fridge'
        >>> to_command("look. inventory").text
        'Please give one command at a time.'
        >>> to_command("save").text
        "That's not a verb I recognise."
    """
    if len(action) > 4 * MAX_LENGTH:
        return Refusal(NOT_UNDERSTOOD)
    command = unicodedata.normalize("NFKC", action.strip())
    if re.search(r"[.,;\r\n]|\bthen\b", command, re.IGNORECASE):
        return Refusal(ONE_AT_A_TIME)
    if not command.isascii() or not command.isprintable() or "\\" in command or len(command) > MAX_LENGTH:
        return Refusal(NOT_UNDERSTOOD)
    words = command.split()
    if words and _META_VERB.fullmatch(words[0]):
        return Refusal(UNKNOWN_VERB)
    return " ".join(words)
