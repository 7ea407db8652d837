"""One number followed from ``env.step`` to the loss: 0.625, what the pantry pays for a thing of the right colour."""

import copy
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch

from mise_gym.rewards.base import RewardBreakdown
from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.train.advantages import gae
from mise_gym.train.credit import HindsightCredit
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.rollout import Rollout, collect
from tests.train.pantry import HALF_RIGHT, Pantry

W_HINDSIGHT, GAMMA, GAE_LAMBDA = 0.1, 0.9, 0.8
RED_APRICOT_WANTED = {"game": 1}


class StrictPantry(Pantry):
    """Leaves a choice in the first two turns and none in the third, in which the half right thing has to be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.paid: list[float] = []

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        step = super().step(action)
        self.paid.append(step[1])
        return step

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"admissible_commands": ["take red apple"] if self.turn == 2 else ["read label", "wait"]}


@pytest.fixture
def env() -> StrictPantry:
    return StrictPantry()


@pytest.fixture
def rollout(env: gym.Env[str, str], policy: LLMPolicy) -> Rollout:
    return collect([env], [RED_APRICOT_WANTED], policy, seeds=[0])


@pytest.fixture
def rewards(policy: LLMPolicy, rollout: Rollout) -> list[RewardBreakdown]:
    return RewardPipeline(SelfEvaluationJudge(policy), "centred", w_hindsight=W_HINDSIGHT).reward(rollout.episodes)


def hidden_states(policy: LLMPolicy, rollout: Rollout) -> torch.Tensor:
    """Read the episode and its questions once, the slow plain way. Shape ``(S, D)``."""
    ids, _ = policy.with_hindsight(rollout.episodes[0])
    with torch.no_grad():
        return policy.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]


def expected_self_evaluation(policy: LLMPolicy, rollout: Rollout) -> np.ndarray:
    """Return P("good") of the three turns and of the whole attempt. Shape ``(4,)``."""
    _, slots = policy.with_hindsight(rollout.episodes[0])
    logits = hidden_states(policy, rollout)[slots] @ policy.model.get_output_embeddings().weight.detach().T
    return logits[:, [policy.text.good_id, policy.text.bad_id]].softmax(-1)[:, 0].double().numpy()


def expected_rewards(policy: LLMPolicy, rollout: Rollout) -> np.ndarray:
    scores = expected_self_evaluation(policy, rollout)[:3]
    return np.array([0.0, 0.0, HALF_RIGHT]) + W_HINDSIGHT * (2 * scores - 1)


def expected_targets(policy: LLMPolicy, rollout: Rollout, credit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, normalised advantages and value targets. Shapes ``(3, 2)``, ``(3,)`` and ``(3, 2)``."""
    paid = expected_rewards(policy, rollout)
    known = np.zeros(3) if credit == "return" else paid - [0.0, 0.0, HALF_RIGHT]
    with torch.no_grad():
        features = hidden_states(policy, rollout)[rollout.traces[0].value_positions]
        values = policy.value_head.head(features).double().numpy()
    advantages, returns = gae(paid - known, values[:, 0], gamma=GAMMA, gae_lambda=GAE_LAMBDA)
    advantages = advantages + known - values[:, 1]
    return values, (advantages - advantages.mean()) / advantages.std(), np.stack([returns, known], -1)


def losses_of(
    policy: LLMPolicy, rollout: Rollout, rewards: list[RewardBreakdown], credit: HindsightCredit = "turn"
) -> dict[str, float]:
    config = PPOConfig(num_epochs=1, gamma=GAMMA, gae_lambda=GAE_LAMBDA, hindsight_credit=credit, calibration_score="brier")
    return PPOLearner(policy, copy.deepcopy(policy), config, judge="trained").update(rollout, rewards, np.random.default_rng(0))


def test_hop_1_the_environment_pays_the_number_in_the_last_turn(env: StrictPantry, rollout: Rollout) -> None:
    assert env.paid == [0.0, 0.0, HALF_RIGHT]


def test_hop_2_the_transitions_carry_it(rollout: Rollout) -> None:
    assert [turn.reward for turn in rollout.episodes[0].transitions] == [0.0, 0.0, HALF_RIGHT]
    assert rollout.episodes[0].progress == HALF_RIGHT


def test_hop_3_the_policys_own_scores_are_added_to_it(
    policy: LLMPolicy, rollout: Rollout, rewards: list[RewardBreakdown]
) -> None:
    assert rewards[0].env_rewards == (0.0, 0.0, HALF_RIGHT)
    assert rewards[0].step_rewards == pytest.approx(expected_rewards(policy, rollout), abs=1e-6)
    assert rewards[0].step_rewards[-1] != HALF_RIGHT


@pytest.mark.parametrize("credit", get_args(HindsightCredit))
def test_hop_4_the_critic_is_held_against_what_is_a_reward(
    policy: LLMPolicy, rollout: Rollout, rewards: list[RewardBreakdown], credit: HindsightCredit
) -> None:
    values, _, value_targets = expected_targets(policy, rollout, credit)

    losses = losses_of(policy, rollout, rewards, credit)

    assert losses["train/value_loss"] == pytest.approx(0.5 * np.mean(((values - value_targets) ** 2).sum(-1)), rel=1e-4)


@pytest.mark.parametrize("credit", get_args(HindsightCredit))
def test_hop_5_the_surrogate_weighs_each_choice_by_the_advantage_of_its_turn(
    policy: LLMPolicy, rollout: Rollout, rewards: list[RewardBreakdown], credit: HindsightCredit
) -> None:
    _, advantages, _ = expected_targets(policy, rollout, credit)
    turns = [decision.turn for decision in rollout.traces[0].decisions]

    losses = losses_of(policy, rollout, rewards, credit)

    assert turns == [0, 1]
    assert losses["train/policy_loss"] == pytest.approx(-np.mean(advantages[turns]), rel=1e-3)


def test_hop_6_the_judge_is_paid_for_believing_in_it(policy: LLMPolicy, rollout: Rollout, rewards: list[RewardBreakdown]) -> None:
    belief = expected_self_evaluation(policy, rollout)[-1]

    losses = losses_of(policy, rollout, rewards)

    assert rewards[0].judge["belief"] == pytest.approx(belief, abs=1e-6)
    assert losses["train/calibration_reward"] == pytest.approx(1 - (belief - HALF_RIGHT) ** 2, rel=1e-5)
