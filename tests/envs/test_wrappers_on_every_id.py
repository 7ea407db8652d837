"""Every wrapper round every environment id, and recordings of every id replayed."""

import gzip
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from mise_gym.cli import main
from mise_gym.envs.wrappers import (
    ActionParser,
    AdmissibleCommands,
    AdmissibleIndexAction,
    ChatMessages,
    EmbeddedText,
    HashedText,
    History,
    RecordTrajectories,
    remake,
    replay,
)
from mise_gym.trajectories import read_episodes
from tests.envs.test_contract import FEW_GAMES, THROUGH_A_BROWSER, make
from tests.envs.test_contract import IDS as ALL_IDS

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_java_machine")]

IDS = [env_id for env_id in ALL_IDS if env_id not in THROUGH_A_BROWSER]

WRAPPERS: list[tuple[Any, dict[str, Any]]] = [
    (ActionParser, {"formats": ["tag"]}),
    (AdmissibleCommands, {}),
    (AdmissibleIndexAction, {"max_actions": 4000}),
    (ChatMessages, {"turns": 1}),
    (EmbeddedText, {"embed": "tests.envs.test_wrappers_on_every_id:count", "size": 2}),
    (HashedText, {"size": 64}),
    (History, {"turns": 1}),
    (RecordTrajectories, {"path": "episodes"}),
]
every_wrapper = pytest.mark.parametrize(("wrapper", "arguments"), WRAPPERS, ids=lambda part: getattr(part, "__name__", "with"))


def count(text: str) -> list[int]:
    return [len(text), len(text.split())]


@pytest.fixture(params=IDS)
def env_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@every_wrapper
def test_the_specification_makes_the_same_environment(env_id: str, wrapper: Any, arguments: dict[str, Any]) -> None:
    env = wrapper(make(env_id, infos=("admissible_commands",)), **arguments)

    again = gym.make(EnvSpec.from_json(env.spec.to_json()))

    assert type(again) is wrapper
    assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())
    np.testing.assert_equal(again.reset(seed=4), env.reset(seed=4))


@pytest.mark.filterwarnings("ignore:.*Box observation space.*:UserWarning", "ignore:.*WARN.*:UserWarning")
@pytest.mark.parametrize("env_id", [env_id for env_id in IDS if env_id != "mise/ScienceWorld-v0"])  # slow to reset a dozen times
@every_wrapper
def test_gymnasiums_checker_is_content(env_id: str, wrapper: Any, arguments: dict[str, Any]) -> None:
    env = wrapper(make(env_id, infos=("admissible_commands",)), **arguments)

    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize(
    ("wrapper", "arguments"),
    [row for row in WRAPPERS if row[0] is not AdmissibleIndexAction],
    ids=lambda part: getattr(part, "__name__", "with"),
)
def test_the_expert_still_wins_inside_a_wrapper(env_id: str, wrapper: Any, arguments: dict[str, Any]) -> None:
    env = wrapper(make(env_id, infos=("admissible_commands",)), **arguments)
    env.reset(seed=3)
    for action in env.unwrapped.expert_actions():
        *_, info = env.step(f"I had better\n<action>{action}</action>" if wrapper is ActionParser else action)
    env.close()

    assert info["success"]


def test_numbers_do_what_the_commands_do(env_id: str) -> None:
    numbered = AdmissibleIndexAction(make(env_id, infos=("admissible_commands",)), max_actions=4000)
    plain = make(env_id)
    plain.reset(seed=3)
    _, info = numbered.reset(seed=3)
    for _ in range(4):
        command = info["admissible_commands"][-1]
        observation, *_, info = numbered.step(info["admissible_commands"].index(command))
        assert observation == plain.step(command)[0]


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz"])
def test_recorded_episodes_replay_exactly(env_id: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(env_id, name)

    assert main(["replay", name]) == 0
    assert capsys.readouterr().out.startswith("3 episodes replayed exactly")


def test_what_a_vector_recorded_replays_exactly(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    envs = gym.make_vec(
        env_id,
        num_envs=2,
        vectorization_mode="sync",
        wrappers=[lambda env: RecordTrajectories(env, "runs")],
        max_turns=1,
        **FEW_GAMES.get(env_id, {}),
    )
    envs.reset(seed=1)
    for _ in range(3):
        envs.step(("look", "xyzzy"))
    envs.close()

    assert main(["replay", *map(str, Path("runs").iterdir())]) == 0
    assert capsys.readouterr().out == "4 episodes replayed exactly (4 turns).\n"


def test_a_replay_gives_the_recorded_episode(env_id: str) -> None:
    record(env_id, "e.jsonl")

    episodes = list(read_episodes("e.jsonl"))
    env = remake(episodes[0])

    assert [replay(env, episode) for episode in episodes] == episodes


def test_a_falsified_recording_is_found(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(env_id, "e.jsonl.gz")
    lines = gzip.decompress(Path("e.jsonl.gz").read_bytes()).decode().splitlines()
    falsified = json.loads(lines[1])
    falsified["transitions"][2]["next_observation"] += " And a door."
    Path("e.jsonl").write_text("\n".join([lines[0], json.dumps(falsified), lines[2], ""]))

    assert main(["replay", "e.jsonl"]) == 1
    first, summary = capsys.readouterr().out.splitlines()
    assert first.startswith("e.jsonl, episode 2 ")
    assert ": turn 3, next_observation: recorded" in first
    assert summary == "1 of 3 episodes came out differently."


def record(env_id: str, path: str) -> None:
    """Record a won episode, one of strange actions up to a step limit, and one that is broken off."""
    kwargs = {**FEW_GAMES.get(env_id, {}), "reward_mode": "dense"}
    env = RecordTrajectories(gym.make(env_id, **kwargs), path)
    env.reset(seed=3)
    for action in env.unwrapped.expert_actions():  # type: ignore[attr-defined]
        env.step(action)
    env.reset(options={"split": "valid"})
    for action in ("look", "xyzzy \ud800", "click[back to search]", ""):
        env.step(action)
    env.reset()
    env.step("look")
    env.close()


def test_an_episode_with_neither_seed_nor_options_is_found_by_its_task(env_id: str) -> None:
    record(env_id, "e.jsonl")
    last = list(read_episodes("e.jsonl"))[-1]
    last.extra.clear()

    assert replay(make(env_id, reward_mode="dense"), last) == last
