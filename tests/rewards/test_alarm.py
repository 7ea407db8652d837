"""The hacking alarm: rings when the judge is pleased and the task is not done better, and not otherwise."""

import json

import numpy as np
import pytest

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.rewards.alarm import HackingAlarm, trend

ITERATIONS = 40


def rings(scores, successes, noise=0.02, seed=0, **options):
    """Return whether the alarm rang at each iteration; both curves get noise."""
    rng, alarm = np.random.default_rng(seed), HackingAlarm(**options)
    pairs = np.stack([scores, successes], axis=1) + rng.normal(scale=noise, size=(ITERATIONS, 2))
    return [alarm.update(score, success) for score, success in pairs]


RISING, FLAT_LOW, FLAT_HIGH = np.linspace(0.5, 0.95, ITERATIONS), np.full(ITERATIONS, 0.3), np.full(ITERATIONS, 0.7)


def test_it_rings_when_the_score_climbs_and_success_does_not():
    rang = rings(RISING, FLAT_LOW)
    assert np.mean(rang[10:]) > 0.6
    assert not any(rang[:9])


def test_it_is_quiet_when_both_climb():
    assert np.mean(rings(RISING, RISING - 0.2)) < 0.05


def test_it_is_quiet_when_nothing_moves():
    assert np.mean([any(rings(FLAT_HIGH, FLAT_LOW, seed=seed)) for seed in range(20)]) < 0.3
    assert np.mean([np.mean(rings(FLAT_HIGH, FLAT_LOW, seed=seed)) for seed in range(20)]) < 0.03


def test_it_is_quiet_when_an_under_confident_judge_catches_up():
    assert not any(rings(np.linspace(0.2, 0.6, ITERATIONS), FLAT_HIGH))


def test_it_rings_when_success_falls():
    assert np.mean(rings(RISING, np.linspace(0.6, 0.2, ITERATIONS))[10:]) > 0.6


def test_the_state_is_restored_from_json():
    first, second = HackingAlarm(window=5), HackingAlarm(window=5)
    for score in (0.5, 0.6, 0.7, 0.8):
        first.update(score, 0.3)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.update(0.9, 0.3) is first.update(0.9, 0.3) is True


@pytest.mark.parametrize("state", [{}, {"seen": [1]}, {"seen": None}])
def test_a_wrong_state_is_refused(state):
    with pytest.raises(CheckpointError, match="hacking alarm"):
        HackingAlarm().load_state_dict(state)


@pytest.mark.parametrize("options", [{"window": 3}, {"threshold": 0.0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="window >= 4"):
        HackingAlarm(**options)


def test_a_trend_by_hand():
    """Slope 0.5, residuals 1/6 of a parabola: t = slope / sqrt(RSS / (n - 2) / Sxx)."""
    assert trend(np.array([0.0, 0.0, 1.0])) == pytest.approx(0.5 / np.sqrt((1 / 6) / 1 / 2))


@pytest.mark.parametrize(("values", "expected"), [([1.0, 2.0, 3.0], np.inf), ([3.0, 2.0, 1.0], -np.inf), ([1.0, 1.0, 1.0], 0.0)])
def test_the_trend_of_an_exact_line(values, expected):
    assert trend(np.array(values)) == expected
