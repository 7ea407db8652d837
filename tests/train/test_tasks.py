"""Every environment that one can train on: its tasks, its expert, its labels, and a whole run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mise_gym.errors import ConfigError, UnknownNameError
from mise_gym.train.config import TrainConfig, from_mapping
from mise_gym.train.demonstrations import GOOD_TURNS, LabelledRecorder, demonstrate
from mise_gym.train.rollout import TextEnvironment
from mise_gym.train.run import TrainingRun
from mise_gym.train.task_sets.webshop import queries, shown
from mise_gym.train.tasks import ENV_IDS, TASK_SETS, TaskSet, task_set
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode

SMALL = {
    "games": {"train": 6, "heldout": 3, "max_turns": 15, "level": "recipe1+take1+cook+cut+open+mixed"},
    "textworld": {"settings": "rooms=3+objects=4+quest_length=4"},
    "warm_start": {"expert_episodes": 2, "judge_episodes": 2, "epochs": 1},
}
TINY = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "vocab_size": 512, "max_tokens": 4096}


def config_of(name: str, **settings: Any) -> TrainConfig:
    return from_mapping({"env": name, **SMALL, **settings})


def labels(episode: Episode) -> list[int]:
    return list(episode.extra[GOOD_TURNS])


@pytest.fixture(scope="module", params=list(TASK_SETS))
def tasks(request: pytest.FixtureRequest) -> TaskSet:
    return task_set(config_of(request.param))


@pytest.fixture(scope="module")
def env(tasks: TaskSet) -> Iterator[TextEnvironment]:
    env = tasks.make_env("dense", labelled=True)
    yield env
    env.close()


@pytest.mark.parametrize("name", [*TASK_SETS, *ENV_IDS])
def test_an_environment_goes_by_its_short_name_and_by_its_id(name: str) -> None:
    assert task_set(TrainConfig(env=name)).recorder_class


def test_a_misspelt_environment_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="named 'scienceword'"):
        TrainConfig(env="scienceword")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"textworld": {"challenge": "tw-cooking"}}, "For cooking games, write --env ftwp"),
        ({"textworld": {"settings": "rooms=900"}}, "The setting rooms of custom is '900'"),
        ({"scienceworld": {"tasks": []}}, "'scienceworld.tasks' is empty"),
        ({"scienceworld": {"tasks": "boil"}}, "'scienceworld.tasks' is 'boil'; it must be a list of names"),
        ({"scienceworld": {"tasks": ["find-plan"]}}, "No task named 'find-plan'. Did you mean 'find-plant'"),
        (
            {"scienceworld": {"tasks": ["power-component"], "simplifications": ["noElectricalAction"]}},
            "'power-component' needs electrical actions",
        ),
        ({"webshop": {"goals": "humane"}}, "Did you mean 'human'"),
    ],
)
def test_wrong_settings_of_an_environment_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=sentence):
        from_mapping(settings)


def test_more_tasks_than_there_are_are_refused() -> None:
    config = from_mapping(
        {
            "env": "scienceworld",
            "scienceworld": {"tasks": ["boil"]},
            "games": {"train": 150},
            "warm_start": {"expert_episodes": 9},
        }
    )

    with pytest.raises(ConfigError, match=r"'games.train' is 150, but scienceworld has only 14 such tasks. Lower it."):
        task_set(config).options("train")


def test_tasks_of_scienceworld_come_in_turn() -> None:
    options = task_set(config_of("scienceworld")).options("train")

    assert [(one["task"], one["variation"]) for one in options[:5]] == [
        ("find-living-thing", 0),
        ("find-non-living-thing", 0),
        ("find-plant", 0),
        ("find-animal", 0),
        ("find-living-thing", 1),
    ]


@pytest.mark.integration
def test_training_and_heldout_tasks_are_of_different_splits(tasks: TaskSet, env: TextEnvironment) -> None:
    splits = {split: {env.reset(options=one)[1]["split"] for one in tasks.options(split)} for split in ("train", "valid")}

    assert splits == {"train": {"train"}, "valid": {"valid"}}


@pytest.mark.integration
def test_the_expert_wins_with_offered_commands_and_every_turn_is_good(tasks: TaskSet, env: TextEnvironment) -> None:
    episodes = demonstrate(tasks.recorder_class, env, tasks.options("train")[:4], np.random.default_rng(0), max_mistake_rate=0)

    assert all(episode.success for episode in episodes)
    assert all(set(labels(episode)) == {1} for episode in episodes)


@pytest.mark.integration
def test_mistakes_are_labelled_and_the_expert_finds_back(tasks: TaskSet, env: TextEnvironment) -> None:
    episodes = demonstrate(tasks.recorder_class, env, tasks.options("train") * 3, np.random.default_rng(0), max_mistake_rate=0.7)

    assert {label for episode in episodes for label in labels(episode)} == {0, 1}
    assert any(episode.success and 0 in labels(episode) for episode in episodes)


@pytest.mark.integration
def test_the_policy_chooses_among_commands_that_the_environment_understands(tasks: TaskSet, env: TextEnvironment) -> None:
    commands = env.reset(options=tasks.options("train")[0])[1]["admissible_commands"]

    assert commands
    for command in commands[:5]:
        env.reset(options=tasks.options("train")[0])
        assert env.step(command)[-1]["valid_action"], command


@pytest.mark.integration
def test_in_scienceworld_commands_are_offered_by_their_form() -> None:
    config = config_of("scienceworld")
    options = {"task": "find-non-living-thing", "variation": 33}  # in the bedroom

    def offered(*forms: str) -> list[str]:
        env = task_set(replace(config, scienceworld=replace(config.scienceworld, commands=forms))).make_env("sparse")
        commands = list(env.reset(options=options)[1]["admissible_commands"])
        env.close()
        return commands

    everything = offered()
    assert offered("open *", "look around") == [each for each in everything if each.startswith("open ") or each == "look around"]
    assert offered("look") == everything  # no command is just that, and a policy needs something to choose from


class TestInTheShop:
    pytestmark = pytest.mark.integration

    @pytest.fixture
    def recorder(self) -> Iterator[LabelledRecorder]:
        tasks = task_set(config_of("webshop"))
        env = tasks.make_env("sparse", labelled=True)
        recorders = (tasks.recorder_class(env, one) for one in tasks.options("train"))
        yield next(each for each in recorders if len(each.plan) >= 4 and "click[next >]" not in each.plan)
        env.close()

    def test_pages_do_not_repeat_the_instruction(self, recorder: LabelledRecorder) -> None:
        recorder.step(recorder.plan[0])

        assert recorder.info["task"] not in recorder.observation

    def test_a_wrong_product_is_left_by_a_new_search(self, recorder: LabelledRecorder) -> None:
        plan = recorder.plan
        recorder.step(plan[0])
        recorder.step(next(c for c in recorder.commands if c.startswith("click[b") and c not in (*plan, "click[back to search]")))

        assert recorder.plan == ["click[back to search]", *plan]

    def test_a_wrong_choice_on_the_right_page_is_repaired_there(self, recorder: LabelledRecorder) -> None:
        choices = recorder.plan[2:]
        recorder.step(recorder.plan[0])
        recorder.step(recorder.plan[0])
        recorder.step(choices[0])
        recorder.step(next(c for c in reversed(recorder.commands) if c not in recorder.plan and c not in choices))

        assert recorder.plan == choices
        assert recorder.episode().extra[GOOD_TURNS][-2:] == [1, 0]

    def test_what_is_clicked_is_spelt_as_it_is_read(self, recorder: LabelledRecorder) -> None:
        search, product, *choices = recorder.plan
        recorder.step(search)
        results = recorder.observation
        recorder.step(product)

        assert product.removeprefix("click[").rstrip("]") in results.split(" | ")
        assert all(choice.removeprefix("click[").rstrip("]") in recorder.observation.split(" | ") for choice in choices[:-1])

    def test_a_page_of_a_product_begins_with_its_title_and_price(self, recorder: LabelledRecorder) -> None:
        search, product, *_ = recorder.plan
        recorder.step(search)
        pieces = recorder.observation.split(" | ")
        recorder.step(product)

        place = pieces.index(product.removeprefix("click[").rstrip("]"))
        assert recorder.observation.split(" | ")[:2] == [pieces[place + 1], f"price: {pieces[place + 2]}"]

    def test_the_page_after_a_purchase_says_what_was_chosen_and_what_it_is_worth(self, recorder: LabelledRecorder) -> None:
        for action in recorder.plan:
            recorder.step(action)

        thanks, options, _, label, score = recorder.observation.split(" | ")
        assert (thanks, options) == ("thank you for shopping with us!", "options")
        assert (label, float(score)) == ("your score (min 0.0, max 1.0)", 1.0)


def test_an_empty_page_still_says_where_one_is() -> None:
    assert shown("WebShop [SEP] Instruction: [SEP] a mug [SEP] Search", "a mug") == "search"


def test_searches_are_made_of_the_words_of_the_instruction_only() -> None:
    instruction = (
        "please get me men's shirts with these points: slim fit. i'd take xx-large for the size, and price lower than 9 dollars"
    )

    words = {word for query in queries(instruction) for word in query.split()}

    assert words == {"men's", "shirts", "slim", "fit", "xx-large"}


@pytest.mark.integration
def test_in_scienceworld_who_strays_is_led_back_to_the_room_where_the_way_goes_on() -> None:
    tasks = task_set(config_of("scienceworld"))
    env = tasks.make_env("sparse")
    recorder = tasks.recorder_class(env, {"task": "find-plant", "variation": 0})
    way = recorder.plan
    recorder.step("teleport to foundry")  # which brings points: it is another room
    recorder.step("teleport to workshop")

    assert way[:2] == ["go to greenhouse", "look around"]
    assert recorder.plan == ["teleport to hallway", *way]
    recorder.step("teleport to greenhouse")
    assert recorder.plan == way[1:]
    assert recorder.episode().extra[GOOD_TURNS] == [1, 0, 1]
    env.close()


@pytest.mark.integration
def test_in_scienceworld_a_question_is_answered_with_one_of_its_numbers() -> None:
    env = task_set(config_of("scienceworld")).make_env("sparse")
    env.reset(options={"task": "find-non-living-thing", "variation": 2})
    for action in ("teleport to greenhouse", "move soil in flower pot 3 to sink", "move soil in flower pot 6 to sink"):
        env.step(action)
    info = env.step("move soil in sink to greenhouse")[-1]

    assert info["ambiguous"]
    assert info["admissible_commands"] == ["0", "1"]
    env.close()


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("name", ["textworld", "scienceworld", "webshop"])
def test_a_whole_run_in_another_environment(tmp_path: Path, name: str) -> None:
    config = config_of(
        name,
        run_dir=str(tmp_path),
        threads=1,
        reward="dense",
        max_observation_tokens=64,
        tiny=TINY,
        games={"train": 4, "heldout": 2, "max_turns": 4},
        ppo={"iterations": 1, "episodes_per_iteration": 4, "num_envs": 2},
    )

    summary = TrainingRun(config, progress=False).run()

    assert summary["env"] == name
    episodes = list(read_episodes(tmp_path / "episodes" / "iteration-00001.jsonl.gz"))
    assert {episode.split for episode in episodes} == {"train"}
    assert {episode.split for episode in read_episodes(tmp_path / "heldout_after_sampled.jsonl.gz")} == {"valid"}
    assert all(len(episode.extra["mise"]["scores"]) == len(episode) for episode in episodes)
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
