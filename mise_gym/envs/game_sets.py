"""Game sets: folders of generated games that can be handed on, in the competition's layout and with a list of hashes.

A set has the folders ``train``, ``valid`` and ``test`` with a ``.z8`` and a ``.json`` file per game; ``game_set.json``, which
says what it was made from; and ``SHA256SUMS``, which ``sha256sum -c`` reads too and which is the same on every machine.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.game_pool import GamePool
from mise_gym.envs.game_worker import write_atomically
from mise_gym.envs.games import count_workers, make_games
from mise_gym.envs.levels import SPLITS, GameFamily, check_split
from mise_gym.errors import ConfigError, GameFileError, GameGenerationError
from mise_gym.extras import require, version_of

SUMS: Final = "SHA256SUMS"
"""Name of the list of hashes: a line per file, in the order of their names."""
RECIPE: Final = "game_set.json"
"""Name of the file that says what a set was made from."""
_SUFFIXES: Final = (".json", ".z8")


@dataclass(frozen=True, kw_only=True)
class GameSet:
    """A set of games in a folder."""

    folder: Path
    counts: Mapping[str, int]
    """Games per split."""
    digest: str
    """SHA-256 of the list of hashes: two sets with the same digest are the same."""


def make_game_set(
    folder: Path,
    family: GameFamily,
    counts: Mapping[str, int],
    *,
    workers: int | None = None,
    progress: bool = True,
    cache: Path | None = None,
) -> GameSet:
    """Make a set of games, or what is missing of it; an interrupted call is continued by the same call.

    The games are made in the cache and linked (or else copied) from there, so that they are made once.

    Args:
        folder: Where the set goes; created if need be. One that holds a set already may only grow.
        family: Generator, settings and seed.
        counts: Games per split; splits that are left out have none.
        workers: Processes to make games with; ``None`` means one per CPU core.
        progress: Whether to show a progress bar per split.
        cache: As for ``make_games``.

    Raises:
        ConfigError: No games, or the folder holds something else.
        GameGenerationError: As for ``make_games``, or the folder cannot be written.
    """
    wanted = {check_split(split): count for split, count in counts.items() if count}
    if not wanted:
        raise ConfigError("No games are asked for. Give at least one split a number of games above 0.")
    pool = GamePool(count_workers(workers))
    _begin(folder, _recipe(family, wanted))
    sums: dict[str, str] = {}
    with pool:
        for split in sorted(wanted, key=SPLITS.index):
            for path in make_games(family, split, wanted[split], workers=pool, progress=progress, cache=cache):
                for file in (path.with_suffix(suffix) for suffix in _SUFFIXES):
                    sums[f"{split}/{file.name}"] = _place(file, folder / split / file.name)
    content = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
    write_atomically(folder / SUMS, content)
    return GameSet(folder=folder, counts=wanted, digest=hashlib.sha256(content).hexdigest())


def check_game_set(folder: Path, against: Path | None = None, *, progress: bool = True) -> list[str]:
    """Compare the files of a set with its list of hashes, and the list with another one.

    Args:
        folder: The set.
        against: A list of hashes from elsewhere, or a folder that has one; ``None`` means none.
        progress: Whether to show a progress bar.

    Returns:
        One sentence per difference; empty if there is none.

    Raises:
        GameFileError: There is no list of hashes, or it cannot be read.
    """
    listed = read_sums(folder)
    names = require("tqdm").tqdm(listed, desc="checking", unit="file", disable=not progress)
    found = {name: _digest(folder / name) for name in names}
    there = {f"{split}/{file.name}" for split in SPLITS for file in (folder / split).glob("*") if file.suffix in _SUFFIXES}
    problems = [_difference(name, digest, found[name]) for name, digest in listed.items()]
    problems += [f"{name} is not in {SUMS}." for name in sorted(there - set(listed))]
    if against is not None:
        other = read_sums(against)
        names = sorted({*listed, *other})
        problems += [_other_list(name, listed.get(name), other.get(name)) for name in names]
    return [problem for problem in problems if problem]


def read_sums(path: Path) -> dict[str, str]:
    """Return a list of hashes, by the name of the file.

    Args:
        path: The list, or the folder of a set.

    Raises:
        GameFileError: There is none, or it cannot be read.
    """
    file = path / SUMS if path.is_dir() else path
    try:
        lines = [line.split("  ", 1) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeError) as error:
        raise GameFileError(
            f"There is no list of hashes at {str(file)!r}: it is written when a set is complete. "
            "Run `mise-gym games make` again, or check the path."
        ) from error
    if not lines or any(len(line) != 2 or len(line[0]) != 64 for line in lines):
        raise GameFileError(f"{str(file)!r} is not a list of hashes. Its lines must be a SHA-256, two blanks and a name.")
    return {name: digest for digest, name in lines}


def _recipe(family: GameFamily, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "challenge": family.challenge,
        "settings": dict(family.settings),
        "seed": family.seed,
        "textworld": version_of("textworld"),
        "counts": dict(counts),
    }


def _begin(folder: Path, recipe: dict[str, Any]) -> None:
    """Create the folder of a set, or check that it holds no other one."""
    before = _read_recipe(folder)
    if before is not None:
        differences = [key for key in recipe if key != "counts" and recipe[key] != before.get(key)]
        fewer = [split for split, count in before["counts"].items() if recipe["counts"].get(split, 0) < count]
        if differences or fewer:
            what = "other " + ", ".join(differences) if differences else "more games in " + ", ".join(fewer)
            raise ConfigError(f"{str(folder)!r} holds a set with {what}. Choose another folder, or remove this one.")
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{str(folder)!r} is not empty and holds no set of games. Choose a new folder.")
    try:
        for split in recipe["counts"]:
            (folder / split).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GameGenerationError(f"{str(folder)!r} cannot be written: {error.strerror}. Choose another folder.") from error
    if before != recipe:
        (folder / SUMS).unlink(missing_ok=True)  # it is only there when the set is complete
        write_atomically(folder / RECIPE, json.dumps(recipe, indent=1).encode())


def _read_recipe(folder: Path) -> dict[str, Any] | None:
    try:
        recipe: dict[str, Any] = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{str(folder / RECIPE)!r} cannot be read ({error}). Choose another folder, or remove this one."
        ) from error
    return recipe


def _place(file: Path, target: Path) -> str:
    """Put a file of the cache into a set and return its hash."""
    digest = _digest(file)
    if digest is None:
        raise GameGenerationError(f"{str(file)!r} has vanished from the cache. Run the same call again.")
    if _digest(target) != digest:
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            _link_or_copy(file, temporary)
            temporary.replace(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise GameGenerationError(
                f"Cannot write {str(target)!r}: {error.strerror}. Free some space and run again."
            ) from error
    return digest


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, target)


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _difference(name: str, listed: str, found: str | None) -> str:
    if found is None:
        return f"{name} is missing."
    return "" if found == listed else f"{name} has changed."


def _other_list(name: str, here: str | None, there: str | None) -> str:
    if here == there:
        return ""
    if here is None or there is None:
        return f"{name} is only in the {'other ' if here is None else ''}list."
    return f"{name} differs from the other list."
