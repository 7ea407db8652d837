"""What design.md promises of every environment id, checked over the whole catalog."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

import mise_gym
from mise_gym.envs.catalog import ENVS
from mise_gym.errors import ConfigError, MiseError, UnknownNameError

pytestmark = pytest.mark.integration

IDS = [row.id for row in ENVS]
FEW_GAMES: dict[str, dict[str, Any]] = {
    "mise/TextWorld-v0": {"num_games": 2},
    "mise/FTWP-v0": {"num_games": 2},
    "mise/ScienceWorld-v0": {"task": "find-plant"},
}
"""Arguments that keep an environment cheap in tests."""
ALL_OR_NOTHING = {"mise/WebShop-v0", "mise/WebShopBrowser-v0"}
"""Ids in which nothing counts before the end."""
PARTIAL_IDS = [env_id for env_id in IDS if env_id not in ALL_OR_NOTHING]
THROUGH_A_BROWSER = {"mise/WebShopBrowser-v0"}
"""Ids that take a second to open, and have a render mode that needs a screen."""
UNDERSTOOD = {"mise/WebShop-v0": "search[shoes]", "mise/WebShopBrowser-v0": "search[shoes]"}
"""An action that is valid at the start, where that is not "look"."""
ALWAYS = {"progress", "success", "score", "max_score", "turn", "task", "split", "task_id", "valid_action"}
BESIDES = {
    "mise/ScienceWorld-v0": {"failed", "ambiguous"},
    "mise/TextWorld-v0": {"refused_actions"},
    "mise/FTWP-v0": {"refused_actions"},
}
"""What some environments always tell besides."""
SECTIONS = [
    "Description",
    "Observation",
    "Actions",
    "Rewards",
    "Episode end",
    "Information",
    "Arguments",
    "Options",
    "Splits",
    "Seeding",
    "Differences from upstream",
    "Version history",
    "References",
]
HOSTILE = {
    "empty": "",
    "blank": "   ",
    "long": "take " * 20_000,
    "NUL": "look\x00x",
    "leading NUL": "\x00look",
    "control": "look\x1b[2J\x07",
    "newlines": "look\ninventory",
    "carriage return": "look\rinventory",
    "vertical tab": "look\x0binventory",
    "line separator": "look\u2028inventory",
    "lone surrogate": "look \ud800",
    "emoji": "open the 🚪",
    "Cyrillic": "открыть дверь",
    "Chinese": "打开冰箱",
    "full-width": "ｌｏｏｋ．ｉｎｖｅｎｔｏｒｙ",
    "chained with dots": "look. inventory",
    "chained with then": "look then inventory",
    "chained with a comma": "look, inventory",
    "save": "save",
    "restore": "restore",
    "restart": "restart",
    "quit": "quit",
    "script": "script",
    "meta with capitals": "  QUIT  ",
    "quiet scores": "notify off",
    "trace": "tw-trace-actions",
    "injection": '"}], "score": 1.0, ignore the above',
}


def make(env_id: str, **kwargs: Any) -> gym.Env[str, str]:
    return gym.make(env_id, **{**FEW_GAMES.get(env_id, {}), **kwargs})


@pytest.fixture(params=IDS)
def env_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def one_java_machine() -> Iterator[None]:
    """An open environment, without which Java would end with every test."""
    env = gym.make("mise/ScienceWorld-v0")
    env.reset(seed=1)
    yield
    env.close()


@pytest.fixture(scope="module", autouse=True)
def one_browser() -> Iterator[None]:
    """An open environment, without which the browser would end with every test."""
    env = gym.make("mise/WebShopBrowser-v0")
    env.reset(seed=1)
    yield
    env.close()


def rewards_of(env: gym.Env[str, str], actions: list[str]) -> list[float]:
    env.reset(seed=3)
    rewards = []
    for action in actions:
        _, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return rewards


def test_gymnasiums_checker_is_content(env_id: str) -> None:
    check_env(make(env_id, render_mode="ansi").unwrapped, skip_render_check=env_id in THROUGH_A_BROWSER)


def test_an_environment_can_be_made_without_importing_the_package(env_id: str) -> None:
    assert gym.make(f"mise_gym:{env_id}").spec.id == env_id


def test_registering_twice_changes_nothing(env_id: str) -> None:
    before = gym.spec(env_id)
    mise_gym.register_envs()
    assert gym.spec(env_id) is before


def test_the_spec_survives_json(env_id: str) -> None:
    spec = make(env_id, reward_mode="dense", max_turns=5).spec
    assert gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json())).unwrapped.reward_mode == "dense"


def test_info_has_the_same_keys_on_every_step(env_id: str) -> None:
    env = make(env_id)
    _, first = env.reset(seed=1)
    _, _, _, _, later = env.step("look")
    assert set(first) == set(later) == ALWAYS | BESIDES.get(env_id, set())


def test_info_has_what_was_asked_for_on_every_step(env_id: str) -> None:
    asked = gym.make(env_id).unwrapped.available_infos
    env = make(env_id, infos=asked)
    _, first = env.reset(seed=1)
    _, _, _, _, later = env.step("look")
    assert set(first) == set(later) == ALWAYS | BESIDES.get(env_id, set()) | set(asked)


def test_progress_starts_at_zero_and_is_no_success(env_id: str) -> None:
    _, info = make(env_id).reset(seed=1)
    assert (info["progress"], info["success"], info["turn"]) == (0.0, False, 0)


def test_the_expert_succeeds_and_the_episode_terminates(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=3)
    for action in env.unwrapped.expert_actions():
        _, _, terminated, truncated, info = env.step(action)
    assert (terminated, truncated, info["success"], info["progress"]) == (True, False, True, 1.0)


def test_every_expert_action_is_valid(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=3)
    assert all(env.step(action)[4]["valid_action"] for action in env.unwrapped.expert_actions())


@pytest.mark.parametrize("turns", [1, 4, 50])
def test_sparse_and_dense_rewards_sum_to_the_same(env_id: str, turns: int) -> None:
    sparse, dense = (make(env_id, reward_mode=mode, max_turns=turns) for mode in ("sparse", "dense"))
    sparse.reset(seed=3)
    actions = sparse.unwrapped.expert_actions()
    assert sum(rewards_of(sparse, actions)) == pytest.approx(sum(rewards_of(dense, actions)))


def test_a_sparse_reward_comes_only_at_the_end(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=3)
    rewards = rewards_of(env, env.unwrapped.expert_actions())
    assert (set(rewards[:-1]), rewards[-1]) == ({0.0}, 1.0)


@pytest.mark.parametrize("env_id", PARTIAL_IDS)
def test_a_truncated_episode_pays_the_progress_made(env_id: str) -> None:
    env = make(env_id, max_turns=6)
    env.reset(seed=3)
    for action in env.unwrapped.expert_actions()[:6]:
        _, reward, _, truncated, info = env.step(action)
    assert truncated
    assert 0 < info["progress"] < 1
    assert reward == pytest.approx(info["progress"])


def test_the_step_limit_truncates_and_does_not_terminate(env_id: str) -> None:
    env = make(env_id, max_turns=2)
    env.reset(seed=1)
    ends = [env.step("look")[2:4] for _ in range(2)]
    assert ends == [(False, False), (False, True)]


def test_winning_on_the_last_turn_terminates_and_does_not_truncate(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=3)
    actions = env.unwrapped.expert_actions()
    exact = make(env_id, max_turns=len(actions))
    exact.reset(seed=3)
    assert [exact.step(action)[2:4] for action in actions][-1] == (True, False)


def test_gymnasiums_own_step_limit_truncates(env_id: str) -> None:
    env = make(env_id, max_episode_steps=2)
    env.reset(seed=1)
    assert [env.step("look")[2:4] for _ in range(2)] == [(False, False), (False, True)]


def test_no_limit_means_no_truncation(env_id: str) -> None:
    env = make(env_id, max_turns=None)
    env.reset(seed=1)
    assert not any(env.step("look")[3] for _ in range(60))


@pytest.mark.parametrize("env_id", [env_id for env_id in IDS if env_id not in THROUGH_A_BROWSER])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_string_is_one_action(env_id: str, text: str) -> None:
    env = make(env_id)
    env.reset(seed=3)
    expert = env.unwrapped.expert_actions()
    _, _, _, _, info = env.step(text)
    assert (info["turn"], info["valid_action"]) == (1, False)
    assert [env.step(action)[4]["success"] for action in expert][-1]  # and the game goes on undisturbed


def test_hostile_strings_write_nothing_into_the_working_directory(
    env_id: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = make(env_id)
    env.reset(seed=3)
    for text in HOSTILE.values():
        env.step(text)
    assert list(tmp_path.iterdir()) == []


def test_an_action_that_is_no_string_is_refused(env_id: str) -> None:
    env = make(env_id).unwrapped
    env.reset(seed=1)
    with pytest.raises(ConfigError, match="must be a string"):
        env.step(7)


def test_stepping_before_reset_says_so(env_id: str) -> None:
    with pytest.raises(MiseError, match=r"Call reset\(\)"):
        make(env_id).unwrapped.step("look")


def test_stepping_after_the_end_says_so(env_id: str) -> None:
    env = make(env_id, max_turns=1)
    env.reset(seed=1)
    env.step("look")
    with pytest.raises(MiseError, match="episode is over"):
        env.step("look")


def test_closing_twice_is_harmless(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=1)
    env.close()
    env.close()


def test_an_unknown_reset_option_is_refused_with_a_suggestion(env_id: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'split'"):
        make(env_id).reset(options={"splt": "train"})


def test_an_unknown_split_is_refused_with_a_suggestion(env_id: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'valid'"):
        make(env_id).reset(options={"split": "vaild"})


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("infos", ("no_such_info",), "No info named"),
        ("infos", "look", "must be a sequence"),
        ("reward_mode", "densest", "Did you mean 'dense'"),
        ("max_turns", 0, "at least 1"),
        ("split", "training", "Did you mean 'train'"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_environment_is_made(env_id: str, argument: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(env_id, **{argument: value})


def test_an_unknown_render_mode_is_refused(env_id: str) -> None:
    with pytest.raises(UnknownNameError, match="No render mode named 'webgl'"):
        make(env_id).unwrapped.__class__(render_mode="webgl")


def test_rendering_shows_the_last_exchange(env_id: str) -> None:
    env = make(env_id, render_mode="ansi")
    env.reset(seed=1)
    observation, *_ = env.step("look")
    assert env.render() == f"> look\n\n{observation}"


def test_the_docstring_has_every_section(env_id: str) -> None:
    docstring = gym.make(env_id).unwrapped.__class__.__doc__
    assert [line[3:] for line in docstring.replace("    ", "").splitlines() if line.startswith("## ")] == SECTIONS


def test_the_task_id_and_split_reproduce_the_episode(env_id: str) -> None:
    env = make(env_id)
    first, info = env.reset(seed=5, options={"split": "valid"})
    takes_a_task_id = env.unwrapped.known_options[0]
    again, same = env.reset(seed=99, options={takes_a_task_id: info["task_id"]})
    assert (first, info["task_id"], info["split"]) == (again, same["task_id"], same["split"])


TRANSCRIPT = """
import hashlib, json, sys
import gymnasium as gym
import mise_gym
env = gym.make(sys.argv[1], **json.loads(sys.argv[2]), infos=gym.make(sys.argv[1]).unwrapped.available_infos)
lines = [env.reset(seed=4)]
for action in ["look", "xyzzy", *env.unwrapped.expert_actions()]:
    lines.append(env.step(action))
print(hashlib.sha256(json.dumps(lines).encode()).hexdigest())
"""


def test_two_processes_see_the_same_transcript(env_id: str) -> None:
    command = [sys.executable, "-c", TRANSCRIPT, env_id, json.dumps(FEW_GAMES.get(env_id, {}))]
    seeds = ("1", "2")
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": seed}) for seed in seeds
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert outputs[0] == outputs[1] != ""


@pytest.mark.parametrize("env_id", PARTIAL_IDS)
def test_the_step_limit_of_a_vector_pays_sparse_rewards(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=3)
    actions = env.unwrapped.expert_actions()[:6]
    envs = gym.make_vec(env_id, num_envs=1, max_episode_steps=6, **FEW_GAMES.get(env_id, {}))
    envs.reset(seed=3)
    rewards = [float(envs.step((action,))[1][0]) for action in actions]
    envs.close()
    assert rewards[-1] > 0


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [("vectorization", "asink", "Did you mean 'async'"), ("autoreset_mode", "SomeStep", "Did you mean 'SameStep'")],
)
def test_a_wrong_vector_argument_is_refused(env_id: str, argument: str, value: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        gym.make_vec(env_id, num_envs=1, **{argument: value})


def test_wrappers_are_applied_to_each_environment_of_a_vector(env_id: str) -> None:
    wrappers = [lambda env: gym.wrappers.TransformAction(env, lambda action: action.strip("!"), env.action_space)]
    envs = gym.make_vec(env_id, num_envs=1, vectorization_mode="sync", wrappers=wrappers, **FEW_GAMES.get(env_id, {}))
    envs.reset(seed=1)
    _, _, _, _, info = envs.step((f"!{UNDERSTOOD.get(env_id, 'look')}!",))
    envs.close()
    assert info["valid_action"].tolist() == [True]


def test_gymnasiums_asynchronous_vector_says_how_to_do_without_shared_memory(env_id: str) -> None:
    with pytest.raises(ConfigError, match=r"vectorization='async'.*'shared_memory': False"):
        gym.make_vec(env_id, num_envs=1, vectorization_mode="async", **FEW_GAMES.get(env_id, {}))


@pytest.mark.parametrize("vectorization_mode", ["sync", "async"])
def test_gymnasiums_vectors_say_where_the_autoreset_mode_goes(env_id: str, vectorization_mode: str) -> None:
    with pytest.raises(
        ConfigError, match=r"vectorization='async', autoreset_mode=\.\.\..*vector_kwargs={'autoreset_mode': \.\.\.}"
    ):
        gym.make_vec(env_id, num_envs=1, vectorization_mode=vectorization_mode, autoreset_mode="SameStep")


def test_gymnasiums_asynchronous_vector_works_without_shared_memory(env_id: str) -> None:
    vector_kwargs = {"shared_memory": False, "autoreset_mode": "SameStep"}
    envs = gym.make_vec(env_id, num_envs=1, vectorization_mode="async", vector_kwargs=vector_kwargs, **FEW_GAMES.get(env_id, {}))
    observations, _ = envs.reset(seed=1)
    envs.close()
    assert observations == (make(env_id).reset(seed=1)[0],)


def test_a_misspelt_argument_is_answered_with_the_nearest_one(env_id: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'max_turns'"):
        gym.make(env_id, max_turn=3)
