"""What counts as shown, as not shown and as contradicted, on figures made by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mise_gym.ablation.claims import (
    CLAIMS,
    RunFigures,
    above,
    becomes_modest,
    difference,
    not_better_than_before,
    overall,
    tells_better,
    verdict_of,
    within,
)
from mise_gym.ablation.intervals import t_interval

RUN = RunFigures(
    success_before=0.1,
    success_after=0.5,
    overconfidence_before=0.4,
    overconfidence_after=0.1,
    gap_after=0.02,
    auroc_before=0.7,
    auroc_after=0.9,
    turn_auroc_before=0.6,
    turn_auroc_after=0.8,
)


def arm(*successes: float) -> dict[int, RunFigures]:
    return {seed: replace(RUN, success_after=success) for seed, success in enumerate(successes)}


def changed(**figures: Sequence[float | None]) -> dict[int, RunFigures]:
    rows = zip(*figures.values(), strict=True)
    return {seed: replace(RUN, **dict(zip(figures, row, strict=True))) for seed, row in enumerate(rows)}


def test_the_interval_is_students() -> None:
    interval = t_interval([0.2, 0.3, 0.4])

    # mean 0.3, standard deviation 0.1, quantile of Student's t with 2 degrees of freedom 4.3027, so 4.3027 * 0.1 / sqrt(3)
    assert interval.mean == pytest.approx(0.3)
    assert interval.half_width == pytest.approx(0.24841, abs=1e-5)
    assert (interval.low, interval.high) == pytest.approx((0.05159, 0.54841), abs=1e-5)


def test_one_value_says_nothing_about_the_width() -> None:
    assert math.isinf(t_interval([0.2]).half_width)
    assert str(t_interval([0.2])) == "0.200 (one seed)"


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ((0.70, 0.72, 0.71), (0.50, 0.52, 0.51), "shown"),
        ((0.50, 0.52, 0.51), (0.70, 0.72, 0.71), "contradicted"),
        ((0.70, 0.60, 0.80), (0.65, 0.55, 0.75), "not shown"),
        ((0.9,), (0.1,), "not shown"),
    ],
)
def test_an_arm_is_above_another_where_their_intervals_are_apart(
    ours: Sequence[float], theirs: Sequence[float], outcome: str
) -> None:
    assert above(arm(*ours), arm(*theirs)).outcome == outcome


def test_the_numbers_that_decided_are_told() -> None:
    verdict = above(arm(0.6, 0.8), arm(0.5, 0.7))

    # one degree of freedom: 12.706 * 0.1414 / sqrt(2) = 1.271; both differences are 0.1
    assert verdict.numbers == "0.700 ± 1.271 against 0.600 ± 1.271; by seed 0.100 ± 0.000"


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ((0.70, 0.71, 0.72), (0.68, 0.71, 0.74), "shown"),
        ((0.40, 0.41, 0.42), (0.68, 0.71, 0.74), "contradicted"),
        ((0.90, 0.91, 0.92), (0.68, 0.71, 0.74), "contradicted"),
        ((0.50, 0.60, 0.70), (0.700, 0.701, 0.702), "not shown"),
        ((0.7,), (0.7,), "not shown"),
    ],
)
def test_an_arm_is_as_good_as_another_where_its_mean_is_in_the_others_interval(
    ours: Sequence[float], theirs: Sequence[float], outcome: str
) -> None:
    assert within(arm(*ours), arm(*theirs)).outcome == outcome


@pytest.mark.parametrize(
    ("after", "outcome"),
    [((0.1, 0.05, 0.0), "shown"), ((0.3, 0.31, 0.32), "contradicted"), ((0.05, 0.3, 0.1), "not shown"), ((0.0,), "not shown")],
)
def test_an_arm_does_not_improve_where_the_mean_gain_is_not_above_zero(after: Sequence[float], outcome: str) -> None:
    assert not_better_than_before(arm(*after)).outcome == outcome


@pytest.mark.parametrize(
    ("before", "after", "gap", "outcome"),
    [
        ((0.40, 0.41, 0.42), (0.10, 0.11, 0.12), (0.02, 0.03, 0.01), "shown"),
        ((0.40, 0.41, 0.42), (0.30, 0.31, 0.32), (0.02, 0.03, 0.01), "not shown"),
        ((0.40, 0.41, 0.42), (0.10, 0.11, 0.12), (0.05, 0.08, 0.11), "not shown"),
        ((0.40, 0.41, 0.42), (0.60, 0.61, 0.62), (0.02, 0.03, 0.01), "contradicted"),
        ((0.40, 0.41, 0.42), (0.10, 0.11, 0.12), (0.20, 0.21, 0.22), "contradicted"),
        ((0.40, 0.41, 0.42), (-0.30, -0.31, -0.32), (-0.20, -0.21, -0.22), "contradicted"),
        ((None, None, None), (None, None, None), (0.0, 0.0, 0.0), "not shown"),
    ],
)
def test_modesty_needs_half_the_overconfidence_and_a_small_gap(
    before: Sequence[float | None], after: Sequence[float | None], gap: Sequence[float], outcome: str
) -> None:
    seeds = changed(overconfidence_before=before, overconfidence_after=after, gap_after=gap)

    assert becomes_modest(seeds).outcome == outcome


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ((0.80, 0.81, 0.82), "shown"),
        ((0.60, 0.61, 0.62), "contradicted"),
        ((0.60, 0.70, 0.80), "not shown"),
        ((None, None, 0.9), "not shown"),
        ((None, None, None), "not shown"),
    ],
)
def test_telling_better_needs_a_change_of_auroc_above_zero(after: Sequence[float | None], outcome: str) -> None:
    assert tells_better(changed(auroc_after=after)).outcome == outcome


def test_differences_are_taken_between_runs_of_one_seed() -> None:
    ours, theirs = {1: RUN, 2: replace(RUN, success_after=0.9), 3: RUN}, {2: RUN, 1: replace(RUN, success_after=0.3)}

    interval = difference(ours, theirs)

    assert interval is not None
    assert (interval.mean, interval.count) == (pytest.approx(0.3), 2)
    assert difference(ours, {7: RUN}) is None


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text)
def test_a_claim_without_runs_of_its_arms_has_no_verdict(claim: object) -> None:
    assert verdict_of(claim, {"mise": {}, "dense": arm(0.5)}) is None  # type: ignore[arg-type]  # a row of CLAIMS


@pytest.mark.parametrize(
    ("outcomes", "together"),
    [
        (["shown"], "shown"),
        (["shown", "shown", "not shown"], "shown"),
        (["shown", "not shown", "not shown"], "not shown"),
        (["shown", "shown", "contradicted"], "not shown"),
        (["contradicted", "not shown"], "contradicted"),
        (["contradicted", "shown"], "not shown"),
        ([], "not shown"),
    ],
)
def test_environments_speak_together(outcomes: list[str], together: str) -> None:
    assert overall(outcomes) == together  # type: ignore[arg-type]  # three known words
