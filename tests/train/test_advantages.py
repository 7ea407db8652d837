"""Advantages against slow sums, the extremes, numbers worked out by hand, and the true gradient of a game small enough."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mise_gym.train.advantages import gae, group_advantages, normalise, returns_to_go

Array = NDArray[np.float64]


def slow_advantages(rewards: Array, values: Array, gamma: float, gae_lambda: float) -> list[float]:
    """Sum the discounted TD errors of every turn anew."""
    after = [*values[1:], 0.0]
    errors = [r + gamma * v_next - v for r, v, v_next in zip(rewards, values, after, strict=True)]
    return [sum((gamma * gae_lambda) ** (k - t) * errors[k] for k in range(t, len(errors))) for t in range(len(errors))]


@pytest.mark.parametrize("turns", [1, 2, 17])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.9, 0.8), (1.0, 0.95), (0.97, 1.0), (0.5, 0.0)])
def test_advantages_are_the_discounted_sums_of_td_errors(turns: int, gamma: float, gae_lambda: float) -> None:
    rng = np.random.default_rng(turns)
    rewards, values = rng.normal(size=turns), rng.normal(size=turns)

    advantages, _ = gae(rewards, values, gamma=gamma, gae_lambda=gae_lambda)

    assert advantages == pytest.approx(slow_advantages(rewards, values, gamma, gae_lambda))


def test_three_turns_worked_out_by_hand() -> None:
    advantages, value_targets = gae(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 4.0]), gamma=0.5, gae_lambda=0.5)

    # TD errors: 0 + 0.5 * 2 - 1 = 0;  1 + 0.5 * 4 - 2 = 1;  2 - 4 = -2;  each is carried back with 0.5 * 0.5
    assert advantages.tolist() == [0 + 0.25 * 0.5, 1 - 0.25 * 2, -2]
    assert value_targets.tolist() == [1.125, 2.5, 2.0]


def test_lambda_zero_is_the_one_step_error() -> None:
    advantages, _ = gae(np.array([0.0, 1.0]), np.array([0.3, 0.6]), gamma=0.9, gae_lambda=0.0)

    assert advantages == pytest.approx([0.9 * 0.6 - 0.3, 1 - 0.6])


def test_lambda_one_makes_the_value_targets_discounted_returns() -> None:
    _, value_targets = gae(np.array([0.0, 0.5, 1.0]), np.array([0.3, 7.0, -0.2]), gamma=0.9, gae_lambda=1.0)

    assert value_targets == pytest.approx([0.9 * (0.5 + 0.9 * 1.0), 0.5 + 0.9 * 1.0, 1.0])


def test_nothing_is_expected_after_the_last_turn() -> None:
    advantages, _ = gae(np.array([1.0]), np.array([0.25]), gamma=1.0, gae_lambda=1.0)

    assert advantages.tolist() == [0.75]


def test_a_discount_per_step_is_applied_to_what_follows_that_step() -> None:
    advantages, _ = gae(np.array([0.0, 0.0, 8.0]), np.zeros(3), gamma=np.array([0.5, 1.0, 0.0]), gae_lambda=1.0)

    assert advantages.tolist() == [4.0, 8.0, 8.0]


def test_returns_to_go_discount_what_comes_later() -> None:
    assert returns_to_go(np.array([1.0, 2.0, 4.0]), gamma=0.5).tolist() == [3.0, 4.0, 4.0]


def test_rloo_subtracts_the_mean_of_the_other_outcomes() -> None:
    advantages = group_advantages([np.array([1.0]), np.array([0.0]), np.array([0.5])], "rloo")

    assert np.concatenate(advantages) == pytest.approx([1 - 0.25, 0 - 0.75, 0.5 - 0.5])


def test_grpo_counts_in_standard_deviations_of_the_group() -> None:
    advantages = group_advantages([np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([1.0])], "grpo")

    assert np.concatenate(advantages) == pytest.approx([1, -1, -1, 1])


def test_turns_are_compared_with_the_same_turn_and_with_the_last_one_of_shorter_episodes() -> None:
    long, short = group_advantages([np.array([5.0, 4.0, 1.0]), np.array([3.0, 2.0])], "rloo")

    assert long.tolist() == [5 - 3, 4 - 2, 1 - 2]
    assert short.tolist() == [3 - 5, 2 - 4]


@pytest.mark.parametrize("baseline", ["rloo", "grpo"])
def test_episodes_that_were_paid_alike_have_no_advantage(baseline: Any) -> None:
    everything = np.concatenate(group_advantages([np.full(3, 0.1 + 0.2), np.full(5, 0.1 + 0.2), np.full(1, 0.1 + 0.2)], baseline))

    assert np.abs(everything).max() < 1e-6


def test_normalised_advantages_have_mean_zero_and_unit_spread_over_all_episodes_together() -> None:
    parts = normalise([np.array([1.0, 2.0]), np.array([6.0])])

    assert [len(part) for part in parts] == [2, 1]
    assert np.concatenate(parts) == pytest.approx((np.array([1, 2, 6]) - 3) / np.std([1, 2, 6]))


@pytest.mark.parametrize(("baseline", "is_unbiased"), [("rloo", True), ("grpo", False)])
def test_only_the_leave_one_out_gradient_is_that_of_the_expected_return(baseline: Any, is_unbiased: bool) -> None:
    """All groups of three episodes of a game of one or two turns, each weighed by its probability."""
    logits = torch.tensor([[0.3, -0.2], [0.5, 0.1]], dtype=torch.float64, requires_grad=True)
    first, second = logits.log_softmax(-1)
    episodes = [  # stop at once; or go on, and then take one or the other
        ([first[0]], np.array([0.3])),
        ([first[1], second[0]], np.array([0.1, 1.0])),
        ([first[1], second[1]], np.array([0.1, 0.0])),
    ]
    expected_return = sum(sum(chosen).exp() * rewards.sum() for chosen, rewards in episodes)
    surrogate = torch.zeros((), dtype=torch.float64)
    for group in itertools.product(episodes, repeat=3):
        probability = sum(sum(chosen) for chosen, _ in group).exp().detach()
        advantages = group_advantages([returns_to_go(rewards, gamma=1.0) for _, rewards in group], baseline)
        for (chosen, _), parts in zip(group, advantages, strict=True):
            surrogate = surrogate + probability / 3 * (torch.stack(chosen) * torch.tensor(parts)).sum()

    (estimate,) = torch.autograd.grad(surrogate, logits, retain_graph=True)
    (truth,) = torch.autograd.grad(expected_return, logits)

    assert torch.allclose(estimate, truth) == is_unbiased
