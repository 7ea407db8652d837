"""The names of game files, read and written."""

import pytest

from mise_gym.envs.game_name import GameName
from mise_gym.envs.levels import parse_level
from mise_gym.errors import ConfigError

NAMES = [
    "tw-cooking-recipe2+take2+cut+open-BnYEixa9iJKmFZxO",
    "tw-cooking-recipe3+take3+cook+cut+drop+go1-7yGrcV9pTE8DF75n",
    "tw-cooking-train-recipe3+take3+cook+cut+open+drop+go6-qQ9nDu630U5j3tq",
    "tw-cooking-valid-recipe1+take1+open+mixed-200000700s3",
    "tw-coin_collector-test-level=10-300000000",
    "custom-train-rooms=5+objects=10-100000000",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_read_is_written_the_same(name: str) -> None:
    assert str(GameName.parse(name)) == name


def test_a_name_tells_generator_split_difficulty_and_identifier() -> None:
    expected = GameName(challenge="tw-cooking", split="train", skills="recipe1+take1+cut", identifier="x1")
    assert GameName.parse("tw-cooking-train-recipe1+take1+cut-x1") == expected


def test_a_name_of_the_competition_has_no_split() -> None:
    assert GameName.parse(NAMES[0]).split is None


def test_a_name_tells_the_settings_of_a_cooking_game() -> None:
    assert GameName.parse(NAMES[0]).settings == parse_level("recipe2+take2+cut+open")


@pytest.mark.parametrize("name", ["", "zork1", "tw-cooking", "tw-cooking-x", "a-b-c-d-e"])
def test_what_is_no_name_of_a_game_is_explained(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the name of a game\. Names look like"):
        GameName.parse(name)
