"""What only the shop does; the rest is in the contract tests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from mise_gym.envs.webshop import WebShopEnv
from mise_gym.envs.webshop_goals import open_catalogue
from mise_gym.errors import ConfigError, MiseError, UnknownNameError
from tests.core_only import run_with_the_core_only
from webshop_server.engine.generator import generate_catalogue
from webshop_server.engine.goal_list import GoalKind


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("shop") / "catalogue"
    generate_catalogue(folder, 40)
    return str(folder)


def shop(catalogue: str, **arguments: Any) -> WebShopEnv:
    return WebShopEnv(catalogue=catalogue, **arguments)


def buy_at(env: WebShopEnv, **options: Any) -> float:
    env.reset(options=options)
    return [env.step(action)[1] for action in env.expert_actions()][-1]


@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_goals_are_chosen_by_kind_and_number(catalogue: str, goals: GoalKind) -> None:
    env = shop(catalogue)
    _, info = env.reset(options={"goals": goals, "goal_index": 3})

    assert info["task_id"] == f"{goals}-3"
    assert info["task"] == open_catalogue(Path(catalogue)).goals(goals)[3].instruction_text


@pytest.mark.parametrize(("index", "split"), [(0, "test"), (20, "valid"), (40, "train")])
def test_the_number_decides_the_split(catalogue: str, index: int, split: str) -> None:
    assert shop(catalogue).reset(options={"goal_index": index})[1]["split"] == split


def test_a_draw_stays_in_its_split(catalogue: str) -> None:
    env = shop(catalogue, split="test")
    numbers = {int(env.reset(seed=seed)[1]["task_id"].removeprefix("human-")) for seed in range(60)}

    assert numbers <= set(range(20))
    assert len(numbers) > 10


def test_a_goal_given_in_full_is_pursued_and_can_be_named_again(catalogue: str) -> None:
    env = shop(catalogue)
    goal = open_catalogue(Path(catalogue)).goals("human")[2].to_record() | {"instruction_text": "buy me something"}
    first, info = env.reset(options={"goal": goal})
    again, same = env.reset(options={"game": info["task_id"]})

    assert (info["task"], first, same["task"]) == ("buy me something", again, "buy me something")
    assert buy_at(env, goal=goal) == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal_index": 80}, "from 0 to 79"),
        ({"goal_index": -1}, "from 0 to 79"),
        ({"goal_index": "3"}, "from 0 to 79"),
        ({"goal_index": True}, "from 0 to 79"),
        ({"goals": "humans"}, "Did you mean 'human'"),
        ({"goal": {"asin": "x"}}, "lacks"),
        ({"goal": 3}, "must be an object"),
        ({"game": "human3"}, "task_id such as"),
        ({"game": "{"}, "not a goal as JSON"),
        ({"game": "human-3", "goal_index": 3}, "contradict each other"),
        ({"goal_index": 3, "split": "train"}, "not in the split 'train'"),
    ],
)
def test_an_episode_that_cannot_be_is_refused_with_a_reason(catalogue: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shop(catalogue).reset(options=options)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("observation_mode", "txt", "Did you mean 'text'"),
        ("goals", "humans", "Did you mean 'human'"),
        ("quirks", "fix", "Did you mean 'fixed'"),
    ],
)
def test_a_misspelt_argument_is_refused(catalogue: str, argument: str, value: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        shop(catalogue, **{argument: value})


def test_a_folder_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a catalogue"):
        shop(str(tmp_path))


def test_a_split_without_goals_is_refused(tmp_path: Path) -> None:
    generate_catalogue(tmp_path / "one", 1)

    with pytest.raises(ConfigError, match="no human goals in the split 'test'"):
        shop(str(tmp_path / "one"), split="test").reset()


@pytest.mark.parametrize(
    ("mode", "start"),
    [
        ("text", "WebShop [SEP] Instruction: [SEP] "),
        ("text_rich", "WebShop\nInstruction: \n"),
        ("html", "<!DOCTYPE html>"),
        ("url", "http://127.0.0.1:3000/3"),
    ],
)
def test_each_mode_shows_the_page_in_its_way(catalogue: str, mode: str, start: str) -> None:
    assert shop(catalogue, observation_mode=mode).reset(options={"goal_index": 3})[0].startswith(start)


def test_admissible_commands_are_a_search_and_every_click(catalogue: str) -> None:
    env = shop(catalogue, infos=("admissible_commands", "clickables", "url"))
    _, first = env.reset(seed=1)
    *_, later = env.step("search[shoes]")

    assert first["admissible_commands"] == ["search[...]"]
    assert later["admissible_commands"][:3] == ["search[...]", "click[back to search]", "click[next >]"]
    assert later["admissible_commands"][1:] == [f"click[{name}]" for name in later["clickables"]]
    assert later["url"].endswith("/shoes/1")


@pytest.mark.parametrize("quirks", ["upstream", "fixed"])
@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_the_expert_always_gets_the_whole_reward(catalogue: str, goals: str, quirks: str) -> None:
    env = shop(catalogue, goals=goals, quirks=quirks)

    assert [buy_at(env, goal_index=index) for index in range(0, 80, 4)] == [1.0] * 20


def test_a_bad_purchase_ends_without_success_and_says_why(catalogue: str) -> None:
    env = shop(catalogue, infos=("score_parts",))
    env.reset(options={"goal_index": 0})
    page, *_ = env.step("search[lipstick matte]")
    env.step(f"click[{page.split(' [SEP] ')[5]}]")
    _, reward, terminated, truncated, info = env.step("click[buy now]")

    assert (terminated, truncated, info["success"]) == (True, False, False)
    assert reward == info["progress"] < 1
    assert set(info["score_parts"]) >= {"r_type", "r_att", "w_att"}


def test_an_expert_that_finds_no_way_says_so(catalogue: str) -> None:
    env = shop(catalogue)
    goal = open_catalogue(Path(catalogue)).goals("human")[0].to_record() | {"goal_options": ["impossible"]}
    env.reset(options={"goal": goal})

    with pytest.raises(MiseError, match=r"no way to reward 1\.0"):
        env.expert_actions()


def test_hidden_attributes_are_shown_on_demand(catalogue: str) -> None:
    env = shop(catalogue, show_attributes=True)
    env.reset(options={"goal_index": 0})
    look = [action for action in env.expert_actions() if "search" in action or "next" in action or "click[b" in action][:-1]
    for action in look:
        env.step(action)

    assert env.step("click[attributes]")[4]["valid_action"]


def test_environments_of_one_process_share_the_catalogue_and_not_the_session(catalogue: str) -> None:
    one, other = shop(catalogue), shop(catalogue)
    one.reset(options={"goal_index": 1})
    before, _ = other.reset(options={"goal_index": 1})
    one.step("search[shoes]")

    assert one._shop is other._shop
    assert other.step("nothing")[0] == before


def test_a_catalogue_that_was_built_anew_is_opened_anew(tmp_path: Path) -> None:
    generate_catalogue(tmp_path / "shop", 5)
    old = shop(str(tmp_path / "shop"))
    generate_catalogue(tmp_path / "shop", 6, replace=True)

    assert (len(old._shop), len(shop(str(tmp_path / "shop"))._shop)) == (5, 6)


def test_the_spec_remembers_the_catalogue(catalogue: str) -> None:
    env = gym.make("mise/WebShop-v0", catalogue=catalogue, goals="synthetic")
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))

    assert env.reset(seed=3)[0] == again.reset(seed=3)[0]


@pytest.mark.integration
def test_no_connection_is_left_open(catalogue: str) -> None:
    code = "import sys; from mise_gym.envs.webshop import WebShopEnv; env = WebShopEnv(catalogue=sys.argv[1]); env.reset(seed=1)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, catalogue], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.integration
def test_the_shop_works_with_the_core_only(tmp_path: Path, catalogue: str) -> None:
    program = (
        f"import gymnasium, mise_gym; env = gymnasium.make('mise/WebShop-v0', catalogue={catalogue!r}); print(env.reset()[0])"
    )
    done = run_with_the_core_only(tmp_path, program)

    assert done.stdout.startswith("WebShop [SEP]"), done.stderr


def test_info_can_be_written_as_json(catalogue: str) -> None:
    env = shop(catalogue, infos=WebShopEnv.available_infos)
    env.reset(seed=2)

    assert json.dumps([env.step(action)[4] for action in env.expert_actions()])
