"""relabel: judge recorded episodes anew; first all scores, which may be interrupted, then all rewards."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import JudgeStatus, RewardBreakdown
from mise_gym.rewards.catalog import make_calibrator, make_judge
from mise_gym.rewards.delivery import recordable
from mise_gym.rewards.labels import LABELS, labels_of, with_labels
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.trajectories import EpisodeWriter, read_episodes, write_episodes
from mise_gym.types import Episode

FOLDS: Final = 5
"""Parts of a file; the episodes of one are paid by a calibrator that has learnt from the others."""


@dataclass(frozen=True, kw_only=True)
class RelabelConfig:
    """Who judges, and what the scores are worth."""

    judge: str = "auto"
    """A name in ``mise_gym.rewards.catalog.JUDGES``, or ``"module:Class"``."""
    judge_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the judge."""
    calibrator: str = "outcome"
    """A name in ``mise_gym.rewards.catalog.CALIBRATORS``, or ``"module:Class"``."""
    calibrator_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the calibrator."""
    w_env: float = 1.0
    """Weight of the environment's reward."""
    w_hindsight: float = 0.25
    """Weight of the hindsight reward."""
    batch: int = 64
    """Episodes that the judge gets at once; what it does in parallel it does with these."""

    def __post_init__(self) -> None:
        """Check the numbers; the names are checked where they are looked up."""
        if self.batch < 1:
            raise ConfigError(f"batch={self.batch!r} leaves no episode for the judge. Give 1 or more.")

    @property
    def judge_id(self) -> str:
        """A short name of the judge with its arguments, which is kept with every score; secrets do not go into it."""
        recorded = recordable({"judge": self.judge, "judge_kwargs": self.judge_kwargs, "calibrator": self.calibrator})
        key = json.dumps([recorded["judge"], recorded["judge_kwargs"]], sort_keys=True, default=str)
        return hashlib.sha256(key.encode()).hexdigest()[:12]


@dataclass(kw_only=True)
class RelabelCounts:
    """What a relabelling came to."""

    episodes: int = 0
    turns: int = 0
    asked: int = 0
    """Episodes that the judge was asked about this time; the others had been judged before."""
    failed: Counter[str] = field(default_factory=Counter)
    """Episodes without scores, by status."""
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    """Calls, tokens, seconds and money of the judge, for all episodes."""
    paid: float = 0.0
    """Sum over turns of the absolute calibrated reward."""


def relabel(
    source: Path, target: Path, config: RelabelConfig, on_episodes: Callable[[int], object] | None = None
) -> RelabelCounts:
    """Judge the episodes of ``source`` and write them, with scores and rewards, to ``target``.

    The scores come first, and each batch is saved beside ``target`` in a file whose name starts with "judging-". A call that
    was interrupted, however roughly, is continued by the same call and ends in the same file, as long as the judge says the same
    of the same episode. The calibrator then works in five parts: the episodes of each part are paid by what the other four say
    about outcomes, so that no episode is paid by a calibrator that has seen how it ended.

    Called again when ``target`` is finished, it asks about the episodes that are new or that the judge failed on, and no others.

    Args:
        source: A ``.jsonl`` or ``.jsonl.gz`` file of episodes.
        target: The file to write; it appears when it is complete.
        config: Judge, calibrator and weights.
        on_episodes: Called with the number of episodes that got ready, for progress bars.

    Raises:
        ConfigError: ``target`` holds something else, or an argument is wrong.
        UnknownNameError: No such judge or calibrator.
        TrajectoryFormatError: A file cannot be read.
        JudgeError: The judge failed a hundred times in a row; what was judged before is kept.
    """
    make_calibrator(config.calibrator, config.calibrator_kwargs)  # a wrong name must not show after hours of judging
    judging = target.with_name(f"judging-{target.name}")
    counts = RelabelCounts()
    _check_target(source, target, config)
    if config.judge == "recorded":  # its answers change when the source's labels do, and cost nothing
        judging.unlink(missing_ok=True)
    for judged in _judge(source, target, judging, config):
        counts.asked += judged.asked
        if on_episodes is not None:
            on_episodes(judged.ready)
    write_episodes(target, _count(_pay(judging, config), counts))
    judging.unlink()
    return counts


@dataclass(frozen=True, slots=True)
class _Progress:
    ready: int
    asked: int


def _check_target(source: Path, target: Path, config: RelabelConfig) -> None:
    """Refuse to overwrite what this relabelling has not written."""
    if not target.exists():
        return
    first = next(read_episodes(target), None)
    labels = None if first is None else labels_of(first)
    if target.samefile(source) or labels is None or labels.judge.get("id") != config.judge_id:
        raise ConfigError(
            f"{str(target)!r} is there already and was not written by the judge {config.judge!r} with these arguments. "
            "Choose another name, or delete it."
        )


def _judge(source: Path, target: Path, judging: Path, config: RelabelConfig) -> Iterator[_Progress]:
    """Write the scores of all episodes to ``judging``, from where it ends."""
    judge = make_judge(config.judge, config.judge_kwargs)
    pipeline = RewardPipeline(judge, "identity", w_hindsight=0.0)
    with ExitStack() as open_things:
        open_things.callback(getattr(judge, "close", lambda: None))  # connections, for example
        writer = open_things.enter_context(EpisodeWriter(judging))  # which removes a torn line
        done = _compare(source, judging, config)
        yield _Progress(ready=done, asked=0)
        finished = read_episodes(target) if target.exists() and config.judge != "recorded" else iter(())
        pairs = zip(read_episodes(source), chain(finished, repeat(None)), strict=False)
        rest = islice(pairs, done, None)
        while batch := list(islice(rest, config.batch)):
            known = [_reusable(episode, earlier, config) for episode, earlier in batch]
            unknown = [episode for (episode, _), labels in zip(batch, known, strict=True) if labels is None]
            fresh = iter(pipeline.reward(unknown))
            for (episode, _), labels in zip(batch, known, strict=True):
                writer.write(with_labels(episode, labels or _signed(next(fresh), config)))
            yield _Progress(ready=len(batch), asked=len(unknown))


def _compare(source: Path, judging: Path, config: RelabelConfig) -> int:
    """Return how many episodes have been judged, after a check that they are the first of ``source``, by the same judge."""
    done = 0
    for episode, judged in zip(read_episodes(source), chain(read_episodes(judging), repeat(None)), strict=False):
        if judged is None:
            continue  # goes on to the end, so that a damaged source is found before anything is spent
        labels = labels_of(judged)
        if _bare(judged) != _bare(episode) or labels is None or labels.judge.get("id") != config.judge_id:
            raise ConfigError(f"{str(judging)!r} was begun with other episodes or another judge. Delete it to begin anew.")
        done += 1
    return done


def _reusable(episode: Episode, earlier: Episode | None, config: RelabelConfig) -> RewardBreakdown | None:
    """Return the labels that an earlier call gave the same episode, if it succeeded."""
    if earlier is None or _bare(earlier) != _bare(episode):
        return None
    labels = labels_of(earlier)
    is_good = labels is not None and labels.status is JudgeStatus.OK and labels.judge.get("id") == config.judge_id
    return labels if is_good else None


def _bare(episode: Episode) -> Episode:
    return replace(episode, extra={key: value for key, value in episode.extra.items() if key != LABELS})


def _signed(labels: RewardBreakdown, config: RelabelConfig) -> RewardBreakdown:
    return replace(labels, judge=labels.judge | {"id": config.judge_id})


def _pay(judging: Path, config: RelabelConfig) -> Iterator[Episode]:
    """Yield the judged episodes with their rewards."""
    pipelines = [
        RewardPipeline(
            "recorded",
            make_calibrator(config.calibrator, config.calibrator_kwargs),
            w_env=config.w_env,
            w_hindsight=config.w_hindsight,
            retries=0,
            max_failures=sys.maxsize,
        )
        for _ in range(FOLDS)
    ]
    for number, episode in enumerate(read_episodes(judging)):
        for part, pipeline in enumerate(pipelines):
            if part != number % FOLDS:
                pipeline.learn([episode], pipeline.reward([episode]))
    for number, episode in enumerate(read_episodes(judging)):
        (breakdown,) = pipelines[number % FOLDS].reward([episode])
        labels = labels_of(episode)
        assert labels is not None
        yield with_labels(episode, replace(breakdown, judge=labels.judge))


def _count(episodes: Iterable[Episode], counts: RelabelCounts) -> Iterator[Episode]:
    """Yield the episodes and add them up on the way."""
    for episode in episodes:
        labels = labels_of(episode)
        assert labels is not None
        counts.episodes += 1
        counts.turns += len(episode)
        counts.failed.update([labels.status.value] if labels.status is not JudgeStatus.OK else [])
        counts.calls += labels.judge["calls"]
        counts.tokens += labels.judge["tokens"]
        counts.seconds += labels.judge["seconds"]
        counts.cost += labels.judge.get("cost", 0.0)
        counts.paid += sum(abs(reward) for reward in labels.calibrated or ())
        yield episode
