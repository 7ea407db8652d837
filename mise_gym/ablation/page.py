"""The results of a suite as a page in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mise_gym.ablation.claims import CLAIMS, RunFigures, Seeds, difference, overall, verdict_of
from mise_gym.ablation.intervals import t_interval

Figures = Mapping[str, Mapping[str, Seeds]]
"""Environment -> arm -> seed -> figures."""
Costs = Mapping[str, tuple[float, float]]
"""Arm -> minutes of a run, and megabytes."""

_COLUMNS: Final[Mapping[str, Callable[[RunFigures], float | None]]] = {
    "success before": lambda run: run.success_before,
    "success after": lambda run: run.success_after,
    "over-confidence before": lambda run: run.overconfidence_before,
    "over-confidence after": lambda run: run.overconfidence_after,
    "gap after": lambda run: run.gap_after,
    "AUROC before": lambda run: run.auroc_before,
    "AUROC after": lambda run: run.auroc_after,
    "turn AUROC before": lambda run: run.turn_auroc_before,
    "turn AUROC after": lambda run: run.turn_auroc_after,
}
_LEGEND: Final = """Success is of held-out tasks, with sampled actions. Intervals are Student's t over seeds, 95 %.
Over-confidence is the mean belief minus the mean outcome of failed episodes, the gap the same of all episodes, AUROC how well
the belief tells success from failure, turn AUROC how well scores tell good turns from bad ones of the same episode. Differences
are by seed, between runs that began with the same model."""


def verdicts(figures: Figures) -> list[dict[str, Any]]:
    """Return, for every claim, what each environment says about it and what all say together."""
    table = []
    for claim in CLAIMS:
        by_environment = {environment: verdict_of(claim, arms) for environment, arms in figures.items()}
        known = {environment: verdict for environment, verdict in by_environment.items() if verdict is not None}
        table.append(
            {
                "claim": claim.text,
                "rule": claim.rule,
                "needs": list(claim.arms),
                "overall": overall([verdict.outcome for verdict in known.values()]) if known else "not run",
                "environments": {e: {"outcome": v.outcome, "numbers": v.numbers} for e, v in known.items()},
            }
        )
    return table


def results_page(
    figures: Figures, judged: Sequence[Mapping[str, Any]], costs: Mapping[str, Costs], command: str, progress: str
) -> str:
    """Return the page.

    Args:
        figures: Of all finished runs.
        judged: What ``verdicts`` makes of them.
        costs: Environment -> what its runs took.
        command: What makes the same again.
        progress: How much of the suite has been run.
    """
    parts = ["# Ablation", f"`{command}`", progress, _LEGEND, "## Claims", _claims(judged)]
    for environment, arms in figures.items():
        finished = {arm: seeds for arm, seeds in arms.items() if seeds}
        if finished:
            parts += [f"## {environment}", _table(finished), "### Differences by seed", _differences(finished)]
            parts += ["### Cost", _cost_table(costs[environment])]
            parts += [f"![Success over training](learning_{environment}.png)", f"![Held-out success](heldout_{environment}.png)"]
    return "\n\n".join(parts) + "\n"


def _claims(judged: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| claim | verdict | numbers | rule, per environment |", "|---|---|---|---|"]
    for row in judged:
        numbers = "; ".join(f"{name}: {v['outcome']} ({v['numbers']})" for name, v in row["environments"].items())
        missing = f"needs {' and '.join(row['needs'])}"
        lines.append(
            f"| {row['claim']} | **{row['overall']}** | {numbers or missing} | {row['rule']} |".replace("|after|", "abs(after)")
        )
    note = (
        "A claim is shown if at least two environments show it (the only one, if there is one) and none contradicts it; it is "
        "contradicted if more contradict it than show it."
    )
    return "\n".join([*lines, "", note])


def _table(arms: Mapping[str, Seeds]) -> str:
    lines = ["| arm | seeds | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 2) + "|"]
    for arm, seeds in arms.items():
        cells = [_cell([pick(run) for run in seeds.values()]) for pick in _COLUMNS.values()]
        lines.append(f"| {arm} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cost_table(costs: Costs) -> str:
    lines = ["| arm | minutes of a run, median, without what is shared | most memory, MB |", "|---|---|---|"]
    return "\n".join(lines + [f"| {arm} | {minutes:.1f} | {memory:.0f} |" for arm, (minutes, memory) in costs.items()])


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return str(t_interval(known)) if known else "n/a"


def _differences(arms: Mapping[str, Seeds]) -> str:
    """Compare every pair that some claim is about, and every arm with the warm start."""
    lines = ["| arm | against | success after, difference by seed |", "|---|---|---|"]
    for claim in CLAIMS:
        if len(claim.arms) == 2 and all(arm in arms for arm in claim.arms):
            ours, theirs = claim.arms
            lines.append(f"| {ours} | {theirs} | {difference(arms[ours], arms[theirs])} |")
    for arm, seeds in arms.items():
        gain = t_interval([run.success_after - run.success_before for run in seeds.values()])
        lines.append(f"| {arm} | its warm start | {gain} |")
    return "\n".join(lines)
