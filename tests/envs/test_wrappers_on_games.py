"""The wrappers on real cooking games."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from mise_gym.envs.wrappers import (
    ActionParser,
    AdmissibleCommands,
    AdmissibleIndexAction,
    ChatMessages,
    HashedText,
    History,
    RecordTrajectories,
    replay,
)
from mise_gym.trajectories import read_episodes

pytestmark = pytest.mark.integration


def make_game(**arguments: Any) -> Any:
    return gym.make("mise/FTWP-v0", num_games=2, infos=["admissible_commands"], **arguments)


def test_recorded_games_replay_exactly_in_a_new_environment(tmp_path: Path) -> None:
    env = RecordTrajectories(make_game(), tmp_path / "games.jsonl.gz")
    rng = np.random.default_rng(0)
    for seed in (5, None, None):
        _, info = env.reset(seed=seed)
        for _ in range(10):
            *_, info = env.step(str(rng.choice(info["admissible_commands"])))
    env.close()

    episodes = list(read_episodes(tmp_path / "games.jsonl.gz"))

    again = make_game()
    assert len(episodes) == 3
    assert [replay(again, episode) for episode in episodes] == episodes
    again.close()


def test_the_whole_stack_for_a_language_model_wins_by_the_experts_commands() -> None:
    env = ActionParser(ChatMessages(AdmissibleCommands(History(make_game(), turns=2))), formats=("tag",))
    messages, info = env.reset(seed=0)
    for command in env.unwrapped.expert_actions():  # type: ignore[attr-defined]
        assert f"- {command}" in messages[-1]["content"].splitlines()
        messages, reward, *_, info = env.step(f"I think\n<action>{command}</action>")
    env.close()

    assert info["success"]
    assert reward == 1.0
    assert info["malformed_actions"] == 0


def test_a_classic_learner_can_win_by_indices() -> None:
    env = HashedText(AdmissibleIndexAction(make_game(), max_actions=64), size=64)
    vector, info = env.reset(seed=0)
    for command in env.unwrapped.expert_actions():  # type: ignore[attr-defined]
        assert vector in env.observation_space
        vector, _, _, _, info = env.step(info["admissible_commands"].index(command))
    env.close()

    assert info["success"]


def test_the_specification_of_a_whole_stack_survives_json() -> None:
    env = HashedText(AdmissibleIndexAction(History(make_game(split="valid"), turns=2), max_actions=16), size=32)

    again = gym.make(EnvSpec.from_json(env.spec.to_json()))

    np.testing.assert_array_equal(env.reset(seed=3)[0], again.reset(seed=3)[0])
    env.close()
    again.close()
