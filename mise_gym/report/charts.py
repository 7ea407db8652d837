"""The pictures of a report, as SVG to be put into a page: no scripts, no files, colours that follow the page's."""

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, Final

import numpy as np

from mise_gym.extras import require
from mise_gym.report.material import Beliefs, Judged
from mise_gym.rewards.metrics import reliability_curve

COLOURS: Final = ("#3b7dd8", "#d9822b", "#3a9d6e", "#a55bc4")

_INK: Final = "#010203"  # stands for the page's own text colour, whatever theme it is in
_STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mise-gym",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
Curves = Mapping[str, Sequence[float]]


def curves(
    steps: Sequence[float], lines: Curves, labels: tuple[str, str], *, limits: tuple[float, float | None] | None = None
) -> str:
    """Draw numbers over the steps of a run.

    Args:
        steps: Shape ``(S,)``.
        lines: Name -> numbers, shape ``(S,)``.
        labels: Of the horizontal and the vertical axis.
        limits: Of the vertical axis; ``None`` fits them to the numbers.
    """

    def draw(axes: Any) -> None:
        marker = "o" if len(steps) == 1 else None
        for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
            axes.plot(steps, values, color=colour, label=name, marker=marker)
        if limits is None:
            axes.axhline(0, color=_INK, linewidth=0.5)
        else:
            axes.set_ylim(*limits)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(axes)

    return _svg(draw)


def success(steps: Sequence[float], rates: Sequence[float], heldout: Mapping[str, float], label: str) -> str:
    """Draw the success rate of training episodes, and of held-out ones before and after.

    Args:
        steps: Shape ``(S,)``.
        rates: Shape ``(S,)``.
        heldout: Success "before" and "after" training, as far as known.
        label: Of the horizontal axis.
    """

    def draw(axes: Any) -> None:
        axes.plot(steps, rates, color=COLOURS[0], label="training episodes" if heldout else "episodes", marker="o", markersize=3)
        places = [(0 if when == "before" else steps[-1], rate) for when, rate in heldout.items()]
        if places:
            axes.plot(*zip(*places, strict=True), "D--", color=COLOURS[1], label="held-out episodes", clip_on=False)
        axes.set(xlabel=label, ylabel="success rate", ylim=(0, 1))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(axes)

    return _svg(draw)


def reliability(sets: Mapping[str, Beliefs]) -> str:
    """Draw mean outcome against belief in bins of equal mass; on the diagonal a belief means what it says."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
        for colour, (name, found) in zip(COLOURS, sets.items(), strict=False):
            curve = reliability_curve(found.beliefs, found.outcomes)
            axes.plot(curve.beliefs, curve.outcomes, "o-", markersize=5, color=colour, label=name, clip_on=False)
        axes.set(xlabel="belief about an episode", ylabel="mean outcome R", xlim=(0, 1), ylim=(0, 1))
        _legend(axes)

    return _svg(draw, size=(5.2, 4.4))


def outcomes(judged: Sequence[Judged], links: Mapping[int, str]) -> str:
    """Draw every episode as a dot: its outcome against the belief about it; dots with a link lead to their transcripts.

    Args:
        judged: Episodes with scores.
        links: Number in ``judged`` -> address.
    """

    def draw(axes: Any) -> None:
        x = np.array([each.belief for each in judged])
        truth = np.array([each.episode.progress for each in judged])
        y = truth + np.random.default_rng(0).uniform(-0.02, 0.02, len(truth))  # dots of one outcome must not hide each other
        won = np.array([each.episode.success for each in judged])
        linked = np.array([index in links for index in range(len(judged))])
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
        for colour, name, kind in ((COLOURS[2], "reached the goal", won), (COLOURS[1], "did not", ~won)):
            if kind.any():
                axes.scatter(x[kind], y[kind], s=16, color=colour, alpha=0.55, linewidths=0, label=name, clip_on=False)
        if linked.any():
            rings = axes.scatter(
                x[linked],
                y[linked],
                s=70,
                facecolors="none",
                edgecolors=_INK,
                linewidths=1,
                label="transcript below",
                clip_on=False,
            )
            rings.set_urls([links[int(index)] for index in np.flatnonzero(linked)])
        axes.set(xlabel="belief about an episode", ylabel="outcome R", xlim=(0, 1), ylim=(-0.03, 1.03))
        _legend(axes)

    return _svg(draw, size=(5.2, 4.4))


def bars(parts: Mapping[str, float], label: str) -> str:
    """Draw named amounts as horizontal bars with their numbers.

    Args:
        parts: Name -> amount.
        label: Of the horizontal axis.
    """

    def draw(axes: Any) -> None:
        names = list(parts)[::-1]
        drawn = axes.barh(
            [name.replace("_", " ") for name in names], [parts[name] for name in names], color=COLOURS[0], height=0.6
        )
        axes.bar_label(drawn, fmt="%.1f", padding=4)
        axes.margins(x=0.12)
        axes.set(xlabel=label)

    return _svg(draw, size=(6.4, 0.7 + 0.4 * len(parts)))


def _legend(axes: Any) -> None:
    """Name the curves above the picture, where they hide nothing."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, borderaxespad=0.2)


def _svg(draw: Callable[[Any], None], size: tuple[float, float] = (6.4, 3.4)) -> str:
    """Return a drawing as one ``<svg>`` element that scales with the page."""
    matplotlib = require("matplotlib")
    with matplotlib.rc_context(_STYLE):
        figure = require("matplotlib.figure").Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # every drawing has the same names, and a page may have each once
    text = text.replace(' target="_blank"', "")  # the links stay on the page
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"', r"\1\2", text, count=1)
    return text.replace(_INK, "currentColor")
