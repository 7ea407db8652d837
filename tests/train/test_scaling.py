"""Running statistics against all numbers at once, controllers and schedules against numbers worked out by hand."""

import json

import numpy as np
import pytest

from mise_gym.train.scaling import ReturnScale, adapted_kl_coef, learning_rate_factor

ROLLOUTS = [[np.array([1.0, 2.0]), np.array([10.0])], [np.array([-3.0])], [np.array([4.0, 4.5, 1e3])]]


def test_the_scale_of_parts_is_that_of_the_whole() -> None:
    scale = ReturnScale()

    for rollout in ROLLOUTS:
        scale.update(rollout)

    assert scale.value == pytest.approx(np.std(np.concatenate([part for rollout in ROLLOUTS for part in rollout])))


@pytest.mark.parametrize("returns", [[], [np.array([0.7, 0.7]), np.array([0.7])]])
def test_without_any_spread_rewards_stay_as_they_are(returns: list[np.ndarray]) -> None:
    scale = ReturnScale()
    if returns:
        scale.update(returns)

    assert scale.value == 1.0


def test_a_restored_scale_goes_on_exactly() -> None:
    whole, stopped, resumed = ReturnScale(), ReturnScale(), ReturnScale()
    for rollout in ROLLOUTS:
        whole.update(rollout)
    stopped.update(ROLLOUTS[0])

    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    for rollout in ROLLOUTS[1:]:
        resumed.update(rollout)

    assert resumed.value == whole.value


@pytest.mark.parametrize(("kl", "factor"), [(0.1, 1.0), (0.11, 1.01), (0.09, 0.99), (5.0, 1.02), (0.0, 0.98)], ids=str)
def test_the_kl_coefficient_follows_the_relative_error_up_to_a_limit(kl: float, factor: float) -> None:
    assert adapted_kl_coef(0.5, kl, target=0.1) == pytest.approx(0.5 * factor)


@pytest.mark.parametrize("toughness", [0.1, 1.0])
def test_the_controller_settles_at_its_target(toughness: float) -> None:
    """Where KL falls as the coefficient grows, it ends at the coefficient that gives the target."""
    kl_coef = 0.02
    for _ in range(2000):
        kl_coef = adapted_kl_coef(kl_coef, toughness / (1 + kl_coef), target=0.05)

    assert toughness / (1 + kl_coef) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("warmup", "decays", "factors"),
    [
        (0, False, [1, 1, 1, 1, 1]),
        (0, True, [1, 0.8, 0.6, 0.4, 0.2]),
        (3, False, [0.25, 0.5, 0.75, 1, 1]),
        (1, True, [0.5, 0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_the_learning_rate_rises_and_falls_evenly(warmup: int, decays: bool, factors: list[float]) -> None:
    assert [learning_rate_factor(done, 5, warmup=warmup, decays=decays) for done in range(5)] == pytest.approx(factors)


def test_the_learning_rate_never_turns_negative_when_more_is_done_than_was_planned() -> None:
    assert learning_rate_factor(7, 5, warmup=0, decays=True) == 0.0
