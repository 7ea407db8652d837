"""Material: what a report is made of, gathered from a training run's folder or from one file of recorded episodes."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mise_gym.errors import ConfigError, TrajectoryFormatError
from mise_gym.rewards.base import FloatArray, JudgeStatus, RewardBreakdown
from mise_gym.rewards.catalog import make_calibrator
from mise_gym.rewards.labels import belief_of, labels_of
from mise_gym.rewards.relabel import FOLDS
from mise_gym.train.metrics import MetricsFile, rollout_metrics
from mise_gym.trajectories import SUFFIXES, read_episodes
from mise_gym.types import Episode

BLOCKS: Final = 20
"""At most so many points in a curve over a file, which has no iterations."""

_SMALLEST_BLOCK: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A recorded episode with its labels."""

    place: str
    """Where it is recorded, for people: file and number."""
    episode: Episode
    labels: RewardBreakdown

    @property
    def belief(self) -> float:
        """How far the judge believes the task was done; its mean score, where it did not say."""
        return belief_of(self.labels) or 0.0

    @property
    def disagreement(self) -> float:
        """Belief minus outcome: positive where the judge thought too well of it."""
        return self.belief - self.episode.progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """Beliefs about episodes and what came of them, for a curve in the reliability diagram. All shapes ``(E,)``."""

    beliefs: FloatArray
    outcomes: FloatArray
    successes: FloatArray


@dataclass(slots=True)
class Costs:
    """What judging the episodes took."""

    episodes: int = 0
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    """Money, in the currency of the prices that the judge was given."""
    failed: Counter[str] = field(default_factory=Counter)
    judges: Counter[str] = field(default_factory=Counter)
    """Episodes by the name of their judge."""

    def add(self, labels: RewardBreakdown) -> None:
        """Count one episode."""
        self.episodes += 1
        self.calls += int(labels.judge.get("calls", 0))
        self.tokens += int(labels.judge.get("tokens", 0))
        self.seconds += float(labels.judge.get("seconds", 0.0))
        self.cost += float(labels.judge.get("cost", 0.0))
        self.judges[str(labels.judge.get("name", "?"))] += 1
        if labels.status is not JudgeStatus.OK:
            self.failed[labels.status.value] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything that a report shows."""

    title: str
    facts: Mapping[str, str]
    """Settings worth a line at the top."""
    step: str
    """What a record is about: "iteration", or "block of N episodes"."""
    records: Sequence[Mapping[str, Any]]
    """Metrics (see ``mise_gym.train.metrics.GLOSSARY``) of every step, with the step's number as "step"."""
    heldout: Mapping[str, float]
    """Success on held-out games: "before" and "after" training, as far as there are any."""
    reliability: Mapping[str, Beliefs]
    """Curves of the reliability diagram."""
    judged: Sequence[Judged]
    """The newest episodes with scores, among which the worst disagreements are looked for."""
    judged_from: str
    """What these are, for people."""
    costs: Costs
    stage_seconds: Mapping[str, float]
    """Seconds of every stage of a run; empty for a file."""
    peak_memory_mb: float | None


def gather(path: Path, on_file: Callable[[], object] | None = None) -> Material:
    """Read what there is.

    Args:
        path: A training run's folder, finished or not, or a file of recorded episodes with labels.
        on_file: Called after each file of episodes, for progress bars.

    Raises:
        ConfigError: The path is neither.
        TrajectoryFormatError: A file is damaged, or has no episode with scores.
    """
    done = on_file or (lambda: None)
    if path.is_dir():
        return _gather_run(path, done)
    if path.name.endswith(SUFFIXES):
        material = _gather_file(path)
        done()
        return material
    raise ConfigError(f"{str(path)!r} is neither a training run's folder nor a {' or '.join(SUFFIXES)} file. Give one of these.")


def files_of(path: Path) -> list[Path]:
    """Return the files of episodes that ``gather`` reads, in order."""
    return sorted(path.glob("episodes/*.jsonl.gz")) if path.is_dir() else [path]


def _gather_run(folder: Path, done: Callable[[], object]) -> Material:
    if not (folder / "config.json").exists():
        raise ConfigError(f"{str(folder)!r} holds no training run: there is no config.json in it. Give the run's own folder.")
    config, summary, cost = (_read_json(folder / name) for name in ("config.json", "summary.json", "cost.json"))
    costs = Costs()
    newest: list[Judged] = []
    for file in files_of(folder):
        newest = list(_labelled(file))
        for each in newest:
            costs.add(each.labels)
        done()
    held_out = {when: folder / f"heldout_{when}_sampled.jsonl.gz" for when in ("before", "after")}
    sets = {when: list(_labelled(file)) for when, file in held_out.items() if file.exists()}
    choices = {
        "held-out episodes after training": sets.get("after", []),
        "training episodes of the newest iteration": [each for each in newest if each.labels.scores],
        "held-out episodes before training": sets.get("before", []),
    }
    judged_from, judged = next(((name, found) for name, found in choices.items() if found), ("", []))
    return Material(
        title=folder.name,
        facts=_run_facts(config),
        step="iteration",
        records=[record for record in MetricsFile(folder / "metrics.jsonl").read() if record["stage"] == "ppo"],
        heldout={when: float(np.mean([each.episode.success for each in found])) for when, found in sets.items()},
        reliability={f"{when} training": _beliefs(found) for when, found in sets.items() if found},
        judged=judged,
        judged_from=judged_from,
        costs=costs,
        stage_seconds=cost.get("seconds", summary.get("stage_seconds", {})),
        peak_memory_mb=cost.get("peak_memory_mb"),
    )


def _gather_file(path: Path) -> Material:
    everything = list(_labelled(path))
    costs = Costs()
    for each in everything:
        costs.add(each.labels)
    judged = [each for each in everything if each.labels.scores]
    if not judged:
        raise TrajectoryFormatError(f"{str(path)!r} has no episode with scores. Score them with mise-gym relabel.")
    size = max(_SMALLEST_BLOCK, -(-len(everything) // BLOCKS))
    raw = _beliefs(judged)
    return Material(
        title=path.name,
        facts={"judge": ", ".join(costs.judges), "episodes": f"{len(everything):,}"},
        step=f"block of {size} episodes",
        records=list(_block_records(everything, size)),
        heldout={},
        reliability={"as scored": raw, "calibrated": _calibrated(judged, raw)},
        judged=judged,
        judged_from="the file",
        costs=costs,
        stage_seconds={},
        peak_memory_mb=None,
    )


def _labelled(path: Path) -> Iterator[Judged]:
    for number, episode in enumerate(read_episodes(path), 1):
        labels = labels_of(episode)
        if labels is not None and len(episode):
            yield Judged(place=f"{path.name}, episode {number}", episode=episode, labels=labels)


def _beliefs(judged: Sequence[Judged]) -> Beliefs:
    return Beliefs(
        beliefs=np.array([each.belief for each in judged]),
        outcomes=np.array([each.episode.progress for each in judged]),
        successes=np.array([float(each.episode.success) for each in judged]),
    )


def _calibrated(judged: Sequence[Judged], raw: Beliefs) -> Beliefs:
    """Return the success that the outcome calibrator reads off the beliefs, learnt from the other parts of the file."""
    beliefs = np.empty(len(judged))
    for part in range(FOLDS):
        inside = np.arange(len(judged)) % FOLDS == part
        calibrator = make_calibrator("outcome", {"window": len(judged)})
        for belief, outcome in zip(raw.beliefs[~inside], raw.outcomes[~inside], strict=True):
            calibrator.update([belief], outcome)
        others = raw.outcomes[~inside] if (~inside).any() else raw.outcomes
        beliefs[inside] = others.mean() + others.std() * calibrator(raw.beliefs[inside])
    return Beliefs(beliefs=beliefs.clip(0.0, 1.0), outcomes=raw.outcomes, successes=raw.successes)


def _block_records(judged: Sequence[Judged], size: int) -> Iterator[dict[str, Any]]:
    for step, start in enumerate(range(0, len(judged), size), 1):
        block = judged[start : start + size]
        yield {"step": step, **rollout_metrics([each.episode for each in block], [each.labels for each in block])}


def _run_facts(config: Mapping[str, Any]) -> dict[str, str]:
    games = config.get("games", {})
    facts: Iterable[tuple[str, Any]] = (
        ("reward", config.get("reward")),
        ("model", config.get("model") or "tiny, made for the run"),
        ("games", games.get("level")),
        ("seed", config.get("seed")),
        ("w_hindsight", config.get("w_hindsight")),
    )
    return {name: str(value) for name, value in facts if value is not None}


def _read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a run holds; nothing when the run has not got there yet."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ConfigError(f"{str(path)!r} is damaged: {error}. Remove it and call mise-gym train again.") from error
