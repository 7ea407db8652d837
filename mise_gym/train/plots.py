"""The pictures of a run: success over training, the parts of the reward, and the reliability of the self-evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mise_gym.extras import require
from mise_gym.rewards.metrics import reliability_curve
from mise_gym.train.evaluate import Evaluation

Records = Sequence[Mapping[str, Any]]


def _figure() -> tuple[Any, Any]:
    figure = require("matplotlib.figure").Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_success(records: Records, evaluations: Records, before: float, after: float, path: Path) -> None:
    """Draw the success rate of training episodes, of held-out games before and after, and of the evaluations in between."""
    figure, axes = _figure()
    steps = [record["step"] for record in records]
    axes.plot(steps, [record["rollout/success_rate"] for record in records], label="training games, sampled")
    if steps:
        axes.plot([0, steps[-1]], [before, after], "o--", label="held-out games, sampled")
    if evaluations:
        rates = [record["evaluation/success_rate"] for record in evaluations]
        axes.plot([record["step"] for record in evaluations], rates, ".-", label="valid games on the way")
    axes.set(xlabel="iteration", ylabel="success rate", ylim=(0, 1), title="Success over training")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def plot_rewards(records: Records, path: Path) -> None:
    """Draw the parts of the reward per episode over training."""
    figure, axes = _figure()
    steps = [record["step"] for record in records]
    for name, label in (("env", "environment"), ("hindsight", "hindsight, weighted"), ("total", "total")):
        axes.plot(steps, [record[f"reward/{name}_mean"] for record in records], label=label)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel="iteration", ylabel="mean over episodes of the summed reward", title="Reward parts")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def plot_reliability(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Draw outcome against stated belief on held-out games; on the diagonal a belief means what it says."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    for label, evaluation in evaluations.items():
        curve = reliability_curve(evaluation.beliefs, evaluation.outcomes)
        axes.plot(curve.beliefs, curve.outcomes, "o-", label=label, clip_on=False)
    axes.set(
        xlabel="stated belief in success",
        ylabel="mean outcome R",
        xlim=(0, 1),
        ylim=(0, 1),
        title="Reliability of the self-evaluation",
    )
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
