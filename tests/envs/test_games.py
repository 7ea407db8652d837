"""Making games: reproducible, disjoint, resumable, and clear about what goes wrong."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mise_gym.envs import games as games_module
from mise_gym.envs.compiler import Compiler, header_problem
from mise_gym.envs.game_pool import GamePool, GameWorkerProcess
from mise_gym.envs.games import LEVELS, Shelf, make_game, make_games, number_of
from mise_gym.envs.levels import CHALLENGES, cooking_family, game_family, level_name, parse_level
from mise_gym.errors import ConfigError, GameGenerationError, UnknownNameError

LEVEL = "recipe1+take1+cook+cut+open"
PUBLISHED = {
    "100000000.z8": "c1cc2eee441bfdc0761b50a980270572c2c4e4400f42bd070ce60bb561458791",
    "100000100.z8": "0f23337ab3d02c3fc092e62f2b216805add069353f280b2c856fd9e604e5b704",
}
"""SHA-256 of games made with TextWorld 1.7.0, the same everywhere."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("games")
    for split in ("train", "valid", "test"):
        make_games(LEVEL, split, 2, cache=folder, workers=1, progress=False)
    return folder


def hashes_of(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*.*")) if file.stem[0] != "."
    }


def forget_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(GamePool):
        def __init__(self, _: int) -> None:
            raise AssertionError("a game was made although it was there")

    monkeypatch.setattr(games_module, "GamePool", Refusing)


@pytest.mark.integration
class TestMaking:
    def test_games_come_in_a_fixed_order_with_their_descriptions(self, cache: Path) -> None:
        paths = make_games(LEVEL, "train", 2, cache=cache, progress=False)
        assert paths == sorted(paths)
        assert all(path.suffix == ".z8" and path.with_suffix(".json").exists() for path in paths)

    def test_every_game_is_a_playable_story_file(self, cache: Path) -> None:
        assert [header_problem(path.read_bytes()) for path in cache.rglob("*.z8")] == [None] * 6

    @pytest.mark.slow
    def test_another_process_with_another_hash_seed_makes_the_same_bytes(self, cache: Path, tmp_path: Path) -> None:
        code = "import sys; from pathlib import Path; from mise_gym.envs.games import make_games; "
        code += "make_games(sys.argv[1], 'train', 2, cache=Path(sys.argv[2]), workers=2, progress=False)"
        environment = {**os.environ, "PYTHONHASHSEED": "12345"}
        subprocess.run([sys.executable, "-c", code, LEVEL, str(tmp_path)], check=True, env=environment)
        mine, theirs = hashes_of(next(cache.iterdir()) / "train"), hashes_of(next(tmp_path.iterdir()) / "train")
        assert mine == theirs

    def test_games_are_the_published_ones(self, cache: Path) -> None:
        made = {name.rpartition("-")[2]: digest for name, digest in hashes_of(cache).items()}
        assert {name: made[name] for name in PUBLISHED} == PUBLISHED

    def test_games_that_are_there_are_not_made_again(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        forget_the_pool(monkeypatch)
        assert len(make_games(LEVEL, "train", 2, cache=cache, progress=False)) == 2

    def test_a_single_game_is_the_one_of_the_whole_list(self, cache: Path) -> None:
        assert make_game(LEVEL, "valid", 1, cache=cache) == make_games(LEVEL, "valid", 2, cache=cache, progress=False)[1]

    def test_a_corrupt_game_is_made_again(self, cache: Path) -> None:
        path = make_games(LEVEL, "test", 2, cache=cache, progress=False)[1]
        whole = path.read_bytes()
        path.write_bytes(whole[:1000])
        make_games(LEVEL, "test", 2, cache=cache, workers=1, progress=False)
        assert path.read_bytes() == whole

    def test_an_unreadable_list_of_hashes_is_written_anew(self, cache: Path) -> None:
        index = make_games(LEVEL, "test", 1, cache=cache, progress=False)[0].parent / "hashes.json"
        index.write_text("{")
        make_games(LEVEL, "test", 1, cache=cache, workers=1, progress=False)
        assert len(json.loads(index.read_text())["sha256"]) == 2

    def test_splits_share_neither_seeds_nor_content(self, cache: Path) -> None:
        lists = [json.loads(index.read_text())["fingerprints"] for index in sorted(cache.rglob("hashes.json"))]
        seeds = [seed for one in lists for seed in one]
        contents = [content for one in lists for content in one.values()]
        assert (len(lists), len(set(seeds)), len(set(contents))) == (3, len(seeds), len(contents))

    def test_an_interrupted_call_keeps_the_finished_games(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt_after_one(self: GamePool, requests: list) -> object:
            yield requests[0], self._make(requests[0])
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(GamePool, "make_all", interrupt_after_one)
            with pytest.raises(KeyboardInterrupt):
                make_games("recipe1+take1+cut", "train", 3, cache=tmp_path, workers=1, progress=False)
        forget_the_pool(monkeypatch)
        assert len(make_games("recipe1+take1+cut", "train", 1, cache=tmp_path, progress=False)) == 1

    def test_a_split_of_a_mixed_level_takes_only_its_share_of_contents(self, tmp_path: Path) -> None:
        index = make_games("recipe1+take1", "valid", 1, cache=tmp_path, workers=1, progress=False)[0].parent / "hashes.json"
        contents = [content for content in json.loads(index.read_text())["fingerprints"].values() if content]
        assert [int(content, 16) % 3 for content in contents] == [1]

    def test_no_worker_process_is_left_behind(self) -> None:
        with GamePool(1) as pool:
            request = {"challenge": "tw-cooking", "settings": {}, "seed": 1, "share": None, "stem": None}
            with pytest.raises(GameGenerationError, match="died"):
                list(pool.make_all([request]))
        assert pool._workers[0]._process is None

    def test_a_worker_that_died_is_replaced(self) -> None:
        worker = GameWorkerProcess()
        settings = cooking_family("recipe1").settings_for("train")
        good = {"challenge": "tw-cooking", "settings": settings, "seed": 1, "share": None, "stem": None}
        with pytest.raises(GameGenerationError):
            worker.make({**good, "challenge": "no such challenge"})
        assert worker.make(good)["fingerprint"]
        worker.close()

    def test_the_progress_bar_shows_how_far_it_is(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        make_games("recipe1+take1+cut", "train", 1, cache=tmp_path, workers=1)
        assert "making train games: 100%" in capsys.readouterr().err


PARITY = """
import json, sys
from pathlib import Path
import textworld
from textworld.challenges import CHALLENGES
from mise_gym.envs.compiler import with_constant_date
from mise_gym.envs.game_pool import GamePool
from mise_gym.envs.levels import cooking_family, game_family

folder = Path(sys.argv[1])
families = [cooking_family("hard"), cooking_family("recipe2+take2+cut+drop+go6"), game_family("tw-simple", None, None)]
requests = [
    {"challenge": one.challenge, "settings": one.settings_for("valid"), "seed": 11, "share": None, "stem": str(folder / one.name)}
    for one in families
]
with GamePool(1) as pool:
    list(pool.make_all(requests))
for request in requests:
    options = textworld.GameOptions()
    options.seeds, options.path, options.force_recompile = 11, request["stem"] + "-plain.z8", True
    game = CHALLENGES[request["challenge"]][1]({**request["settings"], "seed": 11}, options)
    textworld.generator.compile_game(game, options)
    plain = json.loads(Path(request["stem"] + "-plain.json").read_text())
    plain["KB"]["text_grammars_path"] = ""
    assert json.dumps(plain) == Path(request["stem"] + ".json").read_text(), request
    assert with_constant_date(Path(options.path).read_bytes()) == Path(request["stem"] + ".z8").read_bytes(), request
"""


@pytest.mark.integration
@pytest.mark.slow
def test_the_shortcuts_change_nothing_but_the_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", PARITY, str(tmp_path)], check=True, env={**os.environ, "PYTHONHASHSEED": "0"})


def test_recipes_of_the_splits_share_only_what_is_neither_cooked_nor_cut() -> None:
    from textworld.challenges.tw_cooking import cooking

    train, valid, test = (
        {(food, *how) for food, hows in cooking.FOOD_PREPARATIONS_SPLITS[split].items() for how in hows}
        for split in ("train", "valid", "test")
    )
    shared = (train & valid) | (train & test) | (valid & test)
    assert {(cooking_how, cutting_how) for _, cooking_how, cutting_how in shared} == {("raw", "uncut")}


@pytest.mark.parametrize(
    ("level", "own"), [("recipe1+cook", True), ("recipe1+cut", True), ("recipe1", False), (LEVEL + "+mixed", False)]
)
def test_splits_are_kept_apart_by_content_where_recipes_do_not(level: str, own: bool) -> None:
    assert cooking_family(level).has_own_splits is own


@pytest.mark.parametrize("level", LEVELS.values())
def test_a_level_name_is_its_own_canonical_form(level: str) -> None:
    assert level_name(parse_level(level)) == level


def test_short_names_stand_for_levels() -> None:
    assert parse_level("demo") == parse_level(LEVELS["demo"])


def test_the_order_of_skills_does_not_matter() -> None:
    assert cooking_family("open+cut+take1+recipe1+cook").folder == cooking_family(LEVEL).folder


def test_different_settings_live_in_different_folders() -> None:
    families = [cooking_family(level) for level in LEVELS.values()]
    families += [game_family(name, None, None) for name in CHALLENGES]
    assert len({family.folder for family in families}) == len(families)


def test_the_generator_draws_from_all_foods_only_in_mixed_levels() -> None:
    assert cooking_family(LEVEL).settings_for("valid")["split"] == "valid"
    assert cooking_family(LEVEL + "+mixed").settings_for("valid")["split"] is None


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("recipe1+take1+coock", "No level or skill named 'coock'. Did you mean 'cook'"),
        ("dmeo", "Did you mean 'demo'"),
        ("", "No level or skill named ''"),
        ("recipe9", "recipe must be one of 1, 2, 3, 4, 5"),
        ("recipe1+go2", "go must be one of 1, 6, 9, 12"),
        ("recipe1+take2", "takes 2 of 1 ingredients"),
        ("recipe1+cook+cook", "names 'cook' twice"),
    ],
)
def test_a_wrong_level_is_explained(level: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_level(level)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tw-cook", None, None), "Did you mean 'tw-cooking'"),
        (("tw-simple", None, {"reward": "dense"}), "Did you mean 'rewards'"),
        (("tw-simple", None, {"rewards": "none"}), "must be one of 'dense', 'balanced', 'sparse'"),
        (("tw-coin_collector", None, {"level": 200}), "must be one of 1 to 150, 201 to 233\\."),
        (("tw-simple", "demo", None), "Only cooking games have a level name"),
        (("tw-cooking", None, {"recipe": 1}), "Cooking games have a level, not settings"),
    ],
)
def test_a_wrong_family_is_explained(arguments: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        game_family(*arguments)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        make_games(LEVEL, "trian", 1)


@pytest.mark.parametrize("count", [0, -1, 10_000_000])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="count is"):
        make_games(LEVEL, "train", count)


def test_a_cache_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(GameGenerationError, match=r"cannot be written.*XDG_CACHE_HOME"):
        make_games(LEVEL, "train", 1, cache=tmp_path / "cache")


def test_a_full_disk_is_explained() -> None:
    with pytest.raises(GameGenerationError, match="free some space and run again; finished games are kept"):
        games_module.write_atomically(FullDisk("/full/game.z8"), b"story")


class FullDisk(type(Path())):
    """A path on a disk without space."""

    def write_bytes(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_a_missing_compiler_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from textworld.generator.inform7 import world2inform7

    monkeypatch.setattr(world2inform7, "I7_DEFAULT_PATH", str(tmp_path))
    with pytest.raises(GameGenerationError, match=r"compiler .* is missing.*Reinstall TextWorld"):
        Compiler.find(tmp_path)


def test_a_colliding_game_gives_way_to_the_next_seed(tmp_path: Path) -> None:
    shelf = Shelf(cooking_family(LEVEL), "train", tmp_path)
    shelf._tried = {100_000_000: "one", 100_000_100: "one", 100_000_101: None, 100_000_102: "two"}
    assert list(shelf._choose([2], distinct=True).values()) == [100_000_000, 100_000_102, 100_000_200]


def test_a_game_for_itself_asks_for_no_other(tmp_path: Path) -> None:
    shelf = Shelf(cooking_family(LEVEL), "train", tmp_path)
    shelf._tried = {100_000_700: None}
    assert [request["own_seed"] for request in shelf._requests([7], distinct=False)] == [100_000_701]


def test_a_level_without_enough_different_games_is_explained(tmp_path: Path) -> None:
    shelf = Shelf(cooking_family(LEVEL), "train", tmp_path)
    shelf._tried = dict.fromkeys(range(100_000_000, 100_000_100))
    with pytest.raises(GameGenerationError, match="None of 100 seeds"):
        shelf._choose([0], distinct=True)


@pytest.mark.parametrize(("name", "number"), [("x-100000000", ("train", 0)), ("x-300000512", ("test", 5)), ("x-12", None)])
def test_the_name_of_a_game_tells_split_and_number(name: str, number: tuple[str, int] | None) -> None:
    assert number_of(name) == number


@pytest.mark.parametrize(
    ("story", "problem"),
    [
        (b"", "0 bytes"),
        (bytes([5]) + bytes(63), "first byte is 5"),
        (bytes([8]) + bytes(25) + b"\x01\x00" + bytes(36), "header promises 2048 bytes"),
        (bytes([8]) + bytes(25) + b"\x00\x09\x00\x05" + bytes(42), "checksum"),
        (bytes([8]) + bytes(25) + b"\x00\x09\x00\x00" + bytes(42), "addresses in its header"),
    ],
)
def test_a_broken_story_file_is_recognised(story: bytes, problem: str) -> None:
    assert problem in (header_problem(story) or "")
