"""``mise-gym games``: sets of TextWorld games."""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from mise_gym.cli.settings import parse_settings
from mise_gym.envs.game_name import GameName
from mise_gym.envs.game_sets import check_game_set, make_game_set
from mise_gym.envs.game_source import GivenGames
from mise_gym.envs.levels import CHALLENGES, SPLITS, game_family
from mise_gym.errors import ConfigError

_DIFFERENT: Final = 1
"""Exit status of ``verify`` when something differs."""
_MOST_SHOWN: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym games``."""
    commands = parser.add_subparsers(dest="games_command", metavar="COMMAND", required=True)
    _add_make(commands.add_parser("make", help=_MAKE, description=_MAKE))
    listing = commands.add_parser("list", help=_LIST, description=_LIST)
    listing.add_argument("folder", type=Path, metavar="DIR", help="a folder of games, such as a set or the competition's")
    verify = commands.add_parser("verify", help=_VERIFY, description=_VERIFY)
    verify.add_argument("folder", type=Path, metavar="DIR", help="a set made by `mise-gym games make`")
    verify.add_argument("--against", type=Path, metavar="FILE", help="another SHA256SUMS, for instance of another machine")


_MAKE: Final = "Make a set of games in the competition's layout. Run it again to go on after an interruption."
_LIST: Final = "Count the games of a folder by split and difficulty."
_VERIFY: Final = "Compare the games of a set with its list of hashes; exit status 1 if anything differs."


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the set goes; a set that is there may only grow")
    generators = ", ".join(["tw-cooking", *CHALLENGES])
    parser.add_argument("--challenge", default="tw-cooking", metavar="NAME", help=f"{generators} (default: %(default)s)")
    parser.add_argument("--level", help="difficulty of cooking games, such as hard or recipe2+take2+cut+open (default: basic)")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="setting of the other generators; may be repeated"
    )
    for split, count in zip(SPLITS, (100, 20, 20), strict=True):
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"{split} games (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other games (default: %(default)s)")
    parser.add_argument("--processes", type=int, metavar="N", help="processes to make games with (default: one per core)")


def run(arguments: argparse.Namespace) -> int:
    """Make, list or verify."""
    commands = {"make": _make, "list": _list, "verify": _verify}
    return commands[arguments.games_command](arguments)


def _make(arguments: argparse.Namespace) -> int:
    settings = parse_settings("--setting", arguments.setting) or None
    family = replace(game_family(arguments.challenge, arguments.level, settings), seed=arguments.seed)
    counts = {split: getattr(arguments, split) for split in SPLITS}
    for split, count in counts.items():
        if count < 0:
            raise ConfigError(f"--{split} is {count}; it must be 0 or more.")
    made = make_game_set(arguments.folder, family, counts, workers=arguments.processes)
    numbers = ", ".join(f"{count} {split}" for split, count in made.counts.items())
    print(f"{str(made.folder)!r}: {numbers} games of {family.challenge} {family.name}, seed {family.seed}.")
    print(f"SHA-256 of its SHA256SUMS: {made.digest}")
    env_id = "mise/FTWP-v0" if family.challenge == "tw-cooking" else "mise/TextWorld-v0"
    print(f"To play them: gym.make({env_id!r}, games={str(made.folder)!r})")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    games = GivenGames(arguments.folder)
    counts = Counter((split, _kind(name)) for split in SPLITS for name in games.names(split))
    width = max(len(kind) for _, kind in counts)
    for (split, kind), count in counts.items():
        print(f"{split:<5}  {kind:<{width}}  {count:>6,}")
    return 0


def _kind(name: str) -> str:
    """Return generator and difficulty of a game, or its name if that does not tell."""
    try:
        parsed = GameName.parse(name)
    except ConfigError:
        return name
    return f"{parsed.challenge} {parsed.skills}"


def _verify(arguments: argparse.Namespace) -> int:
    problems = check_game_set(arguments.folder, arguments.against)
    for problem in problems[:_MOST_SHOWN]:
        print(problem)
    if len(problems) > _MOST_SHOWN:
        print(f"... and {len(problems) - _MOST_SHOWN} more.")
    print(f"{str(arguments.folder)!r}: {f'differences: {len(problems)}' if problems else 'all as listed'}.")
    return _DIFFERENT if problems else 0
