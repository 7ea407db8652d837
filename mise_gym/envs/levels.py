"""The difficulty names of cooking games ("recipe1+take1+cook+cut+open") and the families of games that can be made."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.extras import version_of
from mise_gym.registry import unknown_name

SPLITS: Final = ("train", "valid", "test")
"""The splits of every family of games."""

LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "easy": "recipe1+take1+open",
        "demo": "recipe1+take1+cook+open+mixed",
        "basic": "recipe1+take1+cook+cut+open",
        "medium": "recipe2+take2+cook+cut+open",
        "hard": "recipe3+take3+cook+cut+open+go6",
        "competition": "recipe3+take3+cook+cut+open+drop+go12",
    }
)
"""Short name -> difficulty name. Any other difficulty name works too."""

DEFAULT_LEVEL: Final = LEVELS["basic"]

CHALLENGES: Final[Mapping[str, Mapping[str, tuple[Any, ...]]]] = MappingProxyType(
    {
        "tw-simple": {"rewards": ("dense", "balanced", "sparse"), "goal": ("detailed", "brief", "none"), "test": (False, True)},
        "tw-coin_collector": {"level": (*range(1, 151), *range(201, 234))},  # TextWorld 1.7 compiles at most 100 rooms
        "tw-treasure_hunter": {"level": tuple(range(1, 31))},
        "custom": {
            "rooms": (5, *range(1, 5), *range(6, 51)),
            "objects": (10, *range(1, 10), *range(11, 101)),
            "quests": (1, *range(2, 11)),
            "quest_length": (5, *range(1, 5), *range(6, 31)),
            "quest_breadth": (1, *range(2, 11)),
            "theme": ("house", "basic"),
            "adjectives": (False, True),
        },
    }
)
"""Generator -> setting -> the values it may have, the default first."""

_COUNTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"recipe": (1, 2, 3, 4, 5), "take": (0, 1, 2, 3, 4, 5), "go": (1, 6, 9, 12)}
)
_FLAGS: Final = ("cook", "cut", "open", "drop", "mixed")
_ORDER: Final = ("recipe", "take", "cook", "cut", "open", "drop", "go", "mixed")


@dataclass(frozen=True)
class GameFamily:
    """All games of one generator with one choice of settings; a seed picks one of them."""

    challenge: str
    """Name of a generator built into TextWorld: "tw-cooking" or a key of ``CHALLENGES``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The generator's settings, without its seed and split."""
    name: str = ""
    """A readable name for folders and files."""
    seed: int = 0
    """Another number gives other games of the same kind."""

    def __post_init__(self) -> None:
        """Check the seed."""
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"The seed is {self.seed!r}; it must be a whole number from 0 up.")

    def draw(self, seed: int) -> int:
        """Return the seed for the generator that a game's own seed stands for, below 2**32."""
        if not self.seed:
            return seed
        return int(hashlib.sha256(f"{self.seed}/{seed}".encode()).hexdigest()[:8], 16)

    def settings_for(self, split: str) -> dict[str, Any]:
        """Return the generator's settings for a split."""
        if self.challenge != "tw-cooking":
            return dict(self.settings)
        settings = {key: value for key, value in self.settings.items() if key != "mixed"}
        return {**settings, "recipe_seed": 0, "split": None if self.settings["mixed"] else split}

    @property
    def has_own_splits(self) -> bool:
        """Whether the generator itself keeps the splits apart.

        The recipes of cooking games do, but for a few foods (salt, water) that are neither cooked nor cut in any split.
        """
        if self.challenge != "tw-cooking" or self.settings["mixed"]:
            return False
        return bool(self.settings["cook"] or self.settings["cut"])

    @property
    def folder(self) -> str:
        """Name of the family's cache folder: the name and a hash of all that decides what its games are."""
        parts = [self.challenge, dict(self.settings), version_of("textworld"), 1]
        key = json.dumps([*parts, self.seed] if self.seed else parts, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def parse_level(level: str) -> dict[str, Any]:
    """Return the generator's settings for a difficulty name.

    Args:
        level: A key of ``LEVELS``, or skills joined by ``+`` in any order: ``recipeN`` (ingredients, 1 to 5), ``takeN`` (how many
            of them must be found, at most ``recipe``), ``goN`` (rooms: 1, 6, 9 or 12), ``cook``, ``cut``, ``open``, ``drop``
            (limited inventory). ``mixed`` is ours: every split draws from all foods and preparations; without it the valid and
            test splits have foods and preparations that training never shows, as in the competition.

    Raises:
        UnknownNameError: A skill that does not exist.
        ConfigError: A number out of range, a skill named twice, or more ingredients to take than in the recipe.

    Example:
        >>> parse_level("recipe1+take1+cut")["take"], parse_level("recipe1+take1+cut")["go"]
        (1, 1)
    """
    settings: dict[str, Any] = {"recipe": 1, "take": 0, "go": 1, **dict.fromkeys(_FLAGS, False)}
    seen: set[str] = set()
    for token in LEVELS.get(level, level).split("+"):
        skill, value = _parse_skill(token, level)
        if skill in seen:
            raise ConfigError(f"The level {level!r} names {skill!r} twice. Name each skill once.")
        seen.add(skill)
        settings[skill] = value
    if settings["take"] > settings["recipe"]:
        raise ConfigError(
            f"The level {level!r} takes {settings['take']} of {settings['recipe']} ingredients. Lower take or raise recipe."
        )
    return settings


def level_name(settings: Mapping[str, Any]) -> str:
    """Return the difficulty name of settings, skills in the competition's order.

    Example:
        >>> level_name(parse_level("cut+take1+recipe1+go1"))
        'recipe1+take1+cut'
    """
    left_out = {"go": 1, "take": 0}
    parts = [
        f"{skill}{settings[skill]}" if skill in _COUNTS else skill
        for skill in _ORDER
        if settings[skill] and settings[skill] != left_out.get(skill)
    ]
    return "+".join(parts)


def cooking_family(level: str) -> GameFamily:
    """Return the family of cooking games with a difficulty name; errors as ``parse_level``."""
    settings = parse_level(level)
    return GameFamily("tw-cooking", settings, level_name(settings))


def game_family(challenge: str, level: str | None, settings: Mapping[str, Any] | None) -> GameFamily:
    """Return the family of games of one of TextWorld's generators.

    Args:
        challenge: "tw-cooking" or a key of ``CHALLENGES``.
        level: Difficulty name, for "tw-cooking" only; ``None`` means ``DEFAULT_LEVEL``.
        settings: Settings of the other generators; ``None`` and what is left out mean the first of ``CHALLENGES``.

    Raises:
        UnknownNameError: No such generator, setting or level.
        ConfigError: A value that the generator does not know, or an argument of another generator.
    """
    if challenge == "tw-cooking":
        if settings is not None:
            raise ConfigError("Cooking games have a level, not settings. Give for example level='recipe1+take1+cook+cut+open'.")
        return cooking_family(level or DEFAULT_LEVEL)
    if challenge not in CHALLENGES:
        raise unknown_name("challenge", challenge, ["tw-cooking", *CHALLENGES])
    if level is not None:
        raise ConfigError(
            f"Only cooking games have a level name; {challenge} has the settings {', '.join(CHALLENGES[challenge])}."
        )
    chosen = {name: values[0] for name, values in CHALLENGES[challenge].items()}
    for name, value in (settings or {}).items():
        if name not in chosen:
            raise unknown_name("setting", name, chosen)
        if value not in CHALLENGES[challenge][name]:
            allowed = _spans(CHALLENGES[challenge][name])
            raise ConfigError(f"The setting {name} of {challenge} is {value!r}; it must be one of {allowed}.")
        chosen[name] = value
    return GameFamily(challenge, chosen, "+".join(f"{name}={value}" for name, value in chosen.items()))


def check_split(split: str) -> str:
    """Return ``split`` if it is one of ``SPLITS``.

    Raises:
        UnknownNameError: It is not.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, list(SPLITS))
    return split


def _spans(values: tuple[Any, ...]) -> str:
    """Name the values, runs of whole numbers as "1 to 150"."""
    if not all(type(value) is int for value in values):
        return ", ".join(map(repr, values))
    numbers = sorted(values)
    firsts = [number for number in numbers if number - 1 not in numbers]
    lasts = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(f"{first} to {last}" if first < last else str(first) for first, last in zip(firsts, lasts, strict=True))


def _parse_skill(token: str, level: str) -> tuple[str, int | bool]:
    """Split "recipe3" into ("recipe", 3) and "cook" into ("cook", True)."""
    match = re.fullmatch(r"(recipe|take|go)(\d{1,3})", token)
    if match:
        skill, number = match[1], int(match[2])
        if number not in _COUNTS[skill]:
            allowed = ", ".join(map(str, _COUNTS[skill]))
            raise ConfigError(f"The level {level!r} has {token!r}; {skill} must be one of {allowed}.")
        return skill, number
    if token in _FLAGS:
        return token, True
    known = [*LEVELS, *_FLAGS, *(f"{skill}{number}" for skill, numbers in _COUNTS.items() for number in numbers)]
    raise unknown_name("level or skill", token, known)
