"""MISERewardWrapper around a real cooking game."""

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

from mise_gym.rewards import MISERewardVectorWrapper, MISERewardWrapper

GAME = {"level": "recipe1+cook", "num_games": 1}


def play_expert(env):
    env.reset(seed=0)
    steps = [env.step(action) for action in env.unwrapped.expert_actions()]
    return [step[1] for step in steps], steps[-1][4]


@pytest.mark.integration
def test_the_expert_of_a_real_game_is_paid_turn_by_turn():
    env = MISERewardWrapper(gym.make("mise/FTWP-v0", **GAME), judge="oracle", calibrator="centred", delivery="step")
    rewards, info = play_expert(env)
    env.close()
    assert info["success"]
    assert info["mise"]["scores"][-1] == 1.0
    assert set(info["mise"]["scores"]) <= {0.5, 1.0}
    assert rewards == info["mise"]["step_rewards"]
    assert info["mise"]["env_rewards"] == [0.0] * (len(rewards) - 1) + [1.0]


@pytest.mark.integration
def test_game_and_reward_come_back_from_one_json_string():
    env = MISERewardWrapper(gym.make("mise/FTWP-v0", **GAME), judge="flipped", judge_kwargs={"judge": "oracle"})
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert play_expert(again) == play_expert(env)
    env.close()
    again.close()


@pytest.mark.integration
def test_a_vector_of_real_games_is_judged_when_it_ends():
    envs = MISERewardVectorWrapper(
        gym.make_vec("mise/FTWP-v0", num_envs=2, max_turns=2, **GAME), judge="constant", calibrator="identity"
    )
    envs.reset(seed=0)
    envs.step(["look", "inventory"])
    _, rewards, _, truncations, infos = envs.step(["look", "inventory"])
    envs.close()
    assert truncations.all()
    assert rewards.tolist() == [0.25, 0.25]
    assert infos["mise"]["scores"].tolist() == [[0.5, 0.5]] * 2
