"""Recorded episodes: one JSON object a line, in ``.jsonl`` or ``.jsonl.gz``.

Every line carries the schema version, so files can be joined, split and read line by line. A line counts once it is whole: a
writer that was killed leaves at most one torn line at the very end, which readers skip and the next writer removes.
"""

import gzip
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from mise_gym.errors import TrajectoryFormatError
from mise_gym.types import Episode, Transition

SCHEMA_VERSION: Final = 1
"""Version of the line format; it changes when a reader of the old one could misunderstand the new one."""

SUFFIXES: Final = (".jsonl", ".jsonl.gz")
"""File names that hold episodes."""

logger = logging.getLogger(__name__)

_NUMBER: Final = (float, int)
_TRANSITION_TYPES: Final[Mapping[str, Any]] = {
    "observation": str,
    "action": str,
    "reward": _NUMBER,
    "next_observation": str,
    "progress": _NUMBER,
    "valid_action": bool,
}
_EPISODE_TYPES: Final[Mapping[str, Any]] = {
    "task": str,
    "transitions": list,
    "progress": _NUMBER,
    "success": bool,
    "terminated": bool,
    "truncated": bool,
    "task_id": str,
    "split": str,
    "seed": (int, type(None)),
    "extra": dict,
}


class EpisodeWriter:
    """Appends episodes to a file; each one is handed to the operating system before ``write`` returns.

    Give every writer a file of its own: two writers on one file can cut each other's lines when the disk is full.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file; parent folders are made. An existing file is continued, after a torn last line
            (the trace of a killed writer) has been removed with a logged warning.

    Raises:
        TrajectoryFormatError: The name ends otherwise, or an existing file is damaged before its last line.
        OSError: The file cannot be opened or written, for example because the disk is full; what was written before stays whole.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked_path(path)
        self._is_gzip = self.path.name.endswith(".gz")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            _remove_torn_end(self.path)
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  # closed by close()

    def write(self, episode: Episode) -> None:
        """Append one episode.

        Raises:
            TrajectoryFormatError: ``episode.extra`` or a number cannot be expressed in JSON.
            OSError: The disk is full or gone; the file is cut back to its last whole line.
        """
        line = _encode(episode)
        data = memoryview(gzip.compress(line, mtime=0) if self._is_gzip else line)
        start = os.fstat(self._file.fileno()).st_size
        try:
            while data:
                data = data[self._file.write(data) :]
        except BaseException:
            if self.path.is_file():
                self._file.truncate(start)
            raise

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the file."""
        self.close()


def write_episodes(path: str | os.PathLike[str], episodes: Iterable[Episode]) -> int:
    """Write a new file of episodes; an older file of that name is replaced only when the new one is complete.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file; parent folders are made.
        episodes: Consumed one by one.

    Returns:
        The number of episodes written.

    Raises:
        TrajectoryFormatError: The name ends otherwise, or an episode cannot be expressed in JSON.
        OSError: The file cannot be written; an older file stays as it was.
    """
    target = _checked_path(path)
    temporary = target.with_name(f".{os.getpid()}-{target.name}")
    count = 0
    try:
        with EpisodeWriter(temporary) as writer:
            for episode in episodes:
                writer.write(episode)
                count += 1
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def read_episodes(path: str | os.PathLike[str]) -> Iterator[Episode]:
    """Yield the episodes of a file, in order.

    A torn last line, which a killed writer leaves behind, is skipped with a logged warning; any other damage is an error.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file.

    Raises:
        TrajectoryFormatError: The file is missing or a line is not an episode; the message names the line.
    """
    source = _checked_path(path)
    if not source.exists():
        raise TrajectoryFormatError(f"No file {str(source)!r}. Record one with RecordTrajectories or mise-gym play --record.")
    for number, line in _numbered_lines(source):
        try:
            yield _decode(line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                logger.warning("%s: skipped the unfinished line %d.", source, number)
                return
            advice = "Remove that line, or restore the file from a copy."
            raise TrajectoryFormatError(f"Line {number} of {str(source)!r} is not an episode: {error}. {advice}") from error


def _checked_path(path: str | os.PathLike[str]) -> Path:
    checked = Path(path)
    if not checked.name.endswith(SUFFIXES):
        raise TrajectoryFormatError(f"Recorded episodes end in {' or '.join(SUFFIXES)}; {str(checked)!r} does not. Rename it.")
    return checked


def _encode(episode: Episode) -> bytes:
    """Return one line. Only ASCII is used, so that lone surrogates in a hostile action survive the round trip."""
    try:
        text = json.dumps({"version": SCHEMA_VERSION, **asdict(episode)}, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TrajectoryFormatError(f"An episode of task {episode.task_id!r} cannot be written as JSON: {error}.") from error
    return text.encode("ascii") + b"\n"


def _decode(line: bytes) -> Episode:
    """Return the episode of one line, or raise ``ValueError`` with the reason."""
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, found {type(record).__name__}")
    version = record.pop("version", None)
    if version != SCHEMA_VERSION:
        raise ValueError(f"its schema version is {version!r}; this mise-gym reads {SCHEMA_VERSION}")
    _check_fields(record, _EPISODE_TYPES)
    for transition in record["transitions"]:
        if not isinstance(transition, dict):
            raise ValueError(f"a transition is a {type(transition).__name__}, not an object")
        _check_fields(transition, _TRANSITION_TYPES)
    record["transitions"] = tuple(Transition(**transition) for transition in record["transitions"])
    return Episode(**record)


def _check_fields(record: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    if record.keys() != types.keys():
        odd = ", ".join(sorted(record.keys() ^ types.keys()))
        raise ValueError(f"missing or unknown fields: {odd}")
    for name, expected in types.items():
        value = record[name]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise ValueError(f"field {name!r} holds a {type(value).__name__}")


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        try:
            for line in file:
                number += 1
                yield number, line
        except EOFError:
            logger.warning("%s: skipped the unfinished line %d.", path, number + 1)
        except (gzip.BadGzipFile, zlib.error) as error:
            message = f"{str(path)!r} is damaged after line {number}: {error}. Restore it from a copy."
            raise TrajectoryFormatError(message) from error


def _remove_torn_end(path: Path) -> None:
    """Cut an unfinished last line off an existing file; a last line that only lacks its newline gets one."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        whole = _whole_gzip_bytes(file, path) if path.name.endswith(".gz") else _whole_line_bytes(file)
        if whole == size:
            return
        if not path.name.endswith(".gz") and _is_episode(file, whole):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
            return
        logger.warning("%s: removed an unfinished line of %d bytes at the end.", path, size - whole)
        file.truncate(whole)


def _is_episode(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    try:
        _decode(file.read())
    except ValueError:
        return False
    return True


def _whole_line_bytes(file: BinaryIO, chunk_bytes: int = 65536) -> int:
    """Return the length of the file up to and including its last newline."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - chunk_bytes)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _whole_gzip_bytes(file: BinaryIO, path: Path, chunk_bytes: int = 65536) -> int:
    """Return the length of the file up to the end of its last complete gzip member (one member per episode)."""
    whole = 0
    member = zlib.decompressobj(wbits=31)
    file.seek(0)
    while chunk := file.read(chunk_bytes):
        while chunk:
            try:
                member.decompress(chunk)
            except zlib.error as error:
                raise TrajectoryFormatError(f"{str(path)!r} is damaged: {error}. Move it away and record again.") from error
            chunk = member.unused_data
            if member.eof:
                whole = file.tell() - len(chunk)
                member = zlib.decompressobj(wbits=31)
    return whole
