"""Games of TextWorld: the cooking games of First TextWorld Problems, and those of the other generators."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, Literal

import gymnasium as gym

from mise_gym.envs.games import make_games
from mise_gym.envs.levels import CHALLENGES, GameFamily, cooking_family, game_family
from mise_gym.errors import ConfigError
from mise_gym.train.demonstrations import LabelledRecorder
from mise_gym.train.rollout import TextEnvironment
from mise_gym.train.tasks import Split, TaskSet

_COOKING: Final = "tw-cooking"


@dataclass(frozen=True, kw_only=True)
class TextWorldConfig:
    """Which games ``--env textworld`` plays; cooking games are ``--env ftwp`` with ``games.level``."""

    challenge: str = "custom"
    """The generator: tw-simple, tw-coin_collector, tw-treasure_hunter or custom."""
    settings: str = "rooms=6+objects=8+quest_length=6"
    """Its settings, joined by "+" as in the names of the games; what is left out has the generator's own default."""

    def __post_init__(self) -> None:
        """Check generator and settings."""
        if self.challenge == _COOKING:
            raise ConfigError("The setting 'textworld.challenge' is 'tw-cooking'. For cooking games, write --env ftwp.")
        self.family()

    def family(self) -> GameFamily:
        """Return the family of the games.

        Raises:
            UnknownNameError: No such generator or setting.
            ConfigError: A value that the generator does not know.
        """
        return game_family(self.challenge, None, self.mapping())

    def mapping(self) -> dict[str, Any]:
        """Return the settings by name."""
        pairs = [word.partition("=")[::2] for word in self.settings.split("+") if word]
        known = CHALLENGES.get(self.challenge, {})
        return {name: next((value for value in known.get(name, ()) if str(value) == text), text) for name, text in pairs}


class GameRecorder(LabelledRecorder):
    """The plan is the simulator's own: it can be asked in any state, again every turn.

    In front of it stands what the expert does only to learn something (reading the cookbook), until it is done.
    """

    def __init__(self, env: TextEnvironment, options: Mapping[str, Any], seed: int | None = None) -> None:
        super().__init__(env, options, seed)
        solution = env.unwrapped.expert_actions()  # type: ignore[attr-defined]  # part of every TextEnv
        self._to_learn = list(takewhile(lambda action: action not in self.info["policy_commands"], solution))

    @property
    def plan(self) -> list[str]:
        """What the expert would still do; empty when the game is over or can no longer be won."""
        plan = list(self.info["policy_commands"])
        return self._to_learn + plan if plan else []

    def follow(self, action: str, plan: list[str]) -> None:  # noqa: ARG002  # the simulator is asked again
        """Note what has been learnt."""
        if action in self._to_learn:
            self._to_learn.remove(action)


class _GameTasks(TaskSet):
    """Games of one family."""

    recorder_class = GameRecorder

    @property
    @abstractmethod
    def family(self) -> GameFamily:
        """What the games are made from."""

    @property
    @abstractmethod
    def _made_with(self) -> dict[str, Any]:
        """Id and arguments that choose the same games for an environment."""

    def prepare(self, *, progress: bool) -> None:
        """Make the games that are not in the cache yet."""
        for split, count in self._counts.items():
            make_games(self.family, split, count, progress=progress)

    def make_env(self, reward_mode: Literal["sparse", "dense"], *, labelled: bool = False) -> TextEnvironment:
        """Return a new environment; with plans if it shall label."""
        infos = ("admissible_commands", "policy_commands") if labelled else ("admissible_commands",)
        max_turns = self.config.games.max_turns
        return gym.make(**self._made_with, num_games=self._counts, max_turns=max_turns, reward_mode=reward_mode, infos=infos)

    def _options(self, split: Split, count: int) -> list[dict[str, Any]]:
        return [{"split": split, "game": game} for game in range(count)]

    @property
    def _counts(self) -> dict[str, int]:
        return {"train": self.config.games.train, "valid": self.config.games.heldout}


class CookingTasks(_GameTasks):
    """Cooking games of ``games.level``."""

    @property
    def family(self) -> GameFamily:
        """What the games are made from."""
        return cooking_family(self.config.games.level)

    @property
    def _made_with(self) -> dict[str, Any]:
        return {"id": "mise/FTWP-v0", "level": self.config.games.level}


class TextWorldTasks(_GameTasks):
    """Games of the generator that ``textworld`` names."""

    @property
    def family(self) -> GameFamily:
        """What the games are made from."""
        return self.config.textworld.family()

    @property
    def _made_with(self) -> dict[str, Any]:
        chosen = self.config.textworld
        return {"id": "mise/TextWorld-v0", "challenge": chosen.challenge, "settings": chosen.mapping()}
