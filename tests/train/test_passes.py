"""A minibatch read in several passes is the same minibatch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.reference import reference_of
from tests.train.conftest import MakePolicy, play
from tests.train.test_ppo import ONLY_POLICY, pay

EVERYTHING = replace(
    ONLY_POLICY, vf_coef=0.5, ent_coef=0.01, kl_coef=0.1, calibration_coef=1.0, anchor_coef=0.1, num_epochs=2, max_grad_norm=0.5
)
"""Every term of the loss is on."""


def update(policy: LLMPolicy, config: PPOConfig) -> dict[str, float]:
    rollout = play(policy, games=7)
    rewards = pay(*([float(row % 3)] * len(episode) for row, episode in enumerate(rollout.episodes)))
    learner = PPOLearner(policy, reference_of(policy), config, judge="trained")
    return learner.update(rollout, rewards, np.random.default_rng(0))


def gradients(policy: LLMPolicy) -> dict[str, Tensor]:
    return {name: weights.grad for name, weights in policy.named_parameters() if weights.grad is not None}


@pytest.mark.parametrize("knobs", [{}, {"advantages": "token"}, {"kl_penalty": "reward"}, {"critic": "separate"}])
@pytest.mark.parametrize("max_tokens", [1, 200, 400])
def test_the_gradients_of_the_passes_add_up_to_that_of_the_minibatch(
    make_policy: MakePolicy, max_tokens: int, knobs: dict[str, Any]
) -> None:
    whole, passes = make_policy(0), make_policy(0)
    passes.max_tokens_per_pass = max_tokens
    config = replace(EVERYTHING, learning_rate=0.0, critic_learning_rate=0.0, num_epochs=1, **knobs)

    expected, found = update(whole, config), update(passes, config)

    ours, theirs = gradients(passes), gradients(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(gradient, theirs[name], rtol=1e-4, atol=1e-6) for name, gradient in ours.items())
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_updates_in_passes_leave_the_same_weights(make_policy: MakePolicy) -> None:
    whole, passes = make_policy(0), make_policy(0)
    passes.max_tokens_per_pass = 200
    config = replace(EVERYTHING, minibatch_episodes=3, learning_rate=1e-3)

    for policy in (whole, passes):
        update(policy, config)

    theirs = whole.state_dict()
    assert all(torch.allclose(weights, theirs[name], atol=1e-5) for name, weights in passes.state_dict().items())


def test_no_pass_has_more_tokens_than_it_may(policy: LLMPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    features = policy.features
    monkeypatch.setattr(policy, "features", lambda ids: sizes.append(ids.numel()) or features(ids))
    longest = max(len(policy.with_hindsight(episode)[0]) for episode in play(policy, games=7).episodes)
    policy.max_tokens_per_pass = 2 * longest

    update(policy, replace(EVERYTHING, num_epochs=1))

    assert len(sizes) > 3
    assert max(sizes) <= 2 * longest
