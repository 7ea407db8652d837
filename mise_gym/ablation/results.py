"""What the runs of a suite have found out so far: figures, learning curves and costs, and the file of all metrics."""

import gzip
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mise_gym.ablation.claims import RunFigures
from mise_gym.ablation.suite import Job, Suite
from mise_gym.train.checkpoint import write_file
from mise_gym.train.config import REWARD_ARMS
from mise_gym.train.metrics import MetricsFile

ITERATION_SECONDS = ("time/collect_seconds", "time/judge_seconds", "time/update_seconds")
"""Metrics that add up to the time of an iteration."""


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far one run has come."""

    job: Job
    records: Sequence[Mapping[str, Any]]
    """Metrics of its iterations."""
    summary: Mapping[str, Any] | None
    """What it found out; ``None`` while it is not finished."""

    @property
    def iterations(self) -> int:
        """Iterations of the whole run."""
        return self.job.config.ppo.iterations if REWARD_ARMS[self.job.config.reward].trains_policy else 0

    @property
    def figures(self) -> RunFigures | None:
        """The figures that the claims are about; ``None`` while it is not finished."""
        if self.summary is None:
            return None
        named = {
            name: self.summary[f"heldout_{name}" if name.startswith("success") else name]
            for name in RunFigures.__dataclass_fields__
            if name != "gap_after"
        }
        return RunFigures(**named, gap_after=self.summary["details"]["after"]["sampled"]["overconfidence_all"])


def read_state(job: Job) -> RunState:
    """Read what a run has left in its folder."""
    folder = job.config.run_dir
    summary = folder / "summary.json"
    records = [record for record in MetricsFile(folder / "metrics.jsonl").read() if record["stage"] == "ppo"]
    return RunState(job=job, records=records, summary=json.loads(summary.read_text("utf-8")) if summary.exists() else None)


def figures_by_arm(states: Sequence[RunState], suite: Suite) -> dict[str, dict[str, dict[int, RunFigures]]]:
    """Return environment -> arm -> seed -> figures of the finished runs."""
    table: dict[str, dict[str, dict[int, RunFigures]]] = {
        environment: {arm: {} for arm in suite.arms} for environment in suite.environments
    }
    for state in states:
        figures = state.figures
        if figures is not None and state.job.arm in suite.arms:
            table[state.job.environment][state.job.arm][state.job.seed] = figures
    return table


def learning_curves(states: Sequence[RunState], environment: str) -> dict[str, list[list[float]]]:
    """Return arm -> one list per seed of the success rate of training episodes, iteration by iteration."""
    curves: dict[str, list[list[float]]] = {}
    for state in states:
        if state.job.environment == environment and state.records:
            curves.setdefault(state.job.arm, []).append([record["rollout/success_rate"] for record in state.records])
    return curves


def seconds_per_iteration(states: Sequence[RunState], environment: str) -> float | None:
    """Return the median time of an iteration in an environment by the clock; ``None`` before the first."""
    records = [record for state in states if state.job.environment == environment for record in state.records]
    return statistics.median(sum(r[name] for name in ITERATION_SECONDS) for r in records) if records else None


def other_seconds(states: Sequence[RunState], environment: str) -> float:
    """Return the median time of a finished run in an environment outside of its iterations; 0 before the first."""
    costs = [
        sum(seconds for stage, seconds in state.summary["stage_seconds"].items() if stage != "ppo")
        for state in states
        if state.summary is not None and state.job.environment == environment
    ]
    return statistics.median(costs) if costs else 0.0


def costs(states: Sequence[RunState], environment: str) -> dict[str, tuple[float, float]]:
    """Return arm -> median minutes of a finished run, and the largest memory of one in MB."""
    table = {}
    for arm in dict.fromkeys(state.job.arm for state in states):
        done = [s.summary for s in states if s.summary and (s.job.environment, s.job.arm) == (environment, arm)]
        if done:
            minutes = statistics.median(summary["seconds"] / 60 for summary in done)
            table[arm] = (minutes, max(summary["peak_memory_mb"] for summary in done))
    return table


def remaining_seconds(states: Sequence[RunState], environment: str) -> float | None:
    """Return the processor time that an environment's unfinished runs still need, if each goes on as the others did.

    ``None`` if iterations are left and none was ever done.
    """
    unfinished = [state for state in states if state.job.environment == environment and state.summary is None]
    left = sum(state.iterations - len(state.records) for state in unfinished)
    pace = seconds_per_iteration(states, environment)
    if left and pace is None:
        return None
    return left * (pace or 0.0) + len(unfinished) * other_seconds(states, environment)


def write_metrics(states: Sequence[RunState], path: Path) -> None:
    """Write every metric of every run into one compressed file: JSON lines with ``environment``, ``arm`` and ``seed``."""
    text = "".join(json.dumps(record) + "\n" for record in _labelled(states))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _labelled(states: Sequence[RunState]) -> Iterator[dict[str, Any]]:
    for state in states:
        label = {"environment": state.job.environment, "arm": state.job.arm, "seed": state.job.seed}
        for record in state.records:
            yield label | {name: round(v, 6) if isinstance(v, float) else v for name, v in record.items()}
        if state.summary is not None:
            yield label | {"stage": "summary", **state.summary}


def write_json(figures: Mapping[str, Mapping[str, Mapping[int, RunFigures]]], verdicts: Any, path: Path) -> None:
    """Write figures and verdicts for other programs."""
    plain = {e: {a: {s: asdict(run) for s, run in seeds.items()} for a, seeds in arms.items()} for e, arms in figures.items()}
    write_file(path, json.dumps({"figures": plain, "verdicts": verdicts}, indent=1))
