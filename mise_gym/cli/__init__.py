"""The command line: ``mise-gym COMMAND``; ``COMMANDS`` below lists them.

Each command is one module with ``add_arguments(parser)`` and ``run(arguments) -> exit status``; a new one needs the module and a
row in ``COMMANDS``. A module is imported only when its command is called. This file alone decides how failures look: one sentence
on standard error and exit status 2, or 130 after Ctrl-C.
"""

import argparse
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import gymnasium as gym

from mise_gym.errors import MiseError
from mise_gym.registry import unknown_name

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "list": ("mise_gym.cli.listing", "List the environments, judges, calibrators and game levels."),
    "info": ("mise_gym.cli.info", "Describe one environment: what it is, takes and tells."),
    "play": ("mise_gym.cli.play", "Play an environment yourself."),
    "replay": ("mise_gym.cli.replay", "Play recorded episodes again and check that nothing differs."),
    "games": ("mise_gym.cli.games", "Make, list and verify sets of TextWorld games."),
    "judge": ("mise_gym.cli.judge", "Ask a judge about recorded episodes, and see its scores turn by turn."),
    "relabel": ("mise_gym.cli.relabel", "Judge recorded episodes again."),
    "diff": ("mise_gym.cli.diff", "Compare two relabellings of the same episodes."),
    "view": ("mise_gym.cli.view", "Show recorded episodes turn by turn, with scores."),
    "report": ("mise_gym.cli.report", "Write one HTML page about a run or recorded episodes."),
    "train": ("mise_gym.cli.train", "Train a language model with PPO."),
    "ablate": ("mise_gym.cli.ablate", "Train with several rewards, seeds and environments, and compare."),
    "export": ("mise_gym.cli.export", "Write the trained model of a run as one folder for transformers."),
    "webshop": ("mise_gym.cli.webshop", "Build catalogues for the shop, and open it in a browser."),
}
"""Name of a command -> its module and one line about it."""

FAILED: Final = 2
"""Exit status after an error that was explained in one sentence."""

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C."""


def build_parser(*commands: str) -> argparse.ArgumentParser:
    """Return the parser; only the modules of ``commands`` are imported and have their options filled in."""
    parser = argparse.ArgumentParser(prog="mise-gym", description="Gymnasium text worlds with calibrated hindsight rewards.")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in commands:
            import_module(module).add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``mise-gym``; ``None`` takes them from the process.

    Returns:
        0 after success, 2 after an error that was explained, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return _fail("Interrupted. What was finished is saved.", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone; spare Python's own flush at exit the same error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (MiseError, gym.error.Error) as error:
        return _fail(str(error), FAILED)
    except OSError as error:
        return _fail(_explain(error), FAILED)


def _run(words: list[str]) -> int:
    command = words[0] if words else ""
    if command and not command.startswith("-") and command not in COMMANDS:
        raise unknown_name("command", command, list(COMMANDS))
    arguments = build_parser(command).parse_args(words)
    status = import_module(COMMANDS[arguments.command][0]).run(arguments)
    sys.stdout.flush()
    return int(status)


def _explain(error: OSError) -> str:
    """Return one sentence about an error of the operating system that a user can act on, or raise it again."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. What was finished is saved; free some space and run the same command again."
    if error.filename is None:
        raise error
    return f"{error.strerror}: {os.fspath(error.filename)!r}. Check the path and its permissions."


def _fail(sentence: str, status: int) -> int:
    print(f"mise-gym: {sentence}", file=sys.stderr)
    return status
