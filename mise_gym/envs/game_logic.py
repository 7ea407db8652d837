"""Small things to do with TextWorld's description of a game."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mise_gym.errors import GameFileError
from mise_gym.extras import require


def load_game(path: Path) -> Any:
    """Return TextWorld's description of a game (the ``.json`` file beside ``path``).

    What older versions of TextWorld wrote differently is brought up to date: the competition's files have the recipe and the
    walkthrough in a section ``extras``, and the actions of their quests do not tell their commands.

    Raises:
        GameFileError: There is none, or it is not TextWorld's.
    """
    description = path.with_suffix(".json")
    try:
        document = json.loads(description.read_text(encoding="utf-8"))
        game = require("textworld").Game.deserialize(document)
        game.metadata = {**document.get("extras", {}), **game.metadata}
        _name_commands(game)
    except FileNotFoundError as error:
        raise GameFileError(
            f"{str(path)!r} has no {description.name!r} beside it, which describes the game. Copy both files of the game."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise GameFileError(
            f"{str(description)!r} is not a TextWorld game description ({error!r}). Copy the game again or make it anew."
        ) from error
    return game


def _name_commands(game: Any) -> None:
    """Give the actions of quests their commands where they have none; otherwise TextWorld warns at each use."""
    events = [event for quest in game.quests for event in (*quest.win_events, *quest.fail_events)]
    nameless = [action for event in events for action in event.actions if not action.command_template]
    if nameless:
        inform7 = require("textworld.generator.inform7").Inform7Game(game)
        for action in nameless:
            names = inform7._get_name_mapping(action)
            action.command_template = game.kb.inform7_commands[action.name].format(**names)


def fingerprint_of(document: Mapping[str, Any]) -> str:
    """Return a hash of what a game contains: its facts by the names of things, its goal and its recipe.

    Two games with the same fingerprint are the same to a player, whatever their seeds.

    Args:
        document: A serialised game.
    """
    names = {key: info["name"] or info["type"] for key, info in document["infos"]}
    facts = sorted(
        [fact["name"], *(names.get(argument["name"], argument["type"]) for argument in fact["arguments"])]
        for fact in document["world"]
    )
    metadata = document["metadata"]
    content = json.dumps([facts, document["objective"], metadata.get("recipe"), metadata.get("ingredients")])
    return hashlib.sha256(content.encode()).hexdigest()
