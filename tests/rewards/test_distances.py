"""EPIC and STARC on recorded transitions: what must be 0, what must be 1, and one case by hand."""

import numpy as np
import pytest

from mise_gym.errors import ConfigError
from mise_gym.rewards.distances import END, canonical, epic_distance, starc_distance

GAMMA = 0.9
BOTH = pytest.mark.parametrize("distance", [epic_distance, starc_distance])


@pytest.fixture(scope="module")
def world():
    """Transitions of random walks over six states, some of which end, and a reward of each."""
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(0, 6, 200), rng.integers(0, 6, 200)
    targets[rng.random(200) < 0.1] = END
    return rng.normal(size=200), sources, targets


def shaped(rewards, sources, targets, potential):
    """R + gamma Phi(s') - Phi(s), transition by transition."""
    pairs = zip(rewards, sources, targets, strict=True)
    return np.array([r + (0.0 if end == END else GAMMA * potential[end]) - potential[start] for r, start, end in pairs])


@BOTH
def test_potential_shaping_is_no_distance(world, distance):
    rewards, sources, targets = world
    other = shaped(rewards, sources, targets, potential=[3.0, -1.0, 0.5, 7.0, 0.0, -4.0])

    assert distance(rewards, other, sources, targets, gamma=GAMMA) == pytest.approx(0.0, abs=1e-7)


@BOTH
def test_positive_scaling_is_no_distance(world, distance):
    rewards, sources, targets = world

    assert distance(rewards, 12.5 * rewards, sources, targets, gamma=GAMMA) == pytest.approx(0.0, abs=1e-7)


@BOTH
def test_negation_is_the_greatest_distance(world, distance):
    rewards, sources, targets = world

    assert distance(rewards, -0.2 * rewards, sources, targets, gamma=GAMMA) == pytest.approx(1.0)


@BOTH
def test_the_order_of_the_two_does_not_matter(world, distance):
    rewards, sources, targets = world
    other = np.random.default_rng(1).normal(size=200)

    there = distance(rewards, other, sources, targets, gamma=GAMMA)
    assert 0.5 < there < 0.9
    assert distance(other, rewards, sources, targets, gamma=GAMMA) == pytest.approx(there)


@BOTH
def test_nothing_but_shaping_is_no_reward_to_compare(world, distance):
    rewards, sources, targets = world
    nothing = shaped(np.zeros(200), sources, targets, potential=np.arange(6.0))

    assert distance(rewards, nothing, sources, targets, gamma=GAMMA) is None
    assert distance(np.zeros(200), rewards, sources, targets, gamma=GAMMA) is None


def test_a_constant_per_turn_matters_to_starc_only(world):
    rewards, sources, targets = world

    assert epic_distance(rewards, rewards + 1.0, sources, targets, gamma=GAMMA) == pytest.approx(0.0, abs=1e-7)
    assert starc_distance(rewards, rewards + 1.0, sources, targets, gamma=GAMMA) > 0.05


def test_two_turns_between_two_states_by_hand():
    """One state, three actions that end: no shaping but a constant, so EPIC is Pearson's distance of (1, 0, 0) and (0, 1, 0).

    Phi of the one state moves all three rewards alike. So both lose their mean: (2, -1, -1) / 3 and (-1, 2, -1) / 3, whose
    cosine is -1/2; the distance is sqrt((1 + 1/2) / 2) = 0.866.
    """
    sources, targets = np.zeros(3, dtype=int), np.full(3, END)
    first, second = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])

    for distance in (epic_distance, starc_distance):
        assert distance(first, second, sources, targets, gamma=GAMMA) == pytest.approx(np.sqrt(3) / 2)


def test_a_turn_that_changes_nothing_loses_its_reward_to_the_potential():
    """From state 0 to state 0: shaping adds (gamma - 1) Phi(0), which can be any number."""
    rewards = np.array([2.0])

    assert canonical(rewards, np.array([0]), np.array([0]), gamma=GAMMA) == pytest.approx([0.0])


def test_what_is_left_is_the_smallest_of_all_shaped_rewards(world):
    rewards, sources, targets = world
    left = canonical(rewards, sources, targets, gamma=GAMMA)
    rng = np.random.default_rng(2)

    others = [shaped(left, sources, targets, rng.normal(scale=scale, size=6)) for scale in (0.01, 0.1, 1.0) for _ in range(20)]
    assert np.linalg.norm(left) < min(np.linalg.norm(other) for other in others)


def test_rewards_of_other_transitions_are_refused(world):
    rewards, sources, targets = world

    with pytest.raises(ConfigError, match="of one length"):
        epic_distance(rewards, rewards[:-1], sources, targets, gamma=GAMMA)
