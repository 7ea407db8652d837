"""GameName: the names of game files, as the First TextWorld Problems competition and TextWorld's generators write them."""

import re
from dataclasses import dataclass
from typing import Any, Final

from mise_gym.envs.levels import parse_level
from mise_gym.errors import ConfigError

_GRAMMAR: Final = re.compile(r"(tw-[a-z_]+|custom)(?:-(train|valid|test))?-([^-]+)-([^-]+)")


@dataclass(frozen=True, kw_only=True)
class GameName:
    """What the name of a game says: ``CHALLENGE[-SPLIT]-SKILLS-IDENTIFIER``.

    Example:
        >>> name = GameName.parse("tw-cooking-recipe2+take2+cut+open-BnYEixa9iJKmFZxO")
        >>> name.skills, name.settings["take"], str(name)
        ('recipe2+take2+cut+open', 2, 'tw-cooking-recipe2+take2+cut+open-BnYEixa9iJKmFZxO')
    """

    challenge: str
    """Name of the generator, such as "tw-cooking"."""
    skills: str
    """The difficulty: skills joined by ``+``."""
    identifier: str
    """What tells games of the same difficulty apart."""
    split: str | None = None
    """"train", "valid" or "test"; ``None`` in the names of the competition, where the folder tells."""

    @classmethod
    def parse(cls, name: str) -> "GameName":
        """Read the name of a game (its file without suffix).

        Raises:
            ConfigError: It is none.
        """
        match = _GRAMMAR.fullmatch(name)
        if match is None:
            raise ConfigError(
                f"{name!r} is not the name of a game. Names look like 'tw-cooking-recipe2+take2+cut+open-BnYEixa9iJKmFZxO'."
            )
        return cls(challenge=match[1], split=match[2], skills=match[3], identifier=match[4])

    @property
    def settings(self) -> dict[str, Any]:
        """The generator's settings of a cooking game; errors as ``parse_level``."""
        return parse_level(self.skills)

    def __str__(self) -> str:
        """Return the name."""
        return "-".join(part for part in (self.challenge, self.split, self.skills, self.identifier) if part)
