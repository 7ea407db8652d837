"""Make games with TextWorld's generators and keep them in a cache.

A game is decided by its family (generator and settings), its split and its number: the same three give the same bytes on every
machine. Splits share no game: their seeds are disjoint, and so is their content.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.game_name import GameName
from mise_gym.envs.game_pool import GamePool, standing_pool
from mise_gym.envs.game_worker import write_atomically
from mise_gym.envs.levels import DEFAULT_LEVEL, LEVELS, SPLITS, GameFamily, check_split, cooking_family, parse_level
from mise_gym.errors import ConfigError, GameGenerationError
from mise_gym.extras import require

__all__ = ["DEFAULT_LEVEL", "LEVELS", "SPLITS", "cache_folder", "make_game", "make_games", "parse_level"]

PoolContext = contextlib.AbstractContextManager[GamePool]
MAX_GAMES: Final = 1_000_000
"""Games per split."""
_ATTEMPTS: Final = 100
"""Seeds per game: a seed that yields no game, or one that exists already, is followed by the next."""
_SAVE_EVERY: Final = 25


def cache_folder() -> Path:
    """Return the folder of generated games: ``$XDG_CACHE_HOME/mise_gym/games``, by default below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mise_gym" / "games"


def make_games(
    level: str | GameFamily,
    split: str,
    count: int,
    *,
    workers: int | GamePool | None = None,
    progress: bool = True,
    cache: Path | None = None,
) -> list[Path]:
    """Return the first ``count`` games of a split, making those that are not in the cache yet.

    An interrupted call loses at most the game in the making of each worker; the next call goes on from there. Files that do not
    match the list of hashes kept beside them are made again.

    Args:
        level: A name of ``LEVELS``, a difficulty name (see ``parse_level``) or a family of games.
        split: "train", "valid" or "test".
        count: How many games.
        workers: Processes to make games with, a number or a pool that is open; ``None`` means one per CPU core.
        progress: Whether to show a progress bar.
        cache: Folder of the cache; ``None`` means ``cache_folder()``.

    Returns:
        Paths of ``.z8`` files, each with a ``.json`` file beside it, in an order that never changes.

    Raises:
        ConfigError: Unknown level or split, or a count out of range.
        GameGenerationError: The generator or the compiler failed, or the cache cannot be written.
        MissingExtraError: TextWorld is not installed.
    """
    if not 1 <= count <= MAX_GAMES:
        raise ConfigError(f"count is {count!r}; it must be from 1 to {MAX_GAMES}.")
    shelf = Shelf.of(level, split, cache)
    title = f"making {split} games" if progress else None
    if isinstance(workers, GamePool):
        return shelf.provide(range(count), lambda _: contextlib.nullcontext(workers), title)
    most = count_workers(workers)
    return shelf.provide(range(count), lambda games: GamePool(min(most, games)), title)


def count_workers(workers: int | None) -> int:
    """Return how many processes make games: as many as asked for, or one per CPU core.

    Raises:
        ConfigError: A number below 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers!r} processes are asked for; it must be at least 1, or None for one per CPU core.")
    return workers or os.cpu_count() or 1


def number_of(game: str) -> tuple[str, int] | None:
    """Return split and number of a generated game, read from the name of its file; ``None`` if the name has no seed at its end.

    Example:
        >>> number_of("tw-cooking-valid-recipe1+take1-200000700")
        ('valid', 7)
    """
    match = re.search(r"-(\d{9})(?:s\d+)?$", game)
    if not match:
        return None
    shelf, place = divmod(int(match[1]), MAX_GAMES * _ATTEMPTS)
    return (SPLITS[shelf - 1], place // _ATTEMPTS) if 1 <= shelf <= len(SPLITS) else None


def make_game(level: str | GameFamily, split: str, number: int, *, cache: Path | None = None) -> Path:
    """Return one game of a split, without a look at the others: errors as ``make_games``.

    It is the game that ``make_games`` returns at index ``number``, unless that one was replaced there because an earlier game has
    the same content (of the easiest cooking games one in forty).
    """
    if not 0 <= number < MAX_GAMES:
        raise ConfigError(f"Game number {number!r} is out of range; it must be from 0 to {MAX_GAMES - 1}.")
    shelf = Shelf.of(level, split, cache)
    pool = contextlib.nullcontext(standing_pool(os.getpid()))
    return shelf.provide([number], lambda _: pool, None, distinct=False)[0]


@dataclass
class Shelf:
    """The cached games of one family and split."""

    family: GameFamily
    split: str
    folder: Path
    _tried: dict[int, str | None] = field(default_factory=dict)
    """Seed -> fingerprint of its game, or ``None`` if it yields no game for this split."""
    _hashes: dict[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of the file."""

    @classmethod
    def of(cls, level: str | GameFamily, split: str, cache: Path | None) -> "Shelf":
        """Return the shelf of a level and split; errors as ``make_games``."""
        family = level if isinstance(level, GameFamily) else cooking_family(level)
        folder = (cache or cache_folder()) / family.folder / check_split(split)
        return cls(family, split, folder)

    def provide(
        self, numbers: Sequence[int], open_pool: Callable[[int], PoolContext], title: str | None, *, distinct: bool = True
    ) -> list[Path]:
        """Return the games with these numbers, in this order, making those that are missing.

        Args:
            numbers: Which games.
            open_pool: Gives the workers for so many games; called only if games are missing.
            title: Title of a progress bar; ``None`` means no bar.
            distinct: Whether a game with the content of an earlier one is replaced. For this, the content of all earlier games
                must be known, which takes up to a second each when it is not.
        """
        with _locked(self.folder), contextlib.ExitStack() as cleanup:
            self._load()
            pool, bar = None, None
            while requests := self._requests(numbers, distinct):
                pool = pool or cleanup.enter_context(open_pool(len(requests)))
                if title is not None and bar is None:
                    bar = cleanup.enter_context(_progress_bar(len(requests), title))
                self._run(pool, requests, bar)
            seeds = self._choose(numbers, distinct)
        return [self._stem(seeds[number]).with_suffix(".z8") for number in numbers]

    def _run(self, pool: GamePool, requests: list[dict[str, Any]], bar: Any) -> None:
        """Have games made and write down what came out, also when interrupted."""
        try:
            for count, (request, answer) in enumerate(pool.make_all(requests), start=1):
                self._tried[request["own_seed"]] = answer["fingerprint"]
                name = self._stem(request["own_seed"]).name
                self._hashes.update({name + suffix: digest for suffix, digest in answer["sha256"].items()})
                if bar is not None and answer["sha256"]:
                    bar.update(1)
                if count % _SAVE_EVERY == 0:
                    self._save()
        finally:
            self._save()

    def _requests(self, numbers: Sequence[int], distinct: bool) -> list[dict[str, Any]]:
        """Return what must be made before every wanted game can be handed out."""
        wanted = set(numbers)
        requests = []
        for number, seed in self._choose(numbers, distinct).items():
            if seed not in self._tried or (number in wanted and not self._is_whole(seed)):
                share = None if self.family.has_own_splits else [SPLITS.index(self.split), len(SPLITS)]
                requests.append(
                    {
                        "challenge": self.family.challenge,
                        "settings": self.family.settings_for(self.split),
                        "seed": self.family.draw(seed),
                        "own_seed": seed,
                        "share": share,
                        "stem": str(self._stem(seed)) if number in wanted else None,
                    }
                )
        return requests

    def _choose(self, numbers: Sequence[int], distinct: bool) -> dict[int, int]:
        """Return the seed of every wanted game: the first untried one, or the first that yields a game.

        Distinct games are new among all with smaller numbers, whose seeds are returned too.
        """
        taken: set[str] = set()
        seeds = {}
        for number in range(max(numbers) + 1) if distinct else numbers:
            seeds[number] = self._first_usable(number, taken)
            fingerprint = self._tried.get(seeds[number])
            if distinct and fingerprint is not None:
                taken.add(fingerprint)
        return seeds

    def _first_usable(self, number: int, taken: set[str]) -> int:
        first = (SPLITS.index(self.split) + 1) * MAX_GAMES * _ATTEMPTS + number * _ATTEMPTS
        for seed in range(first, first + _ATTEMPTS):
            fingerprint = self._tried.get(seed, "untried")
            if fingerprint is not None and fingerprint not in taken:
                return seed
        raise GameGenerationError(
            f"None of {_ATTEMPTS} seeds gave a new game number {number} of {self.family.name!r} ({self.split}). "
            "The level has too few different games; ask for fewer or choose a harder level."
        )

    def _is_whole(self, seed: int) -> bool:
        """Whether both files of a game are there and are what they were when they were made."""
        stem = self._stem(seed).name
        names = (stem + ".json", stem + ".z8")
        return all(name in self._hashes and _digest(self.folder / name) == self._hashes[name] for name in names)

    def _stem(self, seed: int) -> Path:
        identifier = f"{seed}s{self.family.seed}" if self.family.seed else str(seed)
        name = GameName(challenge=self.family.challenge, split=self.split, skills=self.family.name, identifier=identifier)
        return self.folder / str(name)

    @property
    def _index(self) -> Path:
        return self.folder / "hashes.json"

    def _load(self) -> None:
        """Read the list of hashes."""
        try:
            index = json.loads(self._index.read_text(encoding="utf-8"))
            tried = {int(seed): fingerprint for seed, fingerprint in index["fingerprints"].items()}
            hashes = dict(index["sha256"])
        except (OSError, ValueError, KeyError, AttributeError):
            return  # no list, or a broken one: every game is made again
        self._tried, self._hashes = tried, hashes

    def _save(self) -> None:
        index = {"fingerprints": dict(sorted(self._tried.items())), "sha256": dict(sorted(self._hashes.items()))}
        write_atomically(self._index, json.dumps(index, indent=1).encode())


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, ``None`` if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes off a folder, which is created."""
    filelock = require("filelock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise GameGenerationError(
            f"The game cache {str(folder)!r} cannot be written: {error.strerror}. "
            "Set XDG_CACHE_HOME to a folder that can, or pass one as cache."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _progress_bar(total: int, title: str) -> Any:
    return require("tqdm").tqdm(total=total, desc=title, unit="game", smoothing=0.1)
