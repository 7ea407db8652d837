"""Tracker: the facts of a TextWorld game's world, kept beside the story, and what can be done in it."""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mise_gym.envs.action_search import ActionSearch
from mise_gym.extras import require

_MAX_OUTLOOKS: Final = 64
"""Most sets of facts, per game, of which it is remembered what can be done; one costs about 10 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What can be done in a world; it depends on nothing but the facts."""

    commands: list[str]
    """Every command that does something, sorted."""
    by_event: Mapping[str, Any]
    """What the story reports, in lower case -> the action that it means."""


class Rulebook:
    """The rules of one game, shared by all who play it.

    Args:
        game: TextWorld's ``Game``.
    """

    def __init__(self, game: Any) -> None:
        self.game = game
        self._inform7 = require("textworld.generator.inform7").Inform7Game(game)
        self._search = ActionSearch(game.kb, self._inform7)
        self._outlooks: OrderedDict[frozenset[Any], Outlook] = OrderedDict()
        self._pristine: dict[bool, Any] = {}
        self._names: dict[str, str] = {}

    def beginning(self, track_quests: bool) -> Any:
        """Return a fresh ``GameProgression``, TextWorld's state of the world and the quests."""
        if track_quests not in self._pristine:
            progression = require("textworld.generator.game").GameProgression
            self._pristine[track_quests] = progression(self.game, track_quests=track_quests)
        progress = copy.copy(self._pristine[track_quests])  # its own copy() searches the valid actions again, which takes 5 ms
        progress.state = progress.state.copy()
        progress.quest_progressions = [quest.copy() for quest in progress.quest_progressions]
        return progress

    def outlook(self, facts: frozenset[Any]) -> Outlook:
        """Return what can be done in a world.

        Args:
            facts: All that is true in it.
        """
        known = self._outlooks.pop(facts, None) or self._look_out(facts)
        while len(self._outlooks) >= _MAX_OUTLOOKS:
            self._outlooks.popitem(last=False)
        self._outlooks[facts] = known
        return known

    def commands_of(self, actions: Iterable[Any]) -> list[str]:
        """Return the commands of TextWorld's actions."""
        return [self._once(name) for name in self._inform7.gen_commands_from_actions(actions)]

    def readable(self, facts: Iterable[Any]) -> list[str]:
        """Return facts with the names of things, sorted."""
        return sorted(self._once(str(self._inform7.get_human_readable_fact(fact))) for fact in facts)

    def play(self, progress: Any, commands: Iterable[str]) -> None:
        """Play commands on a ``GameProgression``, which is changed; those that do nothing are passed over."""
        for command in commands:
            apply_command(progress, self._inform7, command)

    def _look_out(self, facts: frozenset[Any]) -> Outlook:
        possibilities = self._search.possibilities(facts)
        by_event = {possibility.event: possibility.action for possibility in reversed(possibilities)}
        return Outlook(commands=sorted({possibility.command for possibility in possibilities}), by_event=by_event)

    def _once(self, text: str) -> str:
        """Return the same string object for equal strings, so that it is kept once per game."""
        return self._names.setdefault(text, text)


class Tracker:
    """What is true in one player's world.

    Args:
        rulebook: The rules of the game.
        track_quests: Whether the quests are followed too, for ``plan``; costs 2 to 10 ms per command.
    """

    def __init__(self, rulebook: Rulebook, *, track_quests: bool) -> None:
        self.track_quests = track_quests
        """Whether the quests are followed."""
        self._rulebook = rulebook
        self._progress = rulebook.beginning(track_quests)
        self._facts = frozenset(self._progress.state.facts)

    def follow(self, events: Iterable[str]) -> None:
        """Apply what the story reports."""
        for event in events:
            action = self._outlook().by_event.get(event.lower())
            if action is not None:
                self._apply(action)

    def commands(self) -> list[str]:
        """Return every command that does something, sorted."""
        return self._outlook().commands

    def facts(self) -> list[str]:
        """Return the facts, with the names of things, sorted."""
        return self._rulebook.readable(self._facts)

    def plan(self) -> list[str] | None:
        """Return commands that win from here; ``None`` if there are none or the quests are not followed."""
        policy = self._progress.winning_policy
        return None if policy is None else self._rulebook.commands_of(policy)

    def _outlook(self) -> Outlook:
        return self._rulebook.outlook(self._facts)

    def _apply(self, action: Any) -> None:
        """Do what ``GameProgression.update`` does, but for the search of valid actions, which ``Rulebook`` remembers."""
        self._progress.state.apply(action)
        self._facts = self._facts.union(action.added).difference(action.removed)
        for quest in self._progress.quest_progressions:
            quest.update(action, self._progress.state)


def by_specificity(actions: Iterable[Any]) -> list[Any]:
    """Return actions with those of most preconditions first: of several with the same command, the first happens in the game."""
    return sorted(actions, key=lambda action: len(action.preconditions), reverse=True)


def apply_command(progress: Any, inform7: Any, command: str) -> Any:
    """Apply a command to a game's logic and return its action, or ``None`` if it does nothing.

    Args:
        progress: TextWorld's ``GameProgression``, which is changed.
        inform7: TextWorld's ``Inform7Game`` of the same game.
        command: A text command.
    """
    valid = by_specificity(progress.valid_actions)
    commands = inform7.gen_commands_from_actions(valid)
    if command not in commands:
        return None
    action = valid[commands.index(command)]
    progress.update(action)
    return action
