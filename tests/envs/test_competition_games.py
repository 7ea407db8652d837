"""Games as the First TextWorld Problems competition of 2018 published them: an older description, only some of the files."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from textworld.generator.inform7 import Inform7Game

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.game_logic import load_game
from mise_gym.envs.game_source import GivenGames
from mise_gym.envs.games import make_game
from mise_gym.errors import GameFileError

NAME = "tw-cooking-recipe1+take1+cook+cut+open-BnYEixa9iJKmFZxO"
EMPTY = {"actions": [], "commands": []}
"""What its quests say about the way to win them."""
NEWER = ("optional", "repeatable", "command_template", "reverse_name", "reverse_command_template")
"""What the descriptions of 2018 do not have."""


def without_newer(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: without_newer(value) for key, value in part.items() if key not in NEWER}
    return [without_newer(value) for value in part] if isinstance(part, list) else part


def as_of_2018(document: dict[str, Any]) -> dict[str, Any]:
    """Return a description without what it did not have then, and with what has moved since."""
    old = without_newer({key: value for key, value in document.items() if key != "version"})
    metadata = old["metadata"]
    old["metadata"] = {key: metadata[key] for key in ("seeds", "goal", "ingredients", "entities", "max_score", "uuid")}
    for event in (event for quest in old["quests"] for event in quest["win_events"]):
        event.update(EMPTY)
    old["quests"] = [{**quest, "commands": []} for quest in old["quests"]]
    old["metadata"]["skills"] = {"recipe": 1, "take": 1, "cook": True, "cut": True, "open": True}
    old["extras"] = {"recipe": metadata["recipe"], "walkthrough": metadata["walkthrough"]}
    return old


def commands_of(game: Any) -> list[list[str]]:
    name = Inform7Game(game).gen_commands_from_actions
    return [name(event.actions) for quest in game.quests for event in quest.win_events]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cog2019_ftwp") / "games"
    for split in ("train", "valid", "test"):
        (folder / split).mkdir(parents=True)
    game = make_game("recipe1+take1+cook+cut+open", "train", 0)
    description = as_of_2018(json.loads(game.with_suffix(".json").read_text()))
    shutil.copy(game, folder / "train" / f"{NAME}.z8")
    (folder / "train" / f"{NAME}.json").write_text(json.dumps(description))
    (folder / "train" / f"{NAME}.ulx").write_bytes(b"Glul")
    (folder / "valid" / f"{NAME}.json").write_text(json.dumps(description))
    (folder / "test" / f"{NAME}.ulx").write_bytes(b"Glul")
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("split", ["train", "valid"], ids=["with its story", "from the description alone"])
def test_an_old_game_is_won_by_its_own_walkthrough(folder: Path, split: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = gym.make("mise/FTWP-v0", games=folder, split=split, infos=("admissible_commands", "walkthrough"))
    _, info = env.reset()
    assert info["walkthrough"][:2] == ["inventory", "examine cookbook"]
    for action in info["walkthrough"]:
        assert action in info["admissible_commands"]
        *_, terminated, _, info = env.step(action)
    assert (terminated, info["success"]) == (True, True)


@pytest.mark.integration
def test_an_old_game_has_a_plan_for_the_expert(folder: Path) -> None:
    env = gym.make("mise/FTWP-v0", games=folder, infos=("policy_commands", "facts"))
    env.reset()
    assert [env.step(action)[4]["success"] for action in env.unwrapped.expert_actions()][-1]


@pytest.mark.integration
def test_actions_without_their_commands_get_them(tmp_path: Path) -> None:
    game = make_game("recipe1+take1+cook+cut+open", "train", 0).with_suffix(".json")
    (tmp_path / "old.json").write_text(json.dumps(without_newer(json.loads(game.read_text()))))
    old, new = (load_game(path) for path in (tmp_path / "old.json", game))
    assert old.quests[-1].win_events[0].actions[0].command_template
    assert commands_of(old) == commands_of(new)


@pytest.mark.integration
def test_a_description_is_compiled_once(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    story = GivenGames(folder).path("valid", 0)
    written = story.stat().st_mtime_ns
    assert GivenGames(folder).path("valid", 0).stat().st_mtime_ns == written
    assert story.is_relative_to(tmp_path)


@pytest.mark.integration
def test_games_that_are_only_there_as_glulx_are_left_out_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        games = GivenGames(folder)
    assert [games.count(split) for split in ("train", "valid", "test")] == [1, 1, 0]
    assert "1 of 3 games are there only as .ulx files" in caplog.text


@pytest.mark.integration
def test_only_glulx_files_are_explained(folder: Path) -> None:
    with pytest.raises(GameFileError, match=r"only \.ulx files, which TextWorld 1.7 cannot play\. Get the \.z8"):
        GivenGames(folder / "test")


def test_a_description_from_another_version_of_textworld_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": 99}')
    with pytest.raises(GameFileError, match=r"is not a TextWorld game description .*version 99"):
        GivenGames(tmp_path).path("train", 0)
