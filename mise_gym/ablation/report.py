"""Writing down what a suite has found out so far: page, figures, pictures and all metrics."""

from collections.abc import Sequence
from pathlib import Path

from mise_gym.ablation.page import results_page, verdicts
from mise_gym.ablation.pictures import plot_heldout, plot_learning
from mise_gym.ablation.results import RunState, costs, figures_by_arm, learning_curves, write_json, write_metrics
from mise_gym.ablation.suite import Suite
from mise_gym.train.checkpoint import write_file


def write_results(suite: Suite, states: Sequence[RunState], command: str) -> Path:
    """Write ``results.md``, ``results.json``, ``metrics.jsonl.gz`` and the pictures into the folder of a suite.

    Args:
        suite: What was to be run.
        states: How far every run has come.
        command: What makes the same again.

    Returns:
        The page.
    """
    folder = suite.folder
    folder.mkdir(parents=True, exist_ok=True)
    figures = figures_by_arm(states, suite)
    judged = verdicts(figures)
    finished = sum(state.summary is not None for state in states)
    iterations = sum(len(state.records) for state in states), sum(state.iterations for state in states)
    progress = f"{finished} of {len(states)} runs are finished, {iterations[0]} of {iterations[1]} iterations done."
    write_json(figures, judged, folder / "results.json")
    write_metrics(states, folder / "metrics.jsonl.gz")
    for environment, arms in figures.items():
        with_runs = {arm: seeds for arm, seeds in arms.items() if seeds}
        if with_runs:
            plot_learning(learning_curves(states, environment), environment, folder / f"learning_{environment}.png")
            plot_heldout(with_runs, environment, folder / f"heldout_{environment}.png")
    spent = {environment: costs(states, environment) for environment in figures}
    write_file(folder / "results.md", results_page(figures, judged, spent, command, progress))
    return folder / "results.md"
