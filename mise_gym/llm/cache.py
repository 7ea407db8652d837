"""ReplyCache: replies kept in an SQLite file that many processes share."""

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from mise_gym.errors import ConfigError

logger = logging.getLogger(__name__)

_WAIT_SECONDS: Final = 60.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    reply TEXT NOT NULL,
    kept_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


class ReplyCache:
    """Replies by key, in one file.

    Writers in several processes wait for one another, and every reply is written in a transaction of its own, so a killed
    process leaves a sound file without the reply that it was writing. Put the file on a local disk: SQLite's write-ahead log
    does not work over a network.

    Args:
        path: The file; it and its folder are made when they are not there.

    Raises:
        ConfigError: The file cannot be opened, or holds something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"Cannot use {str(path)!r} as a cache: {error}. Give another file.") from error

    def get(self, key: str) -> str | None:
        """Return the reply kept under ``key``, or ``None``, also when the file cannot be read (logged)."""
        try:
            row = self._file.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            logger.warning("The cache %s cannot be read: %s.", self.path, error)
            return None
        return None if row is None else str(row[0])

    def put(self, key: str, reply: str, *, model: str, prompt: str) -> None:
        """Keep a reply in place of any other under this key; a file that cannot be written is only logged.

        Args:
            key: What ``cache_key`` returned.
            reply: Text of the reply.
            model: Name of the model, for people who look into the file.
            prompt: Name and version of the prompt, likewise.
        """
        row = (key, model, prompt, reply)
        try:
            self._file.execute("REPLACE INTO replies (key, model, prompt, reply) VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            logger.warning("The cache %s cannot be written: %s.", self.path, error)

    def __len__(self) -> int:
        """Return the number of replies in the file."""
        return int(self._file.execute("SELECT COUNT(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the cache."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def _prepare(self) -> None:
        try:
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(_TABLE)
            self._file.execute("SELECT key, model, prompt, reply, kept_at FROM replies LIMIT 1")
        except sqlite3.Error:
            self._file.close()
            raise


def cache_key(parts: Mapping[str, Any]) -> str:
    """Return the key of everything that decides a reply.

    Args:
        parts: Model, parameters, prompt version, messages; JSON-serialisable.

    Example:
        >>> cache_key({"model": "m", "seed": 1}) == cache_key({"seed": 1, "model": "m"})
        True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()
