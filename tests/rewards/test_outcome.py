"""The outcome calibrator: what it pays for, what it does not, and that it is quick."""

import time

import numpy as np
import pytest

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.rewards.binning import equal_mass_bins
from mise_gym.rewards.calibrators.outcome import OutcomeCalibrator


def taught(score, num_episodes=400, success=0.3, seed=0, **options):
    """Return a calibrator that saw episodes of 5 to 20 turns; ``score(rng, won, turns)`` makes their scores."""
    rng = np.random.default_rng(seed)
    calibrator = OutcomeCalibrator(**options)
    for _ in range(num_episodes):
        won = float(rng.random() < success)
        calibrator.update(score(rng, won, int(rng.integers(5, 21))).tolist(), won)
    return calibrator


def informative(rng, won, turns):
    return np.clip(0.8 + 0.1 * (rng.random(turns) < 0.3 + 0.4 * won) + rng.uniform(-0.02, 0.02, turns), 0, 1)


def test_it_is_zero_before_any_data():
    assert OutcomeCalibrator()(np.array([0.0, 0.5, 1.0])).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("success", [0.0, 1.0])
def test_it_is_zero_when_all_outcomes_are_equal(success):
    assert taught(informative, success=success)(np.array([0.8, 0.9])).tolist() == [0.0, 0.0]


def test_it_is_zero_after_one_episode():
    calibrator = OutcomeCalibrator()
    calibrator.update([0.2, 0.9], 1.0)
    assert calibrator(np.array([0.2, 0.9])).tolist() == [0.0, 0.0]


def test_a_constant_judge_earns_nothing():
    assert taught(lambda rng, won, turns: np.full(turns, 0.9))(np.array([0.1, 0.9])).tolist() == [0.0, 0.0]


def test_it_matches_the_formula_by_hand():
    """Two scores, outcomes 1 and 0 in 10 episodes each, one turn each: d = ±1, v = 1/19, tau^2 = 18/19, k = 10."""
    calibrator = OutcomeCalibrator(shrinkage=10)
    for _ in range(10):
        calibrator.update([0.9], 1.0)
        calibrator.update([0.8], 0.0)
    assert calibrator(np.array([0.8, 0.9])) == pytest.approx([-19 / 29, 19 / 29])


@pytest.mark.parametrize("seed", range(10))
def test_noise_earns_little(seed):
    calibrator = taught(lambda rng, won, turns: rng.random(turns), seed=seed)
    assert np.abs(calibrator(np.linspace(0, 1, 101))).max() < 0.1


@pytest.mark.parametrize("seed", range(10))
def test_one_random_score_for_a_whole_episode_earns_little(seed):
    """The trap: 13 turns of one episode are one piece of evidence, not 13."""
    calibrator = taught(lambda rng, won, turns: np.full(turns, rng.random()), seed=seed)
    assert np.abs(calibrator(np.linspace(0, 1, 101))).max() < 0.3


def test_noise_often_earns_exactly_nothing():
    rewards = [taught(lambda rng, won, turns: rng.random(turns), seed=seed)(np.linspace(0, 1, 101)) for seed in range(30)]
    assert sum(not reward.any() for reward in rewards) >= 10


def test_on_average_noise_earns_nothing_at_all():
    rewards = [taught(lambda rng, won, turns: rng.random(turns), seed=seed)(np.linspace(0, 1, 101)) for seed in range(30)]
    assert np.abs(rewards).mean() < 0.02


def test_crowded_scores_are_spread_out():
    low, high = taught(informative)(np.array([0.8, 0.9]))
    assert low < -0.2
    assert high > 0.2


def test_an_inverted_judge_is_turned_round():
    straight = taught(informative)(np.array([0.8, 0.9]))
    inverted = taught(lambda rng, won, turns: 1 - informative(rng, won, turns))(np.array([0.2, 0.1]))
    assert inverted == pytest.approx(straight, abs=1e-9)


def test_the_scale_of_the_scores_does_not_matter():
    straight = taught(informative)(np.array([0.8, 0.9]))
    squeezed = taught(lambda rng, won, turns: 0.001 * informative(rng, won, turns))(np.array([0.0008, 0.0009]))
    assert squeezed == pytest.approx(straight, abs=1e-9)


def test_a_judge_whose_middle_scores_are_best_is_understood():
    def peaked(rng, won, turns):
        return np.where(rng.random(turns) < 0.2 + 0.6 * won, 0.5, rng.choice([0.1, 0.9], turns))

    low, middle, high = taught(peaked)(np.array([0.1, 0.5, 0.9]))
    assert middle > 0.2 > -0.2 > max(low, high)


def test_the_turns_in_the_window_are_paid_nothing_on_average():
    rng = np.random.default_rng(0)
    calibrator, seen = OutcomeCalibrator(shrinkage=0.0), []
    for won in rng.random(300) < 0.3:
        scores = rng.choice([0.7, 0.9], size=6 if won else 14, p=[0.2, 0.8] if won else [0.6, 0.4])
        calibrator.update(scores.tolist(), float(won))
        seen.append(scores)
    assert calibrator(np.concatenate(seen)).mean() == pytest.approx(0.0, abs=0.01)


def test_few_episodes_earn_less_than_many():
    few, many = (taught(informative, num_episodes=number)(np.array([0.9]))[0] for number in (15, 400))
    assert 0 <= few < many


def test_old_episodes_are_forgotten():
    calibrator = taught(informative, window=50)
    for _ in range(25):
        calibrator.update([0.8] * 5, 1.0)
        calibrator.update([0.9] * 5, 0.0)
    low, high = calibrator(np.array([0.8, 0.9]))
    assert low > 0.5 > -0.5 > high


def test_partial_outcomes_count():
    calibrator = OutcomeCalibrator()
    for outcome in np.tile([0.0, 0.25, 0.5, 0.75, 1.0], 40):
        calibrator.update([0.5 + 0.4 * outcome] * 4, float(outcome))
    rewards = calibrator(np.array([0.5, 0.6, 0.7, 0.8, 0.9]))
    assert (np.diff(rewards) > 0.5).all()
    assert rewards[2] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("bad", [{}, {"episodes": [1]}, {"episodes": [[["a"], 0.5]]}, {"episodes": None}])
def test_a_wrong_state_is_refused_and_changes_nothing(bad):
    calibrator = taught(informative)
    before = calibrator(np.array([0.8, 0.9]))
    with pytest.raises(CheckpointError, match="outcome calibrator"):
        calibrator.load_state_dict(bad)
    assert (calibrator(np.array([0.8, 0.9])) == before).all()


@pytest.mark.parametrize("options", [{"window": 0}, {"bins": 0}, {"shrinkage": -1.0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=r"outcome calibrator got .* Give"):
        OutcomeCalibrator(**options)


def test_a_full_window_is_fitted_in_milliseconds():
    calibrator = taught(informative, num_episodes=500)
    started = time.process_time()
    calibrator(np.array([0.5]))
    assert time.process_time() - started < 0.05


def test_distinct_values_have_bins_of_their_own():
    assert equal_mass_bins(np.array([0.5, 0.1, 0.5, 0.9]), 3).tolist() == [1, 0, 1, 2]


def test_bins_have_about_equal_mass():
    labels = equal_mass_bins(np.random.default_rng(0).uniform(0.7, 0.9, 1000), 10)
    assert np.bincount(labels).tolist() == [100] * 10


def test_equal_values_are_never_split():
    values = np.concatenate([np.full(900, 1.0), np.linspace(0, 0.9, 100)])
    labels = equal_mass_bins(values, 10)
    assert set(labels[:900]) == {labels.max()}
    assert labels.min() == 0
