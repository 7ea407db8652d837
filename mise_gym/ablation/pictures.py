"""Learning curves of a suite, with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mise_gym.ablation.claims import Seeds
from mise_gym.ablation.intervals import t_interval
from mise_gym.extras import require

_SMOOTHING: Final = 0.05
"""Share of the iterations over which a curve is averaged."""


def plot_learning(curves: Mapping[str, Sequence[Sequence[float]]], title: str, path: Path) -> None:
    """Draw the success rate of training episodes: the mean over seeds, with its 95 % interval as a band.

    Args:
        curves: Arm -> one curve per seed; those of unfinished runs are shorter, and drawn as far as all seeds of the arm go.
        title: What stands above.
        path: The PNG file.
    """
    figure = require("matplotlib.figure").Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for arm, seeds in curves.items():
        shortest = min(len(curve) for curve in seeds)
        smooth = np.array([_smoothed(np.array(curve[:shortest])) for curve in seeds])
        steps = np.arange(1, shortest + 1)
        (line,) = axes.plot(steps, smooth.mean(0), label=f"{arm} ({len(seeds)} seed{'s' * (len(seeds) > 1)})")
        if len(seeds) > 1:
            half = np.array([t_interval(column.tolist()).half_width for column in smooth.T])
            axes.fill_between(
                steps, smooth.mean(0) - half, smooth.mean(0) + half, color=line.get_color(), alpha=0.15, linewidth=0
            )
    axes.set(xlabel="iteration", ylabel="success rate of training episodes", ylim=(0, 1), title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def plot_heldout(arms: Mapping[str, Seeds], title: str, path: Path) -> None:
    """Draw held-out success before and after: a dot per seed, the mean and its 95 % interval per arm."""
    figure = require("matplotlib.figure").Figure(figsize=(7.2, 0.9 + 0.55 * len(arms)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for row, seeds in enumerate(arms.values()):
        values = [run.success_after for run in seeds.values()]
        before = [run.success_before for run in seeds.values()]
        axes.plot(before, [row] * len(before), "|", color="grey", markersize=12, label=None if row else "before, per seed")
        axes.plot(values, [row] * len(values), ".", color="C0", alpha=0.6, label=None if row else "after, per seed")
        interval = t_interval(values)
        error = interval.half_width if interval.count > 1 else 0.0
        label = None if row else "after, mean and 95 % interval"
        axes.errorbar(interval.mean, row, xerr=error, fmt="o", color="C3", capsize=3, label=label)
    axes.set(xlabel="held-out success, sampled", xlim=(0, 1), yticks=range(len(arms)), yticklabels=list(arms), title=title)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def _smoothed(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a running mean, at the borders over what there is. Shape ``(S,)``."""
    window = max(1, round(_SMOOTHING * len(curve)))
    weights = np.ones(window)
    return np.convolve(curve, weights, "same") / np.convolve(np.ones(len(curve)), weights, "same")
