"""The callback of Stable-Baselines3: the numbers in the rollout buffer are those of a slow and obvious computation."""

from collections.abc import Sequence
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
from mise_gym.rewards import JudgeResult, JudgeStatus, MISERewardWrapper
from mise_gym.types import Episode
from tests.corridor import CORRIDOR_ID

GAMMA, LAMBDA, NUM_ENVS, N_STEPS = 0.9, 0.8, 2, 17
W_ENV, W_HINDSIGHT = 2.0, 0.5
TextEnv = gym.Env[Any, Any]


def numbers(env: TextEnv) -> TextEnv:
    return HashedText(AdmissibleIndexAction(env, max_actions=2), size=16)


def corridor(max_turns: int = 6) -> TextEnv:
    return gym.make(CORRIDOR_ID, infos=["admissible_commands"], max_episode_steps=max_turns)


def judged_corridor(delivery: str = "info") -> TextEnv:
    return numbers(
        MISERewardWrapper(
            corridor(), judge="heuristic", calibrator="identity", w_env=W_ENV, w_hindsight=W_HINDSIGHT, delivery=delivery
        )
    )


@dataclass
class Story:
    """What happened to one environment in one rollout, turn by turn, and what the buffer held at its end."""

    paid: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    dones: list[bool] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    """Discounted value of the last observation where a time limit cut an episode, otherwise 0."""
    judged: list[dict[str, Any]] = field(default_factory=list)
    """``info["mise"]`` on the last turn of an episode, otherwise nothing."""
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
            story.judged.append(info["mise"] if story.dones[-1] else {})
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


def by_row(story: Story, part: str, weight: float) -> dict[int, float]:
    """``weight`` times a part of ``info["mise"]``, for the rows that hold the turns of episodes that ended."""
    parts = {}
    for row, mise in enumerate(story.judged):
        for turns_before_the_end, amount in enumerate(reversed(mise.get(part, []))):
            parts[row - turns_before_the_end] = weight * amount
    return parts


def slow_rewards(story: Story, credit: str) -> list[float]:
    """What was paid, but in episodes that ended the weighted parts of the reward, and the value after a timeout on top."""
    env = by_row(story, "env_rewards", W_ENV)
    hindsight = by_row(story, "calibrated", W_HINDSIGHT if credit == "return" else 0.0)
    rewards = [env.get(row, paid) + hindsight.get(row, 0.0) for row, paid in enumerate(story.paid)]
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


def stories_of(callback: HindsightRewardCallback) -> list[Story]:
    """Both environments in three rollouts of PPO, with a judge."""
    witness = Witness()
    venv = make_vec_env(judged_corridor, n_envs=NUM_ENVS, seed=1)
    settings = {"n_steps": N_STEPS, "batch_size": NUM_ENVS * N_STEPS, "n_epochs": 1, "gamma": GAMMA, "gae_lambda": LAMBDA}
    PPO("MlpPolicy", venv, seed=1, device="cpu", **settings).learn(3 * N_STEPS * NUM_ENVS, callback=[callback, witness])
    return [story for rollout in witness.rollouts for story in rollout]


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    """With hindsight rewards that are added to returns."""
    return stories_of(HindsightRewardCallback("return"))


@pytest.fixture(scope="module")
def credited() -> list[Story]:
    """With hindsight rewards as credit of their own turn."""
    return stories_of(HindsightRewardCallback("turn"))


def test_the_rollouts_hold_wins_timeouts_and_episodes_cut_by_both_borders(stories: list[Story], credited: list[Story]) -> None:
    for some in (stories, credited):
        ends = [(story, row) for story in some for row in range(N_STEPS) if story.dones[row]]

        assert {bool(story.timeouts[row]) for story, row in ends} == {True, False}
        assert any(len(story.judged[row]["scores"]) > row + 1 for story, row in ends)
        assert any(not story.dones[-1] for story in some)


def test_the_rewards_in_the_buffer_are_those_of_the_judge(stories: list[Story]) -> None:
    for story in stories:
        np.testing.assert_allclose(story.buffer["rewards"], slow_rewards(story, "return"), atol=1e-5)


def test_advantages_and_returns_follow_from_the_new_rewards(stories: list[Story]) -> None:
    for story in stories:
        slow = [slow_advantage(story, slow_rewards(story, "return"), row) for row in range(N_STEPS)]

        np.testing.assert_allclose(story.buffer["advantages"], slow, atol=1e-5)
        np.testing.assert_allclose(story.buffer["returns"], np.add(slow, story.values), atol=1e-5)


def test_as_credit_hindsight_is_added_to_the_advantage_of_its_turn_and_to_nothing_else(credited: list[Story]) -> None:
    for story in credited:
        rewards = slow_rewards(story, "turn")
        slow = [slow_advantage(story, rewards, row) for row in range(N_STEPS)]
        credit = by_row(story, "calibrated", W_HINDSIGHT)

        np.testing.assert_allclose(story.buffer["rewards"], rewards, atol=1e-5)
        np.testing.assert_allclose(story.buffer["returns"], np.add(slow, story.values), atol=1e-5)
        np.testing.assert_allclose(
            story.buffer["advantages"], [slow[row] + credit.get(row, 0.0) for row in range(N_STEPS)], atol=1e-5
        )


def test_credit_is_that_of_the_turn_unless_asked_otherwise(credited: list[Story]) -> None:
    assert [story.buffer for story in stories_of(HindsightRewardCallback())] == [story.buffer for story in credited]


def test_an_unknown_credit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"credit='token' is unknown\. Give one of turn, return\."):
        HindsightRewardCallback("token")


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
        self.ended: list[list[tuple[int, int, dict[str, Any]]]] = []
        """Of every episode that ended in a rollout: environment, last row, ``info["mise"]``."""

    def _on_rollout_start(self) -> None:
        self.ended.append([])

    def _on_step(self) -> bool:
        for env, info in enumerate(self.locals["infos"]):
            if self.locals["dones"][env]:
                self.ended[-1].append((env, self.model.rollout_buffer.pos, info["mise"]))
        return True

    def _on_rollout_end(self) -> None:
        self.buffers.append(deepcopy(self.model.rollout_buffer))
        self.dones.append(self.model._last_episode_starts.copy())


@pytest.mark.slow
@pytest.mark.parametrize("credit", ["turn", "return"])
@pytest.mark.parametrize(
    ("algorithm", "policy"), [(MaskablePPO, "MlpPolicy"), (RecurrentPPO, "MlpLstmPolicy"), (TRPO, "MlpPolicy")]
)
def test_the_buffers_of_sb3_contrib_hold_what_they_would_with_these_rewards_from_the_start(
    algorithm: Any, policy: str, credit: Any
) -> None:
    before, after = Copies(), Copies()
    venv = make_vec_env(judged_corridor, n_envs=NUM_ENVS, seed=1)
    settings = {"n_steps": N_STEPS, "batch_size": NUM_ENVS * N_STEPS, "gamma": GAMMA, "gae_lambda": LAMBDA}
    algorithm(policy, venv, seed=1, device="cpu", **settings).learn(
        3 * N_STEPS * NUM_ENVS, callback=[before, HindsightRewardCallback(credit), after]
    )

    for old, new, dones, ended in zip(before.buffers, after.buffers, after.dones, after.ended, strict=True):
        last_values = torch.as_tensor((old.advantages[-1] - old.rewards[-1] + old.values[-1]) / GAMMA)
        hindsight = np.zeros_like(old.rewards)
        for env, last, mise in ended:
            first = max(0, last + 1 - len(mise["scores"]))
            inside = slice(first - last - 1, None)
            old.rewards[first : last + 1, env] += (W_ENV - 1) * np.array(mise["env_rewards"][inside])
            hindsight[first : last + 1, env] = W_HINDSIGHT * np.array(mise["calibrated"][inside])
        old.rewards += hindsight * (credit == "return")
        old.compute_returns_and_advantage(last_values, dones)
        old.advantages += hindsight * (credit == "turn")
        np.testing.assert_allclose(new.rewards, old.rewards, atol=1e-5)
        np.testing.assert_allclose(new.returns, old.returns, atol=1e-5)
        np.testing.assert_allclose(new.advantages, old.advantages, atol=1e-5)


class Silent:
    name = "silent"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        return [JudgeResult(status=JudgeStatus.TIMEOUT) for _ in episodes]


@pytest.mark.parametrize("credit", ["turn", "return"])
def test_an_episode_without_scores_keeps_the_environment_s_reward(credit: Any) -> None:
    before, after = Copies(), Copies()
    env = numbers(MISERewardWrapper(corridor(), judge=Silent(), delivery="info"))
    model = PPO("MlpPolicy", env, n_steps=N_STEPS, batch_size=N_STEPS, seed=1, device="cpu")
    model.learn(N_STEPS, callback=[before, HindsightRewardCallback(credit), after])

    for name in ("rewards", "returns", "advantages"):
        assert getattr(before.buffers[0], name).tolist() == getattr(after.buffers[0], name).tolist()


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
