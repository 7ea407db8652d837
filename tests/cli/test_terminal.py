"""``mise-gym play`` in a real (pseudo) terminal: colour, wrapping, completion."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from mise_gym.cli import main; sys.exit(main(sys.argv[1:]))"
PLAY = ["play", "tests.corridor:tests/Corridor-v0", "--option", "length=3"]


def play_in_a_terminal(keys: str, **variables: str) -> str:
    """Press ``keys`` once the first prompt is there; return everything that the terminal showed until the program ended."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "40", **variables}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *PLAY], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    killer = threading.Timer(20, process.kill)
    killer.start()
    shown = b""
    while b"> " not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, keys.encode())
    with contextlib.suppress(OSError):  # Linux reports the end of a pseudo terminal as an error
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert process.wait() == 0
    killer.cancel()
    return shown.decode().replace("\r\n", "\n")


def test_the_status_is_coloured_in_a_terminal() -> None:
    assert "\x1b[2m[turn 1 · score 1 of 3" in play_in_a_terminal("go east\n/quit\n")


def test_no_color_turns_colours_off() -> None:
    assert not re.search(r"\x1b\[[0-9;]+m", play_in_a_terminal("go east\n/quit\n", NO_COLOR="1"))


def test_long_lines_are_wrapped_to_the_terminal() -> None:
    assert "There is no /abcdefghijklmnop. /help\nlists the commands." in play_in_a_terminal(
        "/abcdefghijklmnop\n/quit\n", NO_COLOR="1"
    )


def test_tab_completes_an_admissible_command() -> None:
    assert "Room 1 of 3." in play_in_a_terminal("go e\t\n/quit\n")


@pytest.mark.parametrize("keys", ["\x04", "/quit\n"], ids=["Ctrl-D", "/quit"])
def test_leaving_is_not_an_error(keys: str) -> None:
    assert "Room 0 of 3." in play_in_a_terminal(keys)
