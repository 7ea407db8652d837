"""write_report: the page itself."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mise_gym.extras import require
from mise_gym.report import charts
from mise_gym.report.material import Beliefs, Judged, Material, gather
from mise_gym.rewards import metrics
from mise_gym.rewards.labels import reasons_of

WORST: Final = 4
"""Transcripts of episodes that the judge thought too well of, and as many of the others."""

LONGEST_TEXT: Final = 3000
"""Characters of one observation or action that are shown."""

Table = Sequence[Sequence[str]]


def write_report(source: Path, target: Path, on_file: Callable[[], object] | None = None) -> Path:
    """Write one HTML page that needs nothing else: no network, no scripts, pictures inside.

    Args:
        source: A training run's folder, finished or not, or a file of labelled episodes.
        target: The page; parent folders are made, an older page is replaced.
        on_file: Called after each file of episodes, for progress bars.

    Returns:
        ``target``.

    Raises:
        ConfigError: ``source`` is neither a run nor a file of episodes.
        TrajectoryFormatError: A file is damaged, or has no episode with scores.
        MissingExtraError: Matplotlib or Jinja is not installed.
    """
    page = render(gather(source, on_file))
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{os.getpid()}-{target.name}")
    aside.write_text(page, encoding="utf-8", errors="backslashreplace")
    aside.replace(target)
    return target


def render(material: Material) -> str:
    """Return the page as text."""
    jinja = require("jinja2")
    loader = jinja.PackageLoader("mise_gym.report", "templates")
    template = jinja.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("report.html")
    worst = worst_disagreements(material.judged)
    links = {index: f"#transcript-{place}" for place, index in enumerate(worst)}
    return str(
        template.render(
            material=material,
            tiles=_tiles(material),
            pictures={name: require("markupsafe").Markup(svg) for name, svg in _pictures(material, links).items()},
            alarms=[record["step"] for record in material.records if record.get("judge/hacking_alarm")],
            judge_table=_judge_table(material.reliability),
            cost_table=_cost_table(material),
            transcripts=[_transcript(material.judged[index]) for index in worst],
        )
    )


def worst_disagreements(judged: Sequence[Judged]) -> list[int]:
    """Return which episodes the judge misjudged most: first those it thought too well of, then the others."""
    order = sorted(range(len(judged)), key=lambda index: -judged[index].disagreement)
    praised = [index for index in order[:WORST] if judged[index].disagreement > 0]
    blamed = [index for index in reversed(order[-WORST:]) if judged[index].disagreement < 0]
    return praised + blamed


def _tiles(material: Material) -> Table:
    """Return the figures at the top: what, the number, and what to compare it with."""
    tiles: list[tuple[str, str, str]] = []
    if material.heldout:
        tiles.append(_change("held-out success", {f"{when} training": rate for when, rate in material.heldout.items()}, "{:.0%}"))
    elif material.judged:
        won = sum(each.episode.success for each in material.judged) / len(material.judged)
        tiles.append(("success", f"{won:.0%}", f"of {len(material.judged):,} episodes"))
    for title, figure, form in (
        ("over-confidence", metrics.overconfidence, "{:+.2f}"),
        ("calibration error (ECE)", metrics.ece, "{:.2f}"),
    ):
        values = {name: figure(found.beliefs, found.outcomes) for name, found in material.reliability.items()}
        if values:
            tiles.append(_change(title, values, form))
    costs = material.costs
    if costs.episodes:
        failed = sum(costs.failed.values())
        tiles.append(("judged", f"{costs.episodes - failed:,}", f"of {costs.episodes:,} episodes, {failed:,} failed"))
    return tiles


def _change(title: str, values: Mapping[str, float], form: str) -> tuple[str, str, str]:
    """Return the tile of a figure that was measured once or twice: the last number, and what it was before."""
    *earlier, last = values.items()
    was = "".join(f"{form.format(value)} {name}" for name, value in earlier)
    return title, form.format(last[1]), f"{last[0]}; {was}" if was else last[0]


def _pictures(material: Material, links: Mapping[int, str]) -> dict[str, str]:
    pictures: dict[str, str] = {}
    records = material.records
    steps = [record["step"] for record in records]

    def column(name: str) -> list[float]:
        return [record[name] for record in records]

    if records:
        pictures["success"] = charts.success(steps, column("rollout/success_rate"), material.heldout, material.step)
        parts = {"environment": "env", "hindsight, weighted": "hindsight", "total": "total"}
        rewards = {name: column(f"reward/{part}_mean") for name, part in parts.items()}
        pictures["rewards"] = charts.curves(steps, rewards, (material.step, "mean summed reward"))
        drift = {"mean belief": column("judge/belief_mean"), "mean outcome": column("rollout/progress_mean")}
        pictures["drift"] = charts.curves(steps, drift, (material.step, "belief and outcome"), limits=(0, 1))
    if records and "time/judge_seconds" in records[0]:
        times = {"playing": "collect", "judging": "judge", "training": "update"}
        seconds = {name: column(f"time/{part}_seconds") for name, part in times.items()}
        pictures["time"] = charts.curves(steps, seconds, (material.step, "seconds"), limits=(0, None))
    if material.reliability:
        pictures["reliability"] = charts.reliability(material.reliability)
    if material.judged:
        pictures["outcomes"] = charts.outcomes(material.judged, links)
    if material.stage_seconds:
        pictures["stages"] = charts.bars(material.stage_seconds, "seconds")
    return pictures


def _judge_table(sets: Mapping[str, Beliefs]) -> Table:
    """Return the rows of the table about the judge; the first names the columns."""
    rows: list[list[str]] = [["", *sets]]
    figures: Iterable[tuple[str, Callable[[Beliefs], float | None]]] = (
        ("episodes", lambda found: len(found.beliefs)),
        ("mean belief", lambda found: float(found.beliefs.mean())),
        ("mean outcome", lambda found: float(found.outcomes.mean())),
        ("over-confidence", lambda found: metrics.overconfidence(found.beliefs, found.outcomes)),
        ("over-confidence on failures", _overconfidence_on_failures),
        ("calibration error (ECE)", lambda found: metrics.ece(found.beliefs, found.outcomes)),
        ("Brier score", lambda found: metrics.brier(found.beliefs, found.outcomes)),
        ("AUROC against success", lambda found: metrics.auroc(found.beliefs, found.successes == 1)),
        ("I(belief; R), bits", lambda found: metrics.mutual_information_bits(found.beliefs, found.outcomes)),
    )
    for title, figure in figures:
        rows.append([title, *(_number(figure(found)) for found in sets.values())])
    return rows


def _overconfidence_on_failures(found: Beliefs) -> float | None:
    failed = found.successes == 0
    return metrics.overconfidence(found.beliefs[failed], found.outcomes[failed]) if failed.any() else None


def _cost_table(material: Material) -> Table:
    costs = material.costs
    rows = [
        ["judge", ", ".join(f"{name} ({count:,})" for name, count in costs.judges.most_common())],
        ["episodes judged", f"{costs.episodes - sum(costs.failed.values()):,}"],
        ["failed", ", ".join(f"{status} {count:,}" for status, count in costs.failed.most_common()) or "none"],
        ["calls", f"{costs.calls:,}"],
        ["tokens", f"{costs.tokens:,}"],
        ["seconds of the judge", f"{costs.seconds:,.1f}"],
    ]
    if costs.cost:
        rows.append(["cost", f"{costs.cost:,.4g}"])
    if material.stage_seconds:
        rows.append(["seconds of the run", f"{sum(material.stage_seconds.values()):,.0f}"])
    if material.peak_memory_mb is not None:
        rows.append(["peak memory", f"{material.peak_memory_mb:,.0f} MB"])
    return rows


def _transcript(judged: Judged) -> dict[str, Any]:
    """Return what the template shows of one episode."""
    episode, labels, reasons = judged.episode, judged.labels, reasons_of(judged.labels)
    assert labels.scores is not None
    turns = [
        {
            "number": number + 1,
            "action": _shortened(turn.action),
            "answer": _shortened(turn.next_observation),
            "score": labels.scores[number],
            "reward": None if labels.calibrated is None else labels.step_rewards[number],
            "calibrated": None if labels.calibrated is None else labels.calibrated[number],
            "reason": reasons[number] if reasons else "",
            "valid": turn.valid_action,
        }
        for number, turn in enumerate(episode.transitions)
    ]
    return {
        "place": judged.place,
        "task": _shortened(episode.task),
        "task_id": episode.task_id,
        "start": _shortened(episode.transitions[0].observation),
        "belief": judged.belief,
        "outcome": episode.progress,
        "end": "won" if episode.success else "lost" if episode.terminated else "cut off",
        "turns": turns,
    }


def _shortened(text: str) -> str:
    left_out = len(text) - LONGEST_TEXT
    return text if left_out <= 0 else f"{text[:LONGEST_TEXT]} … ({left_out:,} characters more)"


def _number(value: float | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
