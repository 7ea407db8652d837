"""Sets of games: the same everywhere, continued after an interruption, checked against their list of hashes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from mise_gym.envs import game_sets
from mise_gym.envs.game_pool import GamePool
from mise_gym.envs.game_sets import RECIPE, SUMS, GameSet, check_game_set, make_game_set, read_sums
from mise_gym.envs.game_source import GivenGames
from mise_gym.envs.levels import cooking_family, game_family
from mise_gym.errors import ConfigError, GameFileError, GameGenerationError

LEVEL = "recipe1+take1+cook+cut+open"
PUBLISHED = "c3a552d7ba3d"
"""How the digest of the set below begins, with TextWorld 1.7.0, on every machine."""


def make_set(folder: Path, **counts: int) -> GameSet:
    return make_game_set(folder, cooking_family(LEVEL), counts, workers=1, progress=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    make_set(tmp_path / "set", train=2, valid=1)
    return tmp_path / "set"


def problems(folder: Path, against: Path | None = None) -> list[str]:
    return check_game_set(folder, against, progress=False)


@pytest.mark.integration
class TestMaking:
    def test_the_list_of_hashes_is_the_published_one(self, tmp_path: Path) -> None:
        assert make_set(tmp_path / "set", train=2, valid=1).digest.startswith(PUBLISHED)

    def test_the_environment_plays_a_set_with_its_splits(self, small: Path) -> None:
        env = gym.make("mise/FTWP-v0", games=small)
        _, info = env.reset(options={"split": "valid", "game": 0})
        *_, terminated, _, info = [env.step(action) for action in env.unwrapped.expert_actions()][-1]
        assert (terminated, info["success"], info["split"]) == (True, True, "valid")

    def test_a_set_has_the_layout_of_the_competition(self, small: Path) -> None:
        games = GivenGames(small)
        assert [len(games.names(split)) for split in ("train", "valid", "test")] == [2, 1, 0]
        assert sorted(file.name for file in small.iterdir()) == [SUMS, RECIPE, "train", "valid"]

    def test_a_set_that_is_complete_is_only_read(self, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = {file: file.stat().st_mtime_ns for file in small.rglob("*.z8")}
        monkeypatch.setattr(GamePool, "make_all", None)
        make_set(small, train=2, valid=1)
        assert {file: file.stat().st_mtime_ns for file in small.rglob("*.z8")} == before

    def test_a_set_grows_to_what_is_made_at_once(self, tmp_path: Path) -> None:
        make_set(tmp_path / "grown", train=1)
        assert make_set(tmp_path / "grown", train=2, valid=1).digest.startswith(PUBLISHED)

    def test_an_interrupted_set_is_not_taken_for_complete_and_can_be_continued(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: Any) -> str:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(game_sets, "_link_or_copy", interrupt)
            with pytest.raises(KeyboardInterrupt):
                make_set(tmp_path / "set", train=2, valid=1)
        with pytest.raises(GameFileError, match="it is written when a set is complete"):
            problems(tmp_path / "set")
        assert make_set(tmp_path / "set", train=2, valid=1).digest.startswith(PUBLISHED)

    def test_a_game_that_was_damaged_is_replaced(self, small: Path) -> None:
        game = next(small.rglob("*.z8"))
        game.unlink()
        game.write_bytes(b"damaged")
        make_set(small, train=2, valid=1)
        assert problems(small) == []

    def test_without_links_the_files_are_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        make_set(tmp_path / "set", train=1)
        assert problems(tmp_path / "set") == []

    @pytest.mark.slow
    def test_another_seed_makes_other_games(self, tmp_path: Path) -> None:
        family = cooking_family(LEVEL)
        other = type(family)(family.challenge, family.settings, family.name, seed=1)
        one = make_game_set(tmp_path / "one", other, {"train": 1}, workers=1, progress=False, cache=tmp_path / "cache")
        make_set(tmp_path / "two", train=1)
        assert set(read_sums(tmp_path / "one").values()).isdisjoint(read_sums(tmp_path / "two").values())
        assert one.counts == {"train": 1}


@pytest.mark.integration
class TestChecking:
    def test_sha256sum_reads_the_list(self, small: Path) -> None:
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=small, check=True)

    def test_what_is_missing_changed_or_new_is_named(self, small: Path) -> None:
        one, two, _ = sorted(small.rglob("*.z8"))
        one.unlink()
        two.unlink()
        two.write_bytes(b"changed")
        (small / "valid" / "new.z8").touch()
        found = problems(small)
        assert [problem.rpartition("/")[2].rpartition(".z8 ")[2] for problem in found] == [
            "is missing.",
            "has changed.",
            f"is not in {SUMS}.",
        ]

    def test_a_list_from_elsewhere_is_compared(self, small: Path, tmp_path: Path) -> None:
        make_set(tmp_path / "other", train=1)
        assert problems(small, small / SUMS) == []
        assert len(problems(small, tmp_path / "other")) == 4
        assert "is only in the list." in problems(small, tmp_path / "other")[0]


@pytest.mark.parametrize("content", ["", "no hash here\n", f"{'a' * 64} one blank\n"])
def test_a_list_that_is_none_is_explained(tmp_path: Path, content: str) -> None:
    (tmp_path / SUMS).write_text(content)
    with pytest.raises(GameFileError, match=r"is not a list of hashes\. Its lines must be"):
        read_sums(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"seed": 3}, "holds a set with other seed"),
        ({"settings": {}}, "holds a set with other settings"),
        ({"counts": {"train": 5}}, "holds a set with more games in train"),
    ],
)
def test_a_folder_with_another_set_is_refused(tmp_path: Path, recipe: dict[str, Any], message: str) -> None:
    mine = game_sets._recipe(cooking_family(LEVEL), {"train": 1})
    (tmp_path / RECIPE).write_text(json.dumps({**mine, **recipe}))
    with pytest.raises(ConfigError, match=message):
        make_set(tmp_path, train=1)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no set of games"):
        make_set(tmp_path, train=1)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((ConfigError, GameGenerationError), match=r"Choose another folder"):
        make_set(tmp_path / "file" / "set", train=1)


def test_no_games_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No games are asked for"):
        make_set(tmp_path, train=0)


def test_no_processes_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 processes are asked for"):
        make_game_set(tmp_path / "set", cooking_family(LEVEL), {"train": 1}, workers=0)


def test_a_seed_below_zero_is_refused() -> None:
    family = game_family("tw-simple", None, None)
    with pytest.raises(ConfigError, match="The seed is -1"):
        type(family)(family.challenge, family.settings, family.name, seed=-1)
