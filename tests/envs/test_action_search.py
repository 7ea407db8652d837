"""The search of possible actions against TextWorld's own."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mise_gym.envs.action_search import ActionSearch
from mise_gym.envs.game_logic import load_game
from mise_gym.envs.games import make_game
from mise_gym.envs.levels import game_family
from mise_gym.envs.tracker import by_specificity
from mise_gym.extras import require

pytestmark = pytest.mark.integration

WORLD = """
    type place {}
    type thing { predicates { at(thing, place); near(thing, thing); } }
    type tool : thing {
        predicates { broken(tool); whole(tool); }
        rules { mend :: broken(tool) & $at(tool, place) -> whole(tool); }
    }
    type box : tool { rules {
        swap   :: near(thing, thing') & near(thing', thing) -> near(thing, thing);
        admire :: near(thing, thing) -> at(thing, place);
        send   :: at(box, place) -> at(box, place');
        call   :: $at(tool, place) & $at(thing, place) -> near(tool, thing);
        greet  :: $at(hero: thing, place) & $at(thing, place) -> near(thing, hero: thing);
    } }
"""
"""Subtypes, a thing in two places of a fact, two of a type, a place of which no fact is required, a hero who is always ``h``."""
FACTS = (
    "at(h: thing, x: place)",
    "at(a: box, x: place)",
    "at(b: tool, x: place)",
    "at(c: thing, y: place)",
    "at(d: box, z: place)",
    "broken(d: box)",
    "broken(b: tool)",
    "near(a: box, b: tool)",
    "near(b: tool, a: box)",
    "near(c: thing, c: thing)",
)


def theirs(actions: list[Any], knowledge: Any, inform7: Any) -> list[tuple[str, str]]:
    events = [knowledge.inform7_events[each.name].format(**inform7._get_name_mapping(each)).lower() for each in actions]
    return list(zip(events, inform7.gen_commands_from_actions(actions), strict=True))


@pytest.mark.parametrize("name", ["basic", "hard", "tw-simple", "tw-coin_collector", "tw-treasure_hunter"])
def test_the_actions_of_real_games_are_those_that_textworld_finds(name: str) -> None:
    generator, inform7s = require("textworld.generator.game"), require("textworld.generator.inform7")
    game = load_game(make_game(game_family(name, None, None) if name.startswith("tw-") else name, "train", 0))
    inform7, rng = inform7s.Inform7Game(game), np.random.default_rng(0)
    search, progress = ActionSearch(game.kb, inform7), generator.GameProgression(game, track_quests=False)
    for _ in range(40):
        ours = search.possibilities(progress.state.facts)
        valid = by_specificity(progress.valid_actions)

        assert sorted((each.event, each.command) for each in ours) == sorted(theirs(valid, game.kb, inform7))
        assert [len(each.action.preconditions) for each in ours] == [len(each.preconditions) for each in valid]
        progress.update(ours[int(rng.integers(len(ours)))].action)


def test_rules_with_subtypes_repeated_and_open_places_find_what_textworld_finds() -> None:
    logics = require("textworld.logic")
    logic = logics.GameLogic.parse(WORLD)
    names = {name: SimpleNamespace(name=f"the {name}") for name in "abcdhxyz"}
    constants = {logics.Placeholder("hero", "thing"): logics.Variable("h", "thing")}
    knowledge = SimpleNamespace(
        rules=logic.rules,
        logic=logic,
        types=SimpleNamespace(constants_mapping=constants),
        inform7_events=dict.fromkeys(logic.rules, "something"),
    )
    inform7 = SimpleNamespace(entity_infos=names, gen_commands_from_actions=lambda actions: [str(each) for each in actions])
    state = logics.State(logic, [logics.Proposition.parse(fact) for fact in FACTS])

    found = [each.command for each in ActionSearch(knowledge, inform7).possibilities(state.facts)]

    assert sorted(found) == sorted(str(action) for action in state.all_applicable_actions(logic.rules.values(), constants))
    assert {command.split(" :: ")[0] for command in found} == set(logic.rules)
