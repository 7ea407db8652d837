"""The claims about MISE, and the rules by which a suite shows or contradicts them. Pure functions of the figures of runs.

Every rule is about one environment. An interval is Student's t over seeds, 95 %; with a single seed it is infinite, and then
nothing is shown and nothing contradicted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mise_gym.ablation.intervals import Interval, t_interval

Outcome = Literal["shown", "not shown", "contradicted"]
LARGEST_GAP: Final = 0.1
"""How far the mean belief may be from the mean outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """What a finished run says about held-out tasks, played with sampled actions; ``None`` where a figure is not defined."""

    success_before: float
    success_after: float
    overconfidence_before: float | None
    """Mean belief minus mean outcome over failed episodes."""
    overconfidence_after: float | None
    gap_after: float
    """Mean belief minus mean outcome over all episodes."""
    auroc_before: float | None
    auroc_after: float | None
    turn_auroc_before: float | None
    """How well scores tell good turns from bad ones of the same episode."""
    turn_auroc_after: float | None


Seeds = Mapping[int, RunFigures]
"""Seed -> figures of one arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an environment says about a claim."""

    outcome: Outcome
    numbers: str
    """The numbers that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim and its rule."""

    text: str
    rule: str
    """When it counts as shown and when as contradicted, in words."""
    arms: tuple[str, ...]
    """Which arms it needs."""
    judge: Callable[..., Verdict]
    """From the seeds of each of these arms to the verdict."""


def above(ours: Seeds, theirs: Seeds) -> Verdict:
    """Judge whether one arm wins more held-out tasks: the intervals must be apart; the other way round they contradict it."""
    first, second = _successes(ours), _successes(theirs)
    outcome: Outcome = "shown" if first.low > second.high else "contradicted" if first.high < second.low else "not shown"
    return Verdict(outcome=outcome, numbers=f"{first} against {second}; by seed {difference(ours, theirs)}")


def within(ours: Seeds, theirs: Seeds) -> Verdict:
    """Judge whether the mean of one arm lies in the interval of another: contradicted where the intervals are apart."""
    first, second = _successes(ours), _successes(theirs)
    is_decided = min(first.count, second.count) > 1
    is_apart = first.low > second.high or first.high < second.low
    is_inside = is_decided and second.low <= first.mean <= second.high
    outcome: Outcome = "shown" if is_inside else "contradicted" if is_apart else "not shown"
    return Verdict(outcome=outcome, numbers=f"{first} against {second}; by seed {difference(ours, theirs)}")


def not_better_than_before(ours: Seeds) -> Verdict:
    """Judge whether an arm ends at or below its warm start: contradicted where the whole interval of the gain is above 0."""
    gain = t_interval([run.success_after - run.success_before for run in ours.values()])
    is_shown = gain.count > 1 and gain.mean <= 0
    outcome: Outcome = "shown" if is_shown else "contradicted" if gain.low > 0 else "not shown"
    return Verdict(outcome=outcome, numbers=f"gain {gain}")


def becomes_modest(ours: Seeds) -> Verdict:
    """Judge whether over-confidence falls to a half or less and beliefs come within ``LARGEST_GAP`` of outcomes.

    Shown where the interval of (after minus half of before) is at or below 0 and that of the gap inside the limit; contradicted
    where over-confidence certainly rises or the gap is certainly too large.
    """
    pairs = [(run.overconfidence_before, run.overconfidence_after) for run in ours.values()]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    if not known:
        return Verdict(outcome="not shown", numbers="no failed episodes to be over-confident about")
    excess = t_interval([abs(after) - before / 2 for before, after in known])
    rise = t_interval([after - before for before, after in known])
    gap = t_interval([run.gap_after for run in ours.values()])
    is_shown = excess.high <= 0 and gap.low >= -LARGEST_GAP and gap.high <= LARGEST_GAP
    is_contradicted = rise.low > 0 or gap.low > LARGEST_GAP or gap.high < -LARGEST_GAP
    before, after = (t_interval([pair[place] for pair in known]) for place in (0, 1))
    return Verdict(
        outcome="shown" if is_shown else "contradicted" if is_contradicted else "not shown",
        numbers=f"over-confidence {before} before, {after} after; gap {gap}",
    )


def tells_better(ours: Seeds) -> Verdict:
    """Judge whether the self-evaluation tells success from failure better than before, by the interval of the change by seed."""
    pairs = [(run.auroc_before, run.auroc_after) for run in ours.values()]
    changes = [after - before for before, after in pairs if before is not None and after is not None]
    if not changes:
        return Verdict(outcome="not shown", numbers="AUROC is not defined: all episodes end alike")
    change = t_interval(changes)
    outcome: Outcome = "shown" if change.low > 0 else "contradicted" if change.high < 0 else "not shown"
    return Verdict(outcome=outcome, numbers=f"change of AUROC {change}")


_APART: Final = "shown: the 95 % intervals are apart; contradicted: apart the other way"
CLAIMS: Final = (
    Claim(text="MISE wins more held-out tasks than sparse reward", rule=_APART, arms=("mise", "sparse"), judge=above),
    Claim(
        text="MISE wins more held-out tasks than the same without calibration",
        rule=_APART,
        arms=("mise", "mise-nocal"),
        judge=above,
    ),
    Claim(
        text="Flipped self-evaluation without calibration does not improve on the warm start",
        rule="shown: the mean gain is at most 0; contradicted: its interval is above 0",
        arms=("mise-flipped",),
        judge=not_better_than_before,
    ),
    Claim(
        text="Calibration makes flipped self-evaluation as good as MISE",
        rule="shown: its mean is in the interval of MISE; contradicted: the intervals are apart",
        arms=("mise-flipped-cal", "mise"),
        judge=within,
    ),
    Claim(
        text="MISE halves over-confidence and brings the mean belief within 0.1 of the mean outcome",
        rule="shown: the intervals of |after| - before / 2 and of the gap say so; contradicted: over-confidence rises, or the "
        "interval of the gap is beyond 0.1",
        arms=("mise",),
        judge=becomes_modest,
    ),
    Claim(
        text="MISE raises the AUROC of the self-evaluation",
        rule="shown: the interval of the change by seed is above 0; contradicted: below 0",
        arms=("mise",),
        judge=tells_better,
    ),
)
"""Every claim."""


def verdict_of(claim: Claim, arms: Mapping[str, Seeds]) -> Verdict | None:
    """Return what the arms of one environment say about a claim; ``None`` while one of its arms has no finished run."""
    if not all(arms.get(name) for name in claim.arms):
        return None
    return claim.judge(*(arms[name] for name in claim.arms))


def overall(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the verdict of all environments together.

    A claim is shown if at least two environments show it (the only one, if there is one) and none contradicts it; it is
    contradicted if more environments contradict it than show it.

    Args:
        outcomes: One per environment.
    """
    shown, contradicted = outcomes.count("shown"), outcomes.count("contradicted")
    if contradicted > shown:
        return "contradicted"
    return "shown" if outcomes and shown >= min(2, len(outcomes)) and not contradicted else "not shown"


def difference(ours: Seeds, theirs: Seeds) -> Interval | None:
    """Return the interval of the difference in held-out success over the seeds that both arms have; ``None`` if there is none."""
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    return t_interval([ours[seed].success_after - theirs[seed].success_after for seed in shared])


def _successes(arm: Seeds) -> Interval:
    return t_interval([run.success_after for run in arm.values()])
