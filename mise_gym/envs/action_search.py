"""ActionSearch: every action that the rules of a TextWorld game allow in a world.

TextWorld tries each rule on all facts of the right kind. Here a fact is looked up by the thing that is known already: with the
room of the player, what is in that room. What an action is called is composed once per game.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

_MAX_KNOWN: Final = 4096
"""Most actions, per game, of which the names are remembered; one costs about 1 kB."""
_EXISTS: Final = ""
"""The fact about every thing that it is there; what a rule leaves open may be any thing of its type."""

Names = tuple[str, ...]
"""What stands in the places of a rule; "" where nothing does yet."""


class Entry(NamedTuple):
    """A fact, by the names and the types of its things."""

    names: Names
    types: tuple[str, ...]


Index = Mapping[Any, Sequence[Entry]]
"""The facts by what they say, and by what they say and one of their things with its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Possibility:
    """An action, and what the story calls it."""

    action: Any
    """TextWorld's ``Action``."""
    command: str
    event: str
    """What the story reports when it happens, in lower case."""


class ActionSearch:
    """Finds every action that the rules of a game allow in a world, as TextWorld's ``State.all_applicable_actions`` does.

    Args:
        knowledge: TextWorld's ``KnowledgeBase`` of the game.
        inform7: TextWorld's ``Inform7Game`` of the game.
    """

    def __init__(self, knowledge: Any, inform7: Any) -> None:
        self._knowledge, self._inform7 = knowledge, inform7
        rules = sorted(knowledge.rules.values(), key=lambda rule: len(rule.preconditions), reverse=True)
        self._queries = [_Query(rule, knowledge) for rule in rules]
        self._known: dict[tuple[str, Names], Possibility] = {}

    def possibilities(self, facts: Iterable[Any]) -> list[Possibility]:
        """Return the actions, those of most preconditions first.

        Args:
            facts: TextWorld's ``Proposition``; all that is true.
        """
        facts = list(facts)
        things = {thing.name: thing for fact in facts for thing in fact.arguments}
        index = _index(facts, things.values())
        return [self._named(query.rule, names, things) for query in self._queries for names in query.matches(index)]

    def _named(self, rule: Any, names: Names, things: Mapping[str, Any]) -> Possibility:
        """Return the possibility of a rule with these things in the places of its placeholders."""
        key = (rule.name, names)
        if key not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            constants = self._knowledge.types.constants_mapping
            mapping = {place: constants.get(place) or things[name] for place, name in zip(rule.placeholders, names, strict=True)}
            self._known[key] = self._describe(rule.instantiate(mapping), mapping)
        return self._known[key]

    def _describe(self, action: Any, mapping: Mapping[Any, Any]) -> Possibility:
        called = {place.name: self._inform7.entity_infos[thing.name].name for place, thing in mapping.items()}
        event = self._knowledge.inform7_events[action.name].format(**called).lower()
        return Possibility(action=action, command=self._inform7.gen_commands_from_actions([action])[0], event=event)


class _Query:
    """The preconditions of a rule, as a query for the things that fulfil them."""

    def __init__(self, rule: Any, knowledge: Any) -> None:
        self.rule = rule
        constants = {place: thing.name for place, thing in knowledge.types.constants_mapping.items()}
        self._start: Names = tuple(constants.get(place, "") for place in rule.placeholders)
        self._conditions: list[_Condition] = []
        bound = set(constants)
        predicates = [(predicate.name, predicate.parameters) for predicate in rule.preconditions]
        for name, places in [*predicates, *((_EXISTS, [place]) for place in rule.placeholders)]:
            if name == _EXISTS and places[0] in bound:
                continue
            slots = tuple(rule.placeholders.index(place) for place in places)
            types = [{kind.name for kind in knowledge.logic.types.get(place.type).subtypes} for place in places]
            anchor = next((position for position, place in enumerate(places) if place in bound), None)
            self._conditions.append(_Condition(name, slots, types, anchor, frozenset(constants.values())))
            bound.update(places)

    def matches(self, index: Index) -> list[Names]:
        """Return the names of the things, in the order of the rule's placeholders, of every way to fulfil it."""
        found = [self._start]
        for condition in self._conditions:
            found = [longer for names in found for longer in condition.extend(names, index)]
            if not found:
                break
        return found


@dataclass(frozen=True, slots=True)
class _Condition:
    """One precondition."""

    fact: str
    slots: tuple[int, ...]
    """Where its things stand among the placeholders of the rule."""
    types: Sequence[set[str]]
    """What each of them may be."""
    anchor: int | None
    """Which of them is known when the condition is looked at; ``None`` if none is."""
    constants: frozenset[str]
    """What only stands for itself."""

    def extend(self, names: Names, index: Index) -> Iterator[Names]:
        """Yield the names with those added that fulfil this condition too."""
        key = self.fact if self.anchor is None else (self.fact, self.anchor, names[self.slots[self.anchor]])
        for entry in index.get(key, ()):
            longer = list(names)
            for slot, name, kind, kinds in zip(self.slots, entry.names, entry.types, self.types, strict=False):
                if kind not in kinds:
                    break
                if not longer[slot] and name not in longer and name not in self.constants:
                    longer[slot] = name
                elif longer[slot] != name:
                    break
            else:
                yield tuple(longer)


def _index(facts: Iterable[Any], things: Iterable[Any]) -> Index:
    """Return facts so that they are found fast, in an order that depends on nothing but the facts."""
    said = [(fact.name, fact.arguments) for fact in facts] + [(_EXISTS, (thing,)) for thing in things]
    entries = [(name, Entry(tuple(thing.name for thing in of), tuple(thing.type for thing in of))) for name, of in said]
    index: dict[Any, list[Entry]] = defaultdict(list)
    for name, entry in sorted(entries):
        index[name].append(entry)
        for position, thing in enumerate(entry.names):
            index[name, position, thing].append(entry)
    return index
