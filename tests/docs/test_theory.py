"""The statements of docs/theory.md, checked on random finite distributions."""

import re
from pathlib import Path

import numpy as np
import pytest

from mise_gym.rewards.calibrators.outcome import OutcomeCalibrator

SEEDS = range(20)


def entropy(probabilities):
    return float(-np.sum(probabilities * np.log(probabilities)))


def hindsight_world(seed):
    """Return p(h), shape (H,), pi(a | h), shape (H, A), and a reward r(a, h), shape (H, A), for one fixed state."""
    rng = np.random.default_rng(seed)
    num_hindsights, num_actions = rng.integers(2, 7, size=2)
    weights = rng.dirichlet(np.ones(num_hindsights))
    posterior = rng.dirichlet(np.ones(num_actions), size=num_hindsights)
    return weights, posterior, rng.normal(scale=2.0, size=posterior.shape)


def both_sides(weights, posterior, reward):
    """Return both sides of the identity; nothing is shared between their computations but the distributions."""
    normaliser = np.exp(reward).sum(axis=1)
    proxy = np.exp(reward) / normaliser[:, None]
    policy = weights @ posterior
    left = weights @ (posterior * reward).sum(axis=1) - weights @ np.log(normaliser) + entropy(policy)
    joint = weights[:, None] * posterior
    information = np.sum(joint * np.log(joint / (weights[:, None] * policy)))
    divergence = weights @ (posterior * np.log(posterior / proxy)).sum(axis=1)
    return left, information - divergence


def scored_outcomes(seed):
    """Return p(s), shape (S,), the success rate of each score, shape (S,), and c of each score by its definition."""
    rng = np.random.default_rng(seed)
    num_scores = rng.integers(2, 9)
    weights, success = rng.dirichlet(np.ones(num_scores)), rng.uniform(0.02, 0.98, num_scores)
    mean = weights @ success
    return weights, success, (success - mean) / np.sqrt(mean * (1 - mean))


def information_bits(weights, success):
    outcomes = np.stack([success, 1 - success], axis=1)
    return float(weights @ np.sum(outcomes * np.log2(outcomes / (weights @ outcomes)), axis=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_identity_holds(seed):
    left, right = both_sides(*hindsight_world(seed))
    assert left == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_unbiased_judge_leaves_the_mutual_information_alone(seed):
    weights, posterior, _ = hindsight_world(seed)
    policy = weights @ posterior
    left, _ = both_sides(weights, posterior, np.log(posterior))
    assert left == pytest.approx(entropy(policy) - weights @ [entropy(row) for row in posterior], abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_calibrated_reward_is_zero_on_average(seed):
    weights, _, calibrated = scored_outcomes(seed)
    assert weights @ calibrated == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_calibrated_reward_is_never_against_the_outcome(seed):
    weights, success, calibrated = scored_outcomes(seed)
    mean = weights @ success
    covariance = weights @ (calibrated * (success - mean))
    assert covariance == pytest.approx(np.sqrt(mean * (1 - mean)) * (weights @ calibrated**2), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mutual_information_bounds_what_is_paid(seed):
    weights, success, calibrated = scored_outcomes(seed)
    mean, power = weights @ success, weights @ calibrated**2
    bits = information_bits(weights, success)
    assert 2 * mean * (1 - mean) * power / np.log(2) <= bits <= np.log2(1 + power)


def test_the_mutual_information_of_a_weak_judge_is_half_the_power():
    weights, success = np.array([0.5, 0.5]), np.array([0.29, 0.31])
    power = np.mean(((success - 0.3) / np.sqrt(0.3 * 0.7)) ** 2)
    assert information_bits(weights, success) == pytest.approx(power / (2 * np.log(2)), rel=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_outcome_calibrator_learns_the_definition(seed):
    """With many episodes of one turn the shrinkage vanishes, and c of the docs remains."""
    weights, success, calibrated = scored_outcomes(seed)
    rng, calibrator = np.random.default_rng(seed), OutcomeCalibrator(window=20_000)
    grid = np.linspace(0.7, 0.9, len(weights))
    for score in rng.choice(len(weights), size=20_000, p=weights):
        calibrator.update([grid[score]], float(rng.random() < success[score]))
    errors = calibrator(grid) - calibrated
    assert np.sqrt(weights @ errors**2) < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_the_calibration_reward_is_proper(seed):
    rng = np.random.default_rng(seed)
    outcomes, beliefs = rng.random(50), np.linspace(0, 1, 1001)
    paid = np.mean(1 - (beliefs[:, None] - outcomes) ** 2, axis=1)
    assert beliefs[paid.argmax()] == pytest.approx(outcomes.mean(), abs=1e-3)
    assert paid == pytest.approx(1 - (beliefs - outcomes.mean()) ** 2 - outcomes.var(), abs=1e-12)


def test_the_page_names_the_constants_that_the_code_uses():
    page = (Path(__file__).parents[2] / "docs" / "theory.md").read_text(encoding="utf-8")
    calibrator = OutcomeCalibrator()
    assert re.search(rf"k = max\({calibrator.shrinkage:g}, 1 / tau\^2\)", page)
    assert "last 500 episodes" in page
    assert "at most ten bins" in page
