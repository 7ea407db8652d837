"""I(score; outcome): right on known channels, blind to nothing but chance, and honest about turns that share an outcome."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from mise_gym.errors import ConfigError
from mise_gym.rewards.information import information
from mise_gym.rewards.metrics import mutual_information_bits

CAPACITY = 1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
"""Of a binary channel that errs once in four."""


def channel(seed, episodes, turns=1):
    """One score per episode, repeated every turn; it is wrong about the outcome once in four."""
    rng = np.random.default_rng(seed)
    outcomes = (rng.random(episodes) < 0.5).astype(float)
    scores = np.where(rng.random(episodes) < 0.25, 1 - outcomes, outcomes)
    return [[score] * turns for score in scores], outcomes


def test_a_revealing_score_is_worth_one_bit():
    result = information([[0.2], [0.8]] * 500, [0.0, 1.0] * 500)
    assert result.bits == pytest.approx(1.0, abs=0.01)


def test_a_noisy_channel_is_worth_its_capacity():
    result = information(*channel(0, 4000))
    assert result.low < CAPACITY < result.high
    assert result.bits == pytest.approx(CAPACITY, abs=0.03)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    results = [information(*channel(seed, 200), resamples=150, seed=seed) for seed in range(60)]
    covered = np.mean([result.low <= CAPACITY <= result.high for result in results])
    assert 0.85 <= covered <= 1.0
    assert np.mean([result.bits for result in results]) == pytest.approx(CAPACITY, abs=0.012)


def test_more_episodes_make_the_interval_narrower():
    few, many = (information(*channel(0, episodes)) for episodes in (100, 2000))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_twenty_equal_turns_are_one_piece_of_evidence():
    once, often = (information(*channel(3, 150, turns)) for turns in (1, 20))
    assert often.bits == pytest.approx(once.bits, abs=0.01)
    assert often.high - often.low == pytest.approx(once.high - once.low, abs=0.03)


def test_mannerisms_of_episodes_are_not_information():
    """Scores alike within an episode and unrelated to its outcome: counting turns finds bits, counting episodes finds none."""
    rng = np.random.default_rng(0)
    results, naive = [], []
    for _ in range(20):
        scores = [rng.random() + 0.001 * rng.random(20) for _ in range(60)]
        outcomes = (rng.random(60) < 0.5).astype(float)
        results.append(information(scores, outcomes, resamples=100))
        naive.append(mutual_information_bits(np.concatenate(scores), np.repeat(outcomes, 20)))
    assert np.median([result.bits for result in results]) < 0.02
    assert np.mean([result.low for result in results]) < 0.01
    assert np.median(naive) > 0.08


def test_which_way_round_makes_no_difference():
    scores, outcomes = channel(0, 300)
    flipped = [[1 - score for score in part] for part in scores]
    assert astuple(information(flipped, outcomes)) == pytest.approx(astuple(information(scores, outcomes)))


def test_the_seed_decides_the_interval():
    data = channel(0, 100)
    assert information(*data, seed=1) == information(*data, seed=1) != information(*data, seed=2)


@pytest.mark.parametrize(("scores", "outcomes"), [([], []), ([[0.5]], [1.0]), ([[0.5], []], [1.0, 0.0]), ([[0.5]] * 2, [1.0])])
def test_too_few_episodes_are_refused(scores, outcomes):
    with pytest.raises(ConfigError, match="at least two episodes"):
        information(scores, outcomes)
