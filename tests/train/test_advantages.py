"""Generalised advantages against a slow sum, the two extremes, and numbers worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mise_gym.train.advantages import gae

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
