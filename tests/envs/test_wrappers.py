"""The wrappers, on a corridor that needs no simulator."""

import json
import logging
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from mise_gym.envs.wrappers import (
    ActionParser,
    AdmissibleCommands,
    AdmissibleIndexAction,
    ChatMessages,
    EmbeddedText,
    HashedText,
    History,
    RecordTrajectories,
    parse_action,
    replay,
)
from mise_gym.envs.wrappers.text_vectors import hash_text
from mise_gym.errors import ConfigError, TrajectoryFormatError, UnknownNameError
from mise_gym.trajectories import read_episodes

TextEnv = gym.Env[str, str]


def lengths(text: str) -> list[int]:
    return [len(text), text.count("o")]


# History


def test_history_shows_the_last_turns_before_the_current_observation(corridor: TextEnv) -> None:
    env = History(corridor, turns=1)
    env.reset(options={"length": 4})
    env.step("wait")

    observation = env.step("go east")[0]

    assert observation == "Room 0 of 4.\n\n> go east\n\nRoom 1 of 4."


def test_history_of_no_turns_is_the_plain_observation(corridor: TextEnv) -> None:
    env = History(corridor, turns=0)
    env.reset(options={"length": 4})

    assert env.step("go east")[0] == "Room 1 of 4."


def test_history_forgets_the_last_episode(corridor: TextEnv) -> None:
    env = History(corridor, turns=5)
    env.reset(options={"length": 4})
    env.step("wait")
    env.reset(options={"length": 4})

    assert env.step("wait")[0] == "Room 0 of 4.\n\n> wait\n\nRoom 0 of 4."


# ChatMessages


def test_chat_messages_alternate_after_the_task(corridor: TextEnv) -> None:
    env = ChatMessages(corridor, system="Task: {task}")
    env.reset(options={"length": 4})

    observation = env.step("go east")[0]

    assert observation == (
        {"role": "system", "content": "Task: Reach {the} exit."},
        {"role": "user", "content": "Room 0 of 4."},
        {"role": "assistant", "content": "go east"},
        {"role": "user", "content": "Room 1 of 4."},
    )


def test_chat_messages_keep_the_task_when_old_turns_go(corridor: TextEnv) -> None:
    env = ChatMessages(corridor, turns=0)
    env.reset(options={"length": 4})

    roles = [message["role"] for message in env.step("go east")[0]]

    assert roles == ["system", "user"]


def test_an_empty_system_message_is_left_out(corridor: TextEnv) -> None:
    assert ChatMessages(corridor, system="").reset(options={"length": 4})[0] == ({"role": "user", "content": "Room 0 of 4."},)


def test_changing_a_message_does_not_change_the_dialogue(corridor: TextEnv) -> None:
    env = ChatMessages(corridor, system="")
    env.reset(options={"length": 4})[0][0]["content"] = "changed"

    assert env.step("wait")[0][0]["content"] == "Room 0 of 4."


# ActionParser


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<action>go east</action>", ("go east", "tag")),
        ("First <action>wait</action>, no: <action> go\neast </action> done", ("go east", "tag")),
        ("Thought: an exit.\nAction: go east\nObservation:", ("go east", "react")),
        ("Action: go east\nObservation: A wall.\nAction: go west", ("go east", "react")),
        ("Observation: A door.\nThought: open it\nAction: open door", ("open door", "react")),
        ("Action: wait\nAction: go east\nAction:", ("go east", "react")),
        ("**Action:** `go east`", ("go east", "react")),
        ("action : go east", ("go east", "react")),
        ("My action: go east", ("My action: go east", "line")),
        ("I will\n**go east**", ("go east", "line")),
        ("<action><action>go east</action></action>", ("go east", "tag")),
        ("<action>go east</action> <action>", ("go east", "tag")),
        ("<action>wait <action>go east</action>", ("go east", "tag")),
        ("<action>go east</action><action> </action>", ("go east", "tag")),
        ("<ACTION>go east</Action>", ("go east", "tag")),
        ("<action>go east", ("<action>go east", "line")),
        ("Action: <action>go east</action>", ("go east", "tag")),
        ("<action>search[a < b]</action>", ("search[a < b]", "tag")),
        ("I think so.\n> go east\n\n", ("go east", "line")),
        ("<think>Action: wait</think>go east", ("go east", "line")),
        ("<think>go east", ("", "malformed")),
        ("<action></action>", ("<action></action>", "line")),
        (" \n ", ("", "malformed")),
        ("", ("", "malformed")),
    ],
)
def test_a_command_is_found_in_text(text: str, expected: tuple[str, str]) -> None:
    assert parse_action(text) == expected


@pytest.mark.parametrize(
    "text", ["<action>" * 15_000, "</action>" * 15_000, "<think>" * 15_000, "\n" * 100_000, "Action:" * 15_000]
)
def test_hostile_text_is_parsed_in_linear_time(text: str) -> None:
    assert isinstance(parse_action(text, ("tag", "react")), tuple)


def test_malformed_text_is_sent_on_as_the_empty_command_and_counted(corridor: TextEnv) -> None:
    env = ActionParser(corridor, formats=("tag",))
    env.reset()

    observation, _, _, _, info = env.step("I shall go east")

    assert observation == "I beg your pardon?"
    assert (info["parsed_action"], info["action_format"], info["malformed_actions"]) == ("", "malformed", 1)


def test_the_report_starts_again_with_each_episode(corridor: TextEnv) -> None:
    env = ActionParser(corridor, formats=("tag",))
    env.reset()
    env.step("go east")

    info = env.reset()[1]

    assert (info["malformed_actions"], info["format_rate"], info["parsed_action"]) == (0, 0.0, "")


def test_the_rates_are_shares_of_the_turns_so_far(corridor: TextEnv) -> None:
    env = ActionParser(corridor, formats=("tag",))
    env.reset()
    for text in ("<action>wait</action>", "<action>wait</action>", "<action>dance</action>", "I shall wait"):
        info = env.step(text)[4]

    assert (info["format_rate"], info["repetition_rate"], info["admissible_rate"]) == (0.75, 0.25, 0.5)


def test_without_admissible_commands_no_rate_of_them_is_made_up() -> None:
    env = ActionParser(gym.make("tests/Corridor-v0"))
    first = env.reset()[1]
    later = env.step("wait")[4]

    assert "admissible_rate" not in first
    assert first.keys() == later.keys()


def test_a_misspelt_format_is_answered_with_the_nearest(corridor: TextEnv) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'react'"):
        ActionParser(corridor, formats=("reakt",))


# AdmissibleCommands and AdmissibleIndexAction


def test_admissible_commands_stand_under_the_observation(corridor: TextEnv) -> None:
    observation, _ = AdmissibleCommands(corridor).reset(options={"length": 4})

    assert observation == "Room 0 of 4.\n\nAdmissible commands:\n- go east\n- wait"


@pytest.mark.parametrize("wrapper", [AdmissibleCommands, AdmissibleIndexAction])
def test_an_environment_without_admissible_commands_is_refused_with_the_remedy(wrapper: Any) -> None:
    env = wrapper(gym.make("tests/Corridor-v0"))

    with pytest.raises(ConfigError, match=r"infos=\('admissible_commands',\)"):
        env.reset()


def test_an_index_sends_its_command(corridor: TextEnv) -> None:
    env = AdmissibleIndexAction(corridor, max_actions=4)
    env.reset(options={"length": 4})

    assert env.step(np.int64(0))[0] == "Room 1 of 4."


def test_the_mask_marks_the_commands(corridor: TextEnv) -> None:
    env = AdmissibleIndexAction(corridor, max_actions=4)

    mask = env.reset()[1]["action_mask"]

    assert mask.tolist() == [1, 1, 0, 0]
    assert env.action_space.sample(mask) in (0, 1)


def test_masked_ppo_is_told_the_same(corridor: TextEnv) -> None:
    env = AdmissibleIndexAction(corridor, max_actions=3)
    env.reset()

    assert env.action_masks().tolist() == [True, True, False]


def test_an_index_without_a_command_is_an_invalid_turn(corridor: TextEnv) -> None:
    env = AdmissibleIndexAction(corridor, max_actions=4)
    env.reset()

    assert not env.step(3)[4]["valid_action"]


def test_commands_that_do_not_fit_are_counted_and_warned_of_once(corridor: TextEnv, caplog: pytest.LogCaptureFixture) -> None:
    env = AdmissibleIndexAction(corridor, max_actions=1)

    with caplog.at_level(logging.WARNING):
        env.reset()
        info = env.step(0)[4]

    assert info["dropped_commands"] == 1
    assert len(caplog.records) == 1


# HashedText and EmbeddedText


def test_hashing_is_the_same_on_every_machine() -> None:
    vector = hash_text("Take the big fork", 8)

    assert (vector / np.abs(vector[vector != 0]).min()).round().tolist() == [0, 0, 0, -1, 3, 0, -1, 0]


def test_hashing_sees_word_order_only_through_ngrams() -> None:
    a, b = "fork on table", "table on fork"

    assert np.array_equal(hash_text(a, 64, ngrams=1), hash_text(b, 64, ngrams=1))
    assert not np.array_equal(hash_text(a, 64, ngrams=2), hash_text(b, 64, ngrams=2))


@pytest.mark.parametrize("text", ["", "!?", "\ud800", "日本語 テキスト"])
def test_any_text_can_be_hashed(corridor: TextEnv, text: str) -> None:
    env = HashedText(corridor, size=16)

    assert env.observation(text) in env.observation_space


def test_an_embedding_is_loaded_by_name() -> None:
    env = EmbeddedText(gym.make("tests/Corridor-v0"), embed="operator:length_hint", size=1)

    with pytest.raises(ConfigError, match=r"shape \(\), not \(1,\)"):
        env.reset()


def test_an_embedding_function_makes_the_observation(corridor: TextEnv) -> None:
    env = EmbeddedText(corridor, embed=lengths, size=2)

    assert env.reset(options={"length": 4})[0].tolist() == [12.0, 3.0]


@pytest.mark.parametrize("name", ["no_such_module:embed", "operator:no_such_function", "plain"])
def test_an_embedding_that_cannot_be_imported_is_refused(corridor: TextEnv, name: str) -> None:
    with pytest.raises(UnknownNameError, match="embedding"):
        EmbeddedText(corridor, embed=name, size=2)


# RecordTrajectories and replay


def test_a_finished_episode_is_on_disk_before_anything_is_closed(
    corridor: TextEnv, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    env = RecordTrajectories(corridor, tmp_path / "e.jsonl")
    env.reset(seed=1, options={"length": 1})
    env.step("go east")

    request.addfinalizer(env.close)
    (episode,) = read_episodes(tmp_path / "e.jsonl")

    assert (episode.success, episode.terminated, episode.truncated, episode.seed) == (True, True, False, 1)
    assert episode.transitions[0].observation == "Room 0 of 1."
    assert episode.extra["options"] == {"length": 1}


def test_a_step_limit_is_recorded_as_truncated(corridor: TextEnv, tmp_path: Path) -> None:
    env = RecordTrajectories(corridor, tmp_path / "e.jsonl")
    env.reset(seed=1)
    for _ in range(12):
        env.step("wait")
    env.close()

    (episode,) = read_episodes(tmp_path / "e.jsonl")

    assert (episode.terminated, episode.truncated, len(episode)) == (False, True, 12)


@pytest.mark.parametrize("interrupt", ["reset", "close"])
def test_an_interrupted_episode_is_recorded_as_neither_terminated_nor_truncated(
    corridor: TextEnv, tmp_path: Path, interrupt: str
) -> None:
    env = RecordTrajectories(corridor, tmp_path / "e.jsonl")
    env.reset(seed=1)
    env.step("wait")
    getattr(env, interrupt)()
    env.close()

    (episode,) = read_episodes(tmp_path / "e.jsonl")

    assert (episode.terminated, episode.truncated, len(episode)) == (False, False, 1)


def test_an_episode_without_a_turn_is_not_recorded(corridor: TextEnv, tmp_path: Path) -> None:
    env = RecordTrajectories(corridor, tmp_path / "e.jsonl")
    env.reset()
    env.reset()
    env.close()

    assert not (tmp_path / "e.jsonl").exists()


def test_a_replay_equals_the_recording_seeded_or_not(corridor: TextEnv, tmp_path: Path) -> None:
    env = RecordTrajectories(corridor, tmp_path / "e.jsonl")
    for seed in (3, None, None, None):
        env.reset(seed=seed)
        for action in ("go east", "dance", "go east"):
            env.step(action)
    env.close()

    episodes = list(read_episodes(tmp_path / "e.jsonl"))

    assert len(episodes) == 4
    assert [replay(gym.make("tests/Corridor-v0"), episode) for episode in episodes] == episodes


def test_a_replay_on_another_task_is_refused(corridor: TextEnv, tmp_path: Path) -> None:
    env = RecordTrajectories(corridor, tmp_path / "e.jsonl")
    env.reset(seed=1, options={"length": 9})
    env.step("wait")
    env.close()
    (episode,) = read_episodes(tmp_path / "e.jsonl")
    episode.extra["options"]["length"] = 8

    with pytest.raises(TrajectoryFormatError, match="recorded on task 'corridor-9', but reset gave 'corridor-8'"):
        replay(gym.make("tests/Corridor-v0"), episode)


def test_a_vector_of_environments_records_into_one_folder(tmp_path: Path) -> None:
    envs = gym.make_vec(
        "tests/Corridor-v0", 3, vectorization_mode="sync", wrappers=[lambda env: RecordTrajectories(env, tmp_path / "runs")]
    )
    envs.reset(seed=0, options={"length": 1})
    envs.step(("go east",) * 3)
    envs.close()

    recorded = [episode for file in (tmp_path / "runs").iterdir() for episode in read_episodes(file)]

    assert [episode.success for episode in recorded] == [True] * 3


def test_numbers_are_not_recorded(corridor: TextEnv, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RecordTrajectories needs text, but the observation space is Box"):
        RecordTrajectories(HashedText(corridor), tmp_path / "e.jsonl")  # type: ignore[arg-type]


# All of them


WRAPPERS: list[tuple[Any, dict[str, Any]]] = [
    (History, {"turns": 2}),
    (ChatMessages, {"turns": 2}),
    (ActionParser, {"formats": ("tag", "line")}),
    (AdmissibleCommands, {"heading": "You can:"}),
    (AdmissibleIndexAction, {"max_actions": 3}),
    (HashedText, {"size": 32, "ngrams": 1}),
    (EmbeddedText, {"embed": "tests_embedding:embed", "size": 3}),
    (RecordTrajectories, {"path": "e.jsonl"}),
]


@pytest.fixture
def _embedding_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests_embedding.py").write_text("def embed(text):\n    return [len(text), 0, 1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_embedding_on_the_path")
@pytest.mark.parametrize(("wrapper", "arguments"), WRAPPERS)
def test_the_specification_survives_json(corridor: TextEnv, wrapper: Any, arguments: dict[str, Any]) -> None:
    env = wrapper(corridor, **arguments)
    text = env.spec.to_json()

    again = gym.make(EnvSpec.from_json(text))

    assert type(again) is wrapper
    assert json.loads(again.spec.to_json()) == json.loads(text)
    first, second = (made.reset(seed=4)[0] for made in (env, again))
    np.testing.assert_equal(first, second)


@pytest.mark.usefixtures("_embedding_on_the_path")
@pytest.mark.filterwarnings("ignore:.*Box observation space.*:UserWarning", "ignore:.*WARN.*:UserWarning")
@pytest.mark.parametrize(("wrapper", "arguments"), WRAPPERS)
def test_gymnasiums_checker_accepts_the_wrapped_environment(corridor: TextEnv, wrapper: Any, arguments: dict[str, Any]) -> None:
    env = wrapper(corridor, **arguments)

    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize(
    ("wrapper", "arguments"),
    [
        (History, {"turns": -1}),
        (ChatMessages, {"turns": -1}),
        (ActionParser, {"formats": ()}),
        (AdmissibleIndexAction, {"max_actions": 0}),
        (HashedText, {"size": 0}),
        (EmbeddedText, {"embed": len, "size": 0}),
    ],
)
def test_a_senseless_setting_is_refused_at_construction(corridor: TextEnv, wrapper: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        wrapper(corridor, **arguments)
