"""The callback of Stable-Baselines3: the numbers in the rollout buffer are those of a slow and obvious computation."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from mise_gym.envs.wrappers import AdmissibleIndexAction, HashedText
from mise_gym.errors import ConfigError
from mise_gym.integrations.sb3 import HindsightRewardCallback
from mise_gym.rewards import MISERewardWrapper
from tests.corridor import CORRIDOR_ID

GAMMA, LAMBDA, NUM_ENVS, N_STEPS = 0.9, 0.8, 2, 17
TextEnv = gym.Env[Any, Any]


def numbers(env: TextEnv) -> TextEnv:
    return HashedText(AdmissibleIndexAction(env, max_actions=2), size=16)


def corridor(max_turns: int = 6) -> TextEnv:
    return gym.make(CORRIDOR_ID, infos=["admissible_commands"], max_episode_steps=max_turns)


def judged_corridor(delivery: str = "info") -> TextEnv:
    return numbers(
        MISERewardWrapper(corridor(), judge="heuristic", calibrator="identity", w_env=2.0, w_hindsight=0.5, delivery=delivery)
    )


@dataclass
class Story:
    """What happened to one environment in one rollout, turn by turn, and what the buffer held at its end."""

    paid: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    dones: list[bool] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    """Discounted value of the last observation where a time limit cut an episode, otherwise 0."""
    hindsight: list[list[float]] = field(default_factory=list)
    """The judge's rewards of a whole episode on its last turn, otherwise nothing."""
    added: list[float] = field(default_factory=list)
    """By how much the judge's rewards of an episode exceed the environment's, for every episode that ended."""
    last_value: float = 0.0
    buffer: dict[str, list[float]] = field(default_factory=dict)
    logged: dict[str, float] = field(default_factory=dict)


class Witness(BaseCallback):
    """Writes the stories; it runs after the callback under test."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[list[Story]] = []

    def _on_rollout_start(self) -> None:
        self.rollouts.append([Story() for _ in range(NUM_ENVS)])

    def _on_step(self) -> bool:
        for env, story in enumerate(self.rollouts[-1]):
            info = self.locals["infos"][env]
            story.paid.append(float(self.locals["rewards"][env]))
            story.values.append(float(self.locals["values"][env]))
            story.dones.append(bool(self.locals["dones"][env]))
            story.timeouts.append(GAMMA * self.value(info["terminal_observation"]) if info["TimeLimit.truncated"] else 0.0)
            story.hindsight.append(info["mise"]["step_rewards"] if story.dones[-1] else [])
            if story.dones[-1]:
                story.added.append(sum(info["mise"]["step_rewards"]) - sum(info["mise"]["env_rewards"]))
        return True

    def _on_rollout_end(self) -> None:
        for env, story in enumerate(self.rollouts[-1]):
            story.last_value = float(self.locals["values"][env])
            names = ("rewards", "returns", "advantages")
            story.buffer = {name: getattr(self.model.rollout_buffer, name)[:, env].tolist() for name in names}
            story.logged = dict(self.logger.name_to_value)

    def value(self, observation: np.ndarray) -> float:
        with torch.no_grad():
            return float(self.model.policy.predict_values(torch.as_tensor(observation)[None]))


def slow_rewards(story: Story) -> list[float]:
    """What was paid, but the judge's rewards for the turns of episodes that ended, and the value after a timeout on top."""
    rewards = list(story.paid)
    for row, hindsight in enumerate(story.hindsight):
        for turns_before_the_end, reward in enumerate(reversed(hindsight)):
            if row - turns_before_the_end >= 0:
                rewards[row - turns_before_the_end] = reward
    return [reward + timeout for reward, timeout in zip(rewards, story.timeouts, strict=True)]


def slow_advantage(story: Story, rewards: list[float], row: int) -> float:
    """GAE as a sum over the turns that follow in the same episode."""
    total, weight = 0.0, 1.0
    for turn in range(row, len(rewards)):
        following = story.last_value if turn + 1 == len(rewards) else story.values[turn + 1]
        total += weight * (rewards[turn] + GAMMA * following * (not story.dones[turn]) - story.values[turn])
        if story.dones[turn]:
            break
        weight *= GAMMA * LAMBDA
    return total


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    """Both environments in three rollouts of PPO, with a judge."""
    witness = Witness()
    venv = make_vec_env(judged_corridor, n_envs=NUM_ENVS, seed=1)
    settings = {"n_steps": N_STEPS, "batch_size": NUM_ENVS * N_STEPS, "n_epochs": 1, "gamma": GAMMA, "gae_lambda": LAMBDA}
    PPO("MlpPolicy", venv, seed=1, device="cpu", **settings).learn(
        3 * N_STEPS * NUM_ENVS, callback=[HindsightRewardCallback(), witness]
    )
    return [story for rollout in witness.rollouts for story in rollout]


def test_the_rollouts_hold_wins_timeouts_and_episodes_cut_by_both_borders(stories: list[Story]) -> None:
    ends = [(story, row) for story in stories for row in range(N_STEPS) if story.dones[row]]

    assert {bool(story.timeouts[row]) for story, row in ends} == {True, False}
    assert any(len(story.hindsight[row]) > row + 1 for story, row in ends)
    assert any(not story.dones[-1] for story in stories)


def test_the_rewards_in_the_buffer_are_those_of_the_judge(stories: list[Story]) -> None:
    for story in stories:
        np.testing.assert_allclose(story.buffer["rewards"], slow_rewards(story), atol=1e-5)


def test_advantages_and_returns_follow_from_the_new_rewards(stories: list[Story]) -> None:
    for story in stories:
        slow = [slow_advantage(story, slow_rewards(story), row) for row in range(N_STEPS)]

        np.testing.assert_allclose(story.buffer["advantages"], slow, atol=1e-5)
        np.testing.assert_allclose(story.buffer["returns"], np.add(slow, story.values), atol=1e-5)


def test_the_share_of_turns_that_went_without_a_judge_is_logged(stories: list[Story]) -> None:
    both = stories[-NUM_ENVS:]
    without = sum(next(turns for turns, done in enumerate(reversed(story.dones)) if done) for story in both)

    assert both[0].logged["rollout/unjudged_turns"] == pytest.approx(without / (NUM_ENVS * N_STEPS))


def test_the_mean_reward_that_was_added_is_logged(stories: list[Story]) -> None:
    both = stories[-NUM_ENVS:]

    assert both[0].logged["rollout/hindsight_reward"] == pytest.approx(
        np.mean([added for story in both for added in story.added])
    )


def test_it_serves_a2c_too() -> None:
    model = A2C("MlpPolicy", make_vec_env(judged_corridor, n_envs=NUM_ENVS), device="cpu").learn(
        40, callback=HindsightRewardCallback()
    )

    assert model.num_timesteps == 40


class Copies(BaseCallback):
    """Keeps copies of the rollout buffers; one stands before the callback under test and one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[Any] = []
        self.dones: list[np.ndarray] = []
        self.hindsight: list[list[tuple[int, int, list[float]]]] = []
        """Of every episode that ended in a rollout: environment, last row, what the judge added to its turns."""

    def _on_rollout_start(self) -> None:
        self.hindsight.append([])

    def _on_step(self) -> bool:
        for env, info in enumerate(self.locals["infos"]):
            if self.locals["dones"][env]:
                mise = info["mise"]
                added = np.subtract(mise["step_rewards"], mise["env_rewards"]).tolist()
                self.hindsight[-1].append((env, self.model.rollout_buffer.pos, added))
        return True

    def _on_rollout_end(self) -> None:
        self.buffers.append(deepcopy(self.model.rollout_buffer))
        self.dones.append(self.model._last_episode_starts.copy())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "policy"), [(MaskablePPO, "MlpPolicy"), (RecurrentPPO, "MlpLstmPolicy"), (TRPO, "MlpPolicy")]
)
def test_the_buffers_of_sb3_contrib_hold_what_they_would_with_these_rewards_from_the_start(algorithm: Any, policy: str) -> None:
    before, after = Copies(), Copies()
    venv = make_vec_env(judged_corridor, n_envs=NUM_ENVS, seed=1)
    settings = {"n_steps": N_STEPS, "batch_size": NUM_ENVS * N_STEPS, "gamma": GAMMA, "gae_lambda": LAMBDA}
    algorithm(policy, venv, seed=1, device="cpu", **settings).learn(
        3 * N_STEPS * NUM_ENVS, callback=[before, HindsightRewardCallback(), after]
    )

    for old, new, dones, ended in zip(before.buffers, after.buffers, after.dones, after.hindsight, strict=True):
        last_values = torch.as_tensor((old.advantages[-1] - old.rewards[-1] + old.values[-1]) / GAMMA)
        for env, last, added in ended:
            for turns_before_the_end, reward in enumerate(reversed(added[-last - 1 :])):
                old.rewards[last - turns_before_the_end, env] += reward
        old.compute_returns_and_advantage(last_values, dones)
        np.testing.assert_allclose(new.rewards, old.rewards, atol=1e-5)
        np.testing.assert_allclose(new.advantages, old.advantages, atol=1e-5)
        np.testing.assert_allclose(new.returns, old.returns, atol=1e-5)


def test_a_buffer_with_advantages_of_its_own_kind_is_refused() -> None:
    class OtherAdvantages(RolloutBuffer):
        def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
            self.advantages[:] = self.rewards

    model = PPO("MlpPolicy", judged_corridor(), n_steps=8, batch_size=8, device="cpu", rollout_buffer_class=OtherAdvantages)

    with pytest.raises(ConfigError, match="OtherAdvantages computes returns and advantages in a way of its own"):
        model.learn(8, callback=HindsightRewardCallback())


def test_an_algorithm_without_rollouts_is_refused() -> None:
    model = DQN("MlpPolicy", judged_corridor(), buffer_size=10, device="cpu")

    with pytest.raises(ConfigError, match="DQN keeps no rollouts"):
        model.learn(4, callback=HindsightRewardCallback())


def test_scaled_rewards_are_refused() -> None:
    model = PPO("MlpPolicy", VecNormalize(make_vec_env(judged_corridor)), n_steps=8, batch_size=8, device="cpu")

    with pytest.raises(ConfigError, match="norm_reward=False"):
        model.learn(8, callback=HindsightRewardCallback())


def test_a_reward_that_was_paid_already_is_not_paid_twice() -> None:
    model = PPO("MlpPolicy", judged_corridor(delivery="terminal"), n_steps=8, batch_size=8, device="cpu")

    with pytest.raises(ConfigError, match="delivery='info'"):
        model.learn(8, callback=HindsightRewardCallback())


def test_an_environment_without_a_judge_is_refused() -> None:
    model = PPO("MlpPolicy", numbers(corridor()), n_steps=8, batch_size=8, device="cpu")

    with pytest.raises(ConfigError, match="without info\\['mise'\\]"):
        model.learn(8, callback=HindsightRewardCallback())
