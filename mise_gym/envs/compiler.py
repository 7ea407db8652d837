"""Turn an Inform 7 story into a Z-machine file, quickly and reproducibly, with the compilers that TextWorld brings along.

Three things differ from ``textworld.generator.compile_game``: the HTML index that nobody reads is not written, the compilation
date in the header is a constant, and on Linux ``ni`` is run with a constant clock. The last matters most: ``ni`` asks the kernel
for the time a million times per story, which is half of its running time.
"""

import itertools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mise_gym.errors import GameGenerationError
from mise_gym.extras import require

SERIAL: Final = b"000101"
"""The date (yymmdd) in the header of every game: 1 January 2000."""
_SERIAL_OFFSET: Final = 0x12
_CLOCK: Final = 946_684_800
"""1 January 2000, in seconds since 1970."""
_TIME_FUNCTION: Final = bytes.fromhex("b8c9000000 0f05 c3")
"""mov eax, 201 (the number of the ``time`` system call on x86-64 Linux); syscall; ret."""
_CONSTANT_CLOCK: Final = b"\xb8" + _CLOCK.to_bytes(4, "little") + bytes.fromhex("4885ff 7403 488907 c3")
"""mov eax, clock; if the argument is not NULL, store eax there; ret. Ends inside the padding behind the original."""
_PADDING: Final = bytes.fromhex("0f1f840000000000")
_MINIMUM_HEADER: Final = 64
_ADDRESSES: Final = (0x18, 0x0A, 0x0C, 0x0E, 0x08, 0x04, 0x06)
"""Where the header has the addresses of abbreviations, objects, global variables, static memory, dictionary, high memory and the
first instruction. In a story made by Inform they lie in this order, and the last directly behind the one before."""


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """Where the compilers are.

    Example:
        ``Compiler.find(scratch).compile(source, scratch)`` returns the bytes of a ``.z8`` file.
    """

    ni: Path
    """Inform 7 to Inform 6."""
    inform6: Path
    """Inform 6 to Z-machine."""
    internal: Path
    """The library that ``ni`` reads."""

    @classmethod
    def find(cls, scratch: Path) -> "Compiler":
        """Return the compilers inside the installed TextWorld, with a constant clock where that is possible.

        Args:
            scratch: An existing folder for this process alone; the copy of ``ni`` is written there.

        Raises:
            GameGenerationError: TextWorld came without its compilers.
            MissingExtraError: TextWorld is not installed.
        """
        inform = Path(require("textworld.generator.inform7.world2inform7").I7_DEFAULT_PATH) / "share" / "inform7"
        compilers = inform / "Compilers"
        for program in (compilers / "ni", compilers / "inform6"):
            if not os.access(program, os.X_OK):
                raise GameGenerationError(
                    f"The Inform compiler {str(program)!r} is missing or cannot be run, so no game can be made. "
                    "Reinstall TextWorld from a wheel: pip install --force-reinstall textworld"
                )
        ni = _with_constant_clock(compilers / "ni", scratch / "ni")
        return cls(ni=ni, inform6=compilers / "inform6", internal=inform / "Internal")

    def compile(self, source: str, scratch: Path) -> bytes:
        """Return the Z-machine (version 8) program of an Inform 7 story.

        Args:
            source: Inform 7 text.
            scratch: An existing folder for this process alone. The compilers write there and nowhere else.

        Raises:
            GameGenerationError: A compiler failed; the message has the end of its output.
        """
        project = scratch / "project"
        (project / "Source").mkdir(parents=True, exist_ok=True)
        (project / "Source" / "story.ni").write_text(source, encoding="utf-8")
        (project / "uuid.txt").touch()
        story = scratch / "story.z8"
        internal, where = str(self.internal), str(project)
        _run([str(self.ni), "--internal", internal, "--format=.z8", "--project", where, "-noindex", "-noprogress"], scratch)
        _run([str(self.inform6), "-E2wSv8F0", str(project / "Build" / "auto.inf"), str(story)], scratch)
        return with_constant_date(story.read_bytes())


def with_constant_date(story: bytes) -> bytes:
    """Return the story file with its compilation date set to ``SERIAL``; the checksum does not cover the header."""
    return story[:_SERIAL_OFFSET] + SERIAL + story[_SERIAL_OFFSET + len(SERIAL) :]


def header_problem(story: bytes) -> str | None:
    """Say why bytes are no playable version 8 story file, or return ``None``.

    The interpreter ends the whole Python process when it reads a broken file, so every file is checked before it is loaded.

    Args:
        story: The whole file.

    References:
        The Z-Machine Standards Document 1.1, section 11 (the header).
    """
    if len(story) < _MINIMUM_HEADER:
        return f"it has {len(story)} bytes, less than the {_MINIMUM_HEADER} bytes of a header"
    if story[0] != 8:
        return f"its first byte is {story[0]}, not 8 (the Z-machine version)"
    declared = int.from_bytes(story[0x1A:0x1C], "big") * 8
    if declared > len(story):
        return f"its header promises {declared} bytes and it has {len(story)}"
    checksum = sum(story[_MINIMUM_HEADER:declared]) & 0xFFFF
    if checksum != int.from_bytes(story[0x1C:0x1E], "big"):
        return "its contents do not match the checksum in its header"
    addresses = [int.from_bytes(story[place : place + 2], "big") for place in _ADDRESSES]
    in_order = all(one < next_one for one, next_one in itertools.pairwise([_MINIMUM_HEADER, *addresses, declared]))
    if not in_order or addresses[-1] != addresses[-2] + 1:
        return "the addresses in its header are out of order"
    return None


def _with_constant_clock(original: Path, copy: Path) -> Path:
    """Return a copy of ``ni`` whose ``time()`` is a constant, or the original where that cannot be done or cannot run.

    On the compiler of TextWorld 1.7 this halves the time per game; the story is the same but for the date.
    """
    program = original.read_bytes()
    if not program.startswith(b"\x7fELF") or program.count(_TIME_FUNCTION + _PADDING) != 1:
        return original
    start = program.index(_TIME_FUNCTION + _PADDING)
    copy.write_bytes(program[:start] + _CONSTANT_CLOCK + program[start + len(_CONSTANT_CLOCK) :])
    copy.chmod(0o700)
    return copy if os.access(copy, os.X_OK) else original


def _run(command: list[str], scratch: Path) -> None:
    """Run a compiler inside ``scratch``, which is also its home: ``ni`` writes documentation into the home folder."""
    environment = {**os.environ, "HOME": str(scratch)}
    done = subprocess.run(
        command,
        cwd=scratch,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = " ".join((done.stdout + done.stderr).split())[-500:]
        raise GameGenerationError(f"{Path(command[0]).name} failed with exit status {done.returncode}: {tail}")
