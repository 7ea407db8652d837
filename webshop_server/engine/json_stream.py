"""Reads large JSON files piece by piece, plain or gzipped, without holding more than a piece in memory."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, TextIO

from webshop_server.errors import CatalogueError

_CHUNK: Final = 1 << 20
_LONGEST_PIECE: Final = 1 << 26
_BLANK: Final = re.compile(r"[\s,]*")
_COLON: Final = re.compile(r"[\s:]*")
_AFTER_A_VALUE: Final = frozenset(" \t\r\n,:]}")
_DECODER: Final = json.JSONDecoder()


class JsonFile:
    """A file with one JSON array or object, read once from front to back.

    Args:
        path: The file; a name that ends in ``.gz`` is decompressed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw: IO[bytes] | None = None
        self._file: TextIO
        self._text = ""
        self._at = 0
        self._is_at_end = False

    @property
    def bytes_read(self) -> int:
        """How much of the file, as it is on disk, has been read."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def elements(self) -> Iterator[Any]:
        """Yield the elements of an array.

        Raises:
            CatalogueError: The file cannot be read, is not JSON, ends too early, or has no array in it.
        """
        for _ in self._entries("["):
            yield self._value()

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys and values of an object.

        Raises:
            CatalogueError: The file cannot be read, is not JSON, ends too early, or has no object in it.
        """
        for _ in self._entries("{"):
            key = self._value()
            self._skip(_COLON)
            yield key, self._value()

    def _entries(self, opening: str) -> Iterator[None]:
        """Stand before one entry after the other."""
        try:
            with self.path.open("rb") as self._raw:
                plain: Any = gzip.GzipFile(fileobj=self._raw) if self.path.suffix == ".gz" else self._raw
                self._file = io.TextIOWrapper(plain, encoding="utf-8")
                self._skip(_BLANK)
                if self._text[self._at : self._at + 1] != opening:
                    what = "an array of products" if opening == "[" else "an object with a product's asin for each key"
                    raise CatalogueError(
                        f"{str(self.path)!r} does not begin with {opening!r}: it must be {what}. Check the file."
                    )
                self._at += 1
                while self._has_entry("]" if opening == "[" else "}"):
                    yield
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise CatalogueError(f"{str(self.path)!r} cannot be read: {error}. Check the file, or download it again.") from error

    def _has_entry(self, closing: str) -> bool:
        self._skip(_BLANK)
        if self._at >= len(self._text):
            raise CatalogueError(f"{str(self.path)!r} ends too early. Download it again.")
        return self._text[self._at] != closing

    def _value(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if len(self._text) - self._at > _LONGEST_PIECE or not self._read():
                    raise CatalogueError(f"{str(self.path)!r} is not JSON, or ends too early: {error}.") from error
                continue
            if self._text[end : end + 1] not in _AFTER_A_VALUE and self._read():  # a number may go on in the next chunk
                continue
            self._at = end
            return value

    def _skip(self, pattern: re.Pattern[str]) -> None:
        while True:
            match = pattern.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._read():
                return

    def _read(self) -> bool:
        """Append a chunk to what is left of the text; return whether there was one."""
        if self._is_at_end:
            return False
        chunk = self._file.read(_CHUNK)
        self._is_at_end = not chunk
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)
