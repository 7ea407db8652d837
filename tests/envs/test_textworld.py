"""What only the TextWorld environments do."""

import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import textworld

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.commands import NOT_UNDERSTOOD, ONE_AT_A_TIME, UNKNOWN_VERB, Refusal, to_command
from mise_gym.envs.game_memory import MEMORIES, GameMemories, GameMemory, Node
from mise_gym.envs.game_source import GivenGames
from mise_gym.envs.games import make_game
from mise_gym.envs.interpreter import Interpreter
from mise_gym.envs.textworld import TextWorldEnv
from mise_gym.errors import ConfigError, GameFileError, MiseError, SimulatorCrashed, UnknownNameError

LEVEL = "recipe1+take1+cook+cut+open"


@pytest.fixture(scope="module")
def game() -> Path:
    return make_game(LEVEL, "train", 0)


@pytest.fixture(scope="module")
def competition(game: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the competition's archive: one whole game, one description without a story, one Glulx game."""
    folder = tmp_path_factory.mktemp("ftwp") / "games"
    for split in ("train", "valid", "test"):
        (folder / split).mkdir(parents=True)
    name = "tw-cooking-recipe1+take1+cook+cut+open-BnYEixa9iJKmFZxO"
    for suffix in (".z8", ".json"):
        shutil.copy(game.with_suffix(suffix), folder / "train" / (name + suffix))
    shutil.copy(game.with_suffix(".json"), folder / "valid" / "tw-cooking-recipe1+take1-oWLXF67fRDcQGzfm.json")
    (folder / "test" / "tw-cooking-recipe1-xq5VgrXcZ5jGZy1M.ulx").write_bytes(b"Glul")
    return folder


def make(**kwargs: Any) -> gym.Env[str, str]:
    return gym.make("mise/FTWP-v0", **kwargs)


def play(env: gym.Env[str, str], actions: list[str]) -> list[tuple[str, float, bool, bool, dict[str, Any]]]:
    return [env.step(action) for action in actions]


OUT_OF_WORLD = [
    "quit", "save", "restart", "restore", "verify", "version", "script", "script off", "transcript on", "superbrief", "short",
    "verbose", "long", "brief", "normal", "nouns", "pronouns", "notify off", "undo", "restrict commands", "print_state", "q ",
    "enable print state option", "disable print state option", "tw-extra-infos score", "tw-trace-actions", "tw-print max_score",
]  # fmt: skip
"""What the library of Inform and TextWorld's own code understand as actions out of the world."""
JUNK = ["xyzzy", "take", "wait", "open cookbook", "", "look"]
ASKED = ("admissible_commands", "policy_commands", "intermediate_reward", "facts")
Line = tuple[Any, ...]


def choose(rng: np.random.Generator, admissible: list[str]) -> str:
    return str(rng.choice(admissible if rng.random() < 0.8 else JUNK))


def squeeze(text: str) -> str:
    return " ".join(text.split()).partition(" Would you like to RESTART")[0]


def walk_ours(path: Path, rng: np.random.Generator) -> list[Line]:
    env = make(games=path, infos=ASKED, max_turns=40)
    _, info = env.reset()
    lines: list[Line] = []
    over = False
    while not over:
        observation, _, terminated, truncated, info = env.step(choose(rng, info["admissible_commands"]))
        lines.append((squeeze(observation), info["score"], terminated, *(info[name] for name in ASKED)))
        over = terminated or truncated
    return lines


def walk_theirs(path: Path, rng: np.random.Generator) -> list[Line]:
    asked = textworld.EnvInfos(**dict.fromkeys((*ASKED, "feedback", "won", "lost"), True))
    env = textworld.start(str(path), request_infos=asked)
    state = env.reset()
    lines: list[Line] = []
    over = False
    while not over:
        state, score, over = env.step(choose(rng, state.admissible_commands))
        facts = sorted(map(str, state.facts))
        known = (state.admissible_commands, state.policy_commands, state.intermediate_reward, facts)
        lines.append((squeeze(state.feedback), float(score), over, *known))
        over = over or len(lines) == 40
    env.close()
    return lines


@pytest.mark.integration
class TestPlaying:
    def test_the_first_observation_has_no_logo(self, game: Path) -> None:
        observation, _ = make(games=game).reset()
        assert "$$" not in observation
        assert observation.startswith("You are hungry!")

    def test_observations_have_no_traces_of_the_tracker(self, game: Path) -> None:
        env = make(games=game)
        env.reset()
        texts = "".join(step[0] for step in play(env, env.unwrapped.expert_actions()))
        assert not any(trace in texts for trace in ("[", "<score>", "<moves>", "$$"))

    def test_a_wrong_preparation_loses_without_success(self, game: Path) -> None:
        env = make(games=game)
        env.reset()
        actions = env.unwrapped.expert_actions()
        spoilt = [*actions[:3], actions[3], actions[3]]  # cooking twice burns
        _, _, terminated, _, info = play(env, spoilt)[-1]
        assert (terminated, info["success"]) == (True, False)

    def test_the_expert_reads_the_cookbook_before_taking_anything(self, game: Path) -> None:
        env = make(games=game)
        env.reset()
        assert env.unwrapped.expert_actions()[0] == "examine cookbook"

    def test_admissible_commands_are_understood(self, game: Path) -> None:
        env = make(games=game, infos=("admissible_commands",), max_turns=None)
        _, info = env.reset()
        for command in info["admissible_commands"]:
            env.reset()
            assert env.step(command)[4]["valid_action"], command

    def test_the_plan_gets_shorter_along_itself(self, game: Path) -> None:
        env = make(games=game, infos=("policy_commands", "intermediate_reward"))
        _, info = env.reset()
        lengths, signs = [len(info["policy_commands"])], []
        while info["policy_commands"]:
            *_, info = env.step(info["policy_commands"][0])
            lengths.append(len(info["policy_commands"]))
            signs.append(info["intermediate_reward"])
        assert lengths == list(range(lengths[0], -1, -1))
        assert set(signs) == {1}

    def test_undoing_progress_has_a_negative_intermediate_reward(self, game: Path) -> None:
        env = make(games=game, infos=("intermediate_reward",))
        env.reset()
        assert [step[4]["intermediate_reward"] for step in play(env, ["open fridge", "look", "close fridge"])] in (
            [1, 0, -1],
            [0, 0, 0],  # a game whose ingredient is not in the fridge
        )

    def test_actions_that_are_not_passed_on_are_counted_per_episode(self, game: Path) -> None:
        env = make(games=game)
        env.reset()
        counts = [step[4]["refused_actions"] for step in play(env, ["look. look", "xyzzy", "save", "\x00", "look"])]
        assert (counts, env.reset()[1]["refused_actions"]) == ([1, 1, 2, 3, 3], 0)

    def test_any_info_can_be_found_out_without_asking_for_it_every_turn(self, game: Path) -> None:
        env, plain = make(games=game, infos=TextWorldEnv.available_infos), make(games=game).unwrapped
        env.reset()
        MEMORIES.of(game).forget()
        plain.reset()
        actions = ["open fridge", "look", "save", "take knife from counter"]
        info, expected = play(plain, actions)[-1][4], play(env, actions)[-1][4]
        assert set(TextWorldEnv.available_infos).isdisjoint(info)
        assert {name: plain.find_out(name) for name in TextWorldEnv.available_infos}.items() <= expected.items()

    def test_an_info_that_does_not_exist_cannot_be_found_out(self, game: Path) -> None:
        with pytest.raises(UnknownNameError, match="Did you mean 'inventory'"):
            make(games=game).unwrapped.find_out("inventry")

    @pytest.mark.parametrize(
        ("challenge", "settings"),
        [
            ("tw-simple", {"rewards": "sparse"}),
            ("tw-coin_collector", {"level": 3}),
            ("tw-treasure_hunter", {"level": 2}),
            ("custom", {"rooms": 3, "objects": 8, "quest_length": 4, "theme": "basic"}),
        ],
    )
    def test_the_expert_wins_the_games_of_every_generator(self, challenge: str, settings: dict[str, Any]) -> None:
        env = gym.make("mise/TextWorld-v0", challenge=challenge, settings=settings, num_games=1)
        env.reset()
        _, _, terminated, _, info = play(env, env.unwrapped.expert_actions())[-1]
        assert (terminated, info["success"], info["split"]) == (True, True, "train")

    def test_asking_for_look_and_inventory_does_not_change_the_game(self, game: Path) -> None:
        curious, plain = make(games=game, infos=("look", "inventory")), make(games=game)
        curious.reset()
        plain.reset()
        actions = plain.unwrapped.expert_actions()
        assert [step[0] for step in play(curious, actions)] == [step[0] for step in play(plain, actions)]

    def test_inventory_tells_what_is_carried(self, game: Path) -> None:
        env = make(games=game, infos=("inventory", "look", "facts", "walkthrough"))
        _, info = env.reset()
        assert info["inventory"] == "You are carrying nothing."
        assert info["look"].startswith("-= Kitchen =-")
        assert "at(P, kitchen: r)" in info["facts"] or any("kitchen" in fact for fact in info["facts"])
        assert info["walkthrough"][-1] == "eat meal"

    def test_two_environments_play_the_same_game_apart(self, game: Path) -> None:
        one, other = make(games=game), make(games=game)
        one.reset()
        other.reset()
        one.step("open fridge")
        assert other.step("close fridge")[0] == "That's already closed."

    def test_a_game_can_be_played_again_after_a_broken_off_episode(self, game: Path) -> None:
        env = make(games=game)
        first, _ = env.reset()
        play(env, ["open fridge", "take knife", "look"])
        again, info = env.reset()
        assert (first, info["turn"]) == (again, 0)
        assert play(env, env.unwrapped.expert_actions())[-1][4]["success"]

    def test_group_resets_begin_alike_whatever_the_seed(self, competition: Path) -> None:
        starts = [make(games=competition).reset(seed=seed, options={"game": 0})[0] for seed in (1, 2)]
        assert starts[0] == starts[1]

    def test_a_dead_interpreter_is_reported_and_reset_recovers(self, game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def die(*_: object) -> None:
            raise RuntimeError("out of its mind")

        env = make(games=game).unwrapped
        env.reset()
        with monkeypatch.context() as patched:
            patched.setattr(Interpreter, "send", die)
            with pytest.raises(SimulatorCrashed, match=r"died on the command 'wait'.*Call reset\(\)"):
                env.step("wait")
        with pytest.raises(MiseError, match=r"Call reset\(\)"):
            env.step("look")
        env.reset()
        assert env.step("wait")[0] == "Time passes."

    def test_a_known_way_needs_no_interpreter(self, game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        env = make(games=game, infos=("admissible_commands", "policy_commands", "look"))
        env.reset()
        actions = env.unwrapped.expert_actions()
        first = play(env, actions)
        monkeypatch.setattr(Interpreter, "send", None)
        env.reset()
        assert play(env, actions) == first

    def test_leaving_a_known_way_catches_up(self, game: Path) -> None:
        env, fresh = make(games=game, infos=("inventory",)), make(games=game, infos=("inventory",))
        env.reset()
        actions = env.unwrapped.expert_actions()
        play(env, actions)
        env.reset()
        play(env, actions[:3])
        _, _, _, _, info = env.step("examine stove")
        MEMORIES.of(game).forget()
        fresh.reset()
        assert play(fresh, [*actions[:3], "examine stove"])[-1][4] == info

    def test_a_file_that_changed_is_loaded_again(self, game: Path, tmp_path: Path) -> None:
        copy = tmp_path / "game.z8"
        for suffix in (".z8", ".json"):
            shutil.copy(game.with_suffix(suffix), copy.with_suffix(suffix))
        env = make(games=copy)
        env.reset()
        copy.write_bytes(copy.read_bytes()[:70])
        with pytest.raises(GameFileError, match="is not a playable game"):
            env.reset()

    def test_memory_of_many_exchanges_is_bounded(self, game: Path) -> None:
        memories = GameMemories(260, GameMemory)
        memory = memories.of(game)
        nodes = [Node(memory.root.exchange) for _ in range(20)]
        for number, node in enumerate(nodes):
            memories.grow(memory, memory.root, str(number), node)
        assert len(memory.root.children) <= 10

    @pytest.mark.filterwarnings("ignore::jericho.UnsupportedGameWarning")  # TextWorld's own environment gives it
    @pytest.mark.slow
    @pytest.mark.parametrize("level", ["basic", "hard", "recipe2+take1+cut+open+drop+go6"])
    def test_everything_agrees_with_textworlds_own_environment(self, level: str) -> None:
        path = make_game(level, "train", 0)
        for _ in range(2):  # the second time partly from memory
            ours = [line for seed in (1, 2) for line in walk_ours(path, np.random.default_rng(seed))]
            theirs = [line for seed in (1, 2) for line in walk_theirs(path, np.random.default_rng(seed))]
            assert ours == theirs


@pytest.mark.integration
class TestGivenGames:
    def test_the_competitions_folders_are_splits(self, competition: Path) -> None:
        games = GivenGames(competition)
        assert [games.count(split) for split in ("train", "valid", "test")] == [1, 1, 0]

    def test_a_description_alone_is_compiled_and_can_be_won(self, competition: Path, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        env = make(games=competition, split="valid")
        env.reset()
        assert play(env, env.unwrapped.expert_actions())[-1][4]["success"]

    def test_a_game_is_found_by_its_name(self, competition: Path) -> None:
        _, info = make(games=competition).reset(options={"game": "tw-cooking-recipe1+take1+cook+cut+open-BnYEixa9iJKmFZxO"})
        assert (info["split"], info["task_id"]) == ("train", "tw-cooking-recipe1+take1+cook+cut+open-BnYEixa9iJKmFZxO")

    def test_a_game_is_found_by_its_path(self, competition: Path, game: Path) -> None:
        _, info = make(games=competition).reset(options={"game": str(game)})
        assert info["task_id"] == game.stem

    def test_only_glulx_files_are_explained(self, competition: Path) -> None:
        with pytest.raises(GameFileError, match=r"only \.ulx files"):
            make(games=competition / "test")

    def test_a_split_without_games_is_explained(self, competition: Path) -> None:
        with pytest.raises(ConfigError, match=r"'test' has no games. There are games in: 'train', 'valid'"):
            make(games=competition).reset(options={"split": "test"})

    @pytest.mark.parametrize("content", [b"", b"not a game" * 100, None], ids=["empty", "text", "truncated"])
    def test_a_file_that_is_no_game_is_explained_and_does_not_end_python(
        self, game: Path, tmp_path: Path, content: bytes | None
    ) -> None:
        broken = tmp_path / "broken.z8"
        broken.write_bytes(game.read_bytes()[:5000] if content is None else content)
        shutil.copy(game.with_suffix(".json"), broken.with_suffix(".json"))
        with pytest.raises(GameFileError, match="is not a playable game"):
            make(games=broken).reset()

    def test_a_missing_description_is_explained(self, game: Path, tmp_path: Path) -> None:
        shutil.copy(game, tmp_path / "alone.z8")
        with pytest.raises(GameFileError, match=r"no 'alone.json' beside it"):
            make(games=tmp_path).reset()

    def test_a_description_of_something_else_is_explained(self, game: Path, tmp_path: Path) -> None:
        shutil.copy(game, tmp_path / "odd.z8")
        (tmp_path / "odd.json").write_text('{"a": 1}')
        with pytest.raises(GameFileError, match="is not a TextWorld game description"):
            make(games=tmp_path).reset()

    @pytest.mark.parametrize(
        ("chosen", "error", "message"),
        [
            (99, ConfigError, "must be a number from 0 to 0"),
            (-1, ConfigError, "must be a number from 0 to 0"),
            (True, ConfigError, "must be a number"),
            ("tw-cooking-recipe1", UnknownNameError, "No game named"),
            ("/no/such/game.z8", GameFileError, "There is no game at"),
            ("/etc/hostname", GameFileError, "is no game file|There is no game"),
        ],
    )
    def test_a_game_that_does_not_exist_is_explained(
        self, competition: Path, chosen: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            make(games=competition).reset(options={"game": chosen})

    def test_a_split_that_contradicts_the_name_is_refused(self, competition: Path) -> None:
        name = "tw-cooking-recipe1+take1+cook+cut+open-BnYEixa9iJKmFZxO"
        with pytest.raises(ConfigError, match="is in the split 'train', not in 'valid'"):
            make(games=competition).reset(options={"game": name, "split": "valid"})


def test_a_missing_path_is_explained(tmp_path: Path) -> None:
    with pytest.raises(GameFileError, match="There is no game at"):
        GivenGames(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("valid/a.z8", "valid"),
        ("train_100/difficulty_level_3/a.z8", "train"),
        ("test/more/train/a.z8", "train"),
        ("testing/a.z8", "train"),
        ("a.z8", "train"),
    ],
)
def test_the_nearest_folder_named_like_a_split_decides(tmp_path: Path, file: str, split: str) -> None:
    path = tmp_path / "test" / "games" / file
    path.parent.mkdir(parents=True)
    path.touch()
    assert GivenGames(tmp_path / "test" / "games").count(split) == 1


def test_an_empty_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(GameFileError, match="there is no game"):
        GivenGames(tmp_path)


def test_games_and_level_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.z8").touch()
    with pytest.raises(ConfigError, match="Give either games, or level"):
        make(games=tmp_path, level="demo")


@pytest.mark.parametrize("number", [0, {"train": 0}, {"train": "many"}])
def test_a_wrong_number_of_games_is_refused(number: Any) -> None:
    with pytest.raises(ConfigError, match="num_games is"):
        make(num_games=number)


@pytest.mark.parametrize(
    ("action", "command"),
    [("look", "look"), ("  take   red  onion ", "take red onion"), ("look\n", "look"), ("ｌｏｏｋ", "look"), ("", "")],
)
def test_a_plain_command_passes(action: str, command: str) -> None:
    assert to_command(action) == command


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("look. look", ONE_AT_A_TIME),
        ("look Then look", ONE_AT_A_TIME),
        ("a\nb", ONE_AT_A_TIME),
        ("Save", UNKNOWN_VERB),
        ("tw-extra-infos score", UNKNOWN_VERB),
        ("look\x00", NOT_UNDERSTOOD),
        ("\\x", NOT_UNDERSTOOD),
        ("look \\<", NOT_UNDERSTOOD),
        ("é", NOT_UNDERSTOOD),
        ("x" * 191, NOT_UNDERSTOOD),
    ],
)
def test_anything_else_is_refused(action: str, answer: str) -> None:
    assert to_command(action) == Refusal(answer)


@pytest.mark.parametrize("command", OUT_OF_WORLD)
def test_no_command_to_the_interpreter_passes(command: str) -> None:
    assert to_command(command) == Refusal(UNKNOWN_VERB)


@pytest.mark.integration
def test_a_missing_story_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(GameFileError):
        Interpreter(tmp_path / "missing.z8")
