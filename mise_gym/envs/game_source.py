"""Where an environment's games come from: generated ones, or files that somebody has."""

import hashlib
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from mise_gym.envs.compiler import Compiler
from mise_gym.envs.game_logic import load_game
from mise_gym.envs.game_sets import RECIPE
from mise_gym.envs.game_worker import write_atomically
from mise_gym.envs.games import cache_folder, make_game, number_of
from mise_gym.envs.levels import SPLITS, GameFamily, check_split
from mise_gym.errors import ConfigError, GameFileError
from mise_gym.extras import require
from mise_gym.registry import unknown_name

_SUFFIXES: Final = (".z8", ".json", ".ulx")
_NO_GAMES: Final = ("hashes.json", RECIPE)
"""Files that lie beside games."""

logger = logging.getLogger(__name__)


class GameSource(Protocol):
    """A numbered list of games per split."""

    def count(self, split: str) -> int:
        """Return how many games a split has."""
        ...

    def path(self, split: str, number: int) -> Path:
        """Return the ``.z8`` file of a game; ``number`` is in range."""
        ...

    def find(self, name: str) -> tuple[str, int] | None:
        """Return split and number of the game with this name (its file without suffix), ``None`` if there is none."""
        ...


class GeneratedGames:
    """Games of a family, each made when it is first played.

    Args:
        family: Generator and settings.
        num_games: Games per split, the same for all or by split.

    Raises:
        ConfigError: A number below 1.
    """

    def __init__(self, family: GameFamily, num_games: int | Mapping[str, int]) -> None:
        self._family = family
        counts = dict.fromkeys(SPLITS, num_games) if isinstance(num_games, int) else dict(num_games)
        for split, count in counts.items():
            check_split(split)
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"num_games is {count!r} for {split!r}; it must be at least 1.")
        self._counts = counts
        self._paths: dict[tuple[str, int], Path] = {}

    def count(self, split: str) -> int:
        """Return how many games a split has."""
        return self._counts.get(split, 0)

    def path(self, split: str, number: int) -> Path:
        """Return the file of a game, which is made if need be; errors as ``make_games``."""
        if (split, number) not in self._paths:
            self._paths[split, number] = make_game(self._family, split, number)
        return self._paths[split, number]

    def find(self, name: str) -> tuple[str, int] | None:
        """Return split and number of the game with this name."""
        found = number_of(name)
        if found is None or found[1] >= self.count(found[0]):
            return None
        return found if self.path(*found).stem == name else None


class GivenGames:
    """Game files from a path, a folder or a list of paths.

    Files below a folder called "train", "valid" or "test" belong to that split, all others to "train". A game of which only the
    ``.json`` file is there is compiled into the cache when it is first played.

    Args:
        games: A ``.z8`` or ``.json`` file, a folder (searched with its sub-folders), or a list of such.

    Raises:
        GameFileError: A path does not exist, or holds no game that can be played.
    """

    def __init__(self, games: str | Path | Sequence[str | Path]) -> None:
        paths = [games] if isinstance(games, str | Path) else list(games)
        splits = dict(found for path in paths for found in _files(Path(path).expanduser().absolute()))
        preferred_last = sorted(splits, key=lambda file: _SUFFIXES.index(file.suffix), reverse=True)
        best = {file.with_suffix(""): file for file in preferred_last}
        playable = [file for file in best.values() if file.suffix != ".ulx"]
        if not playable:
            raise GameFileError(_nothing_playable(paths, bool(best)))
        if len(playable) < len(best):
            logger.warning(
                "%d of %d games are there only as .ulx files, which TextWorld 1.7 cannot play; they are left out.",
                len(best) - len(playable),
                len(best),
            )
        self._games: dict[str, list[Path]] = {split: [] for split in SPLITS}
        for file in sorted(playable):
            self._games[splits[file]].append(file)

    def count(self, split: str) -> int:
        """Return how many games a split has."""
        return len(self._games[split])

    def names(self, split: str) -> list[str]:
        """Return the names of the games of a split, in their order."""
        return [file.stem for file in self._games[split]]

    def path(self, split: str, number: int) -> Path:
        """Return the ``.z8`` file of a game, which is compiled if only its description is there."""
        file = self._games[split][number]
        return file if file.suffix == ".z8" else compile_description(file)

    def find(self, name: str) -> tuple[str, int] | None:
        """Return split and number of the game with this name."""
        for split, files in self._games.items():
            for number, file in enumerate(files):
                if file.stem == name:
                    return split, number
        return None


def choose_game(source: GameSource, game: Any, split: str | None, default_split: str, rng: Any) -> tuple[str, Path]:
    """Return split and file of the game that reset options choose.

    Args:
        source: The games.
        game: Its number in the split, its name, a path of a file, or ``None`` to draw one.
        split: The split, or ``None`` for the default one.
        default_split: The split to take if nothing else decides.
        rng: Generator to draw with.

    Raises:
        ConfigError: No such game, or a split without games.
        GameFileError: The path cannot be played.
    """
    if split is not None:
        check_split(split)
    if isinstance(game, Path) or (isinstance(game, str) and (Path(game).suffix in _SUFFIXES or "/" in game)):
        given = GivenGames(game)
        found = next((name, 0) for name in SPLITS if given.count(name))
        return split or found[0], given.path(*found)
    if isinstance(game, str):
        return _by_name(source, game, split)
    chosen = split or default_split
    count = source.count(chosen)
    if count == 0:
        there = ", ".join(repr(name) for name in SPLITS if source.count(name))
        raise ConfigError(f"The split {chosen!r} has no games. There are games in: {there}.")
    number = int(rng.integers(count)) if game is None else game
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
        raise ConfigError(f"The game is {game!r}; it must be a number from 0 to {count - 1}, a name or a path.")
    return chosen, source.path(chosen, number)


def compile_description(description: Path) -> Path:
    """Return the ``.z8`` file of a game of which only the ``.json`` file is there, compiled into the cache once.

    Raises:
        GameFileError: The file is no description of a game.
        GameGenerationError: The compiler failed.
    """
    content = description.read_bytes()
    folder = cache_folder().parent / "compiled" / hashlib.sha256(content).hexdigest()[:16]
    story = folder / f"{description.stem}.z8"
    if not story.exists():
        source = require("textworld.generator.inform7").generate_inform7_source(load_game(description))
        with tempfile.TemporaryDirectory(prefix="mise_gym_") as scratch:
            program = Compiler.find(Path(scratch)).compile(source, Path(scratch))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(story.with_suffix(".json"), content)
        write_atomically(story, program)
    return story


def _by_name(source: GameSource, name: str, split: str | None) -> tuple[str, Path]:
    found = source.find(name)
    if found is None:
        known = [source.path(kind, 0).stem for kind in SPLITS if source.count(kind)]
        raise unknown_name("game", name, known)
    if split is not None and split != found[0]:
        raise ConfigError(f"The game {name!r} is in the split {found[0]!r}, not in {split!r}. Leave the split out.")
    return found[0], source.path(*found)


def _files(path: Path) -> list[tuple[Path, str]]:
    """Return the game files at or below a path, each with its split: that of the nearest folder named like one."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.name not in _NO_GAMES]
        return [(file, _split_of((path.name, *file.parent.relative_to(path).parts))) for file in files]
    if not path.exists():
        raise GameFileError(f"There is no game at {str(path)!r}. Check the path.")
    if path.suffix not in _SUFFIXES:
        raise GameFileError(f"{str(path)!r} is no game file: its name must end in .z8, with a .json file beside it.")
    return [(path, _split_of((path.parent.name,)))]


def _split_of(folders: Sequence[str]) -> str:
    for folder in reversed(folders):
        match = re.fullmatch(r"(train|valid|test)(_?\d+)?", folder)
        if match:
            return match[1]
    return "train"


def _nothing_playable(paths: Sequence[str | Path], has_glulx: bool) -> str:
    where = ", ".join(repr(str(path)) for path in paths)
    if has_glulx:
        return (
            f"In {where} there are only .ulx files, which TextWorld 1.7 cannot play. Get the .z8 and .json files of the same "
            "games; the competition's archive has them."
        )
    return f"In {where} there is no game. Give .z8 files with their .json files beside them."
