"""``mise-gym judge``: ask a judge about recorded episodes and look at what it says; nothing is written."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from mise_gym.cli.judging import add_judge, forecast, json_object, prompts
from mise_gym.cli.terminal import Screen, visible
from mise_gym.cli.view import add_choice, chosen, show_episode
from mise_gym.errors import CheckpointError
from mise_gym.rewards.base import Calibrator, Judge, JudgeStatus, RewardBreakdown
from mise_gym.rewards.catalog import make_calibrator, make_judge
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.types import Episode

FAILED: Final = 1
"""Exit status when an episode got no scores."""

_BATCH: Final = 16
"""Episodes that the judge gets at once."""

Numbered = tuple[int, Episode]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym judge``."""
    parser.epilog = "To keep the scores of a whole file: mise-gym relabel. Exit status 1: an episode got no scores."
    add_choice(parser)
    add_judge(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what would be asked and what it would cost; ask nobody")
    parser.add_argument("--show-prompt", action="store_true", help="show what is asked before the answer")
    parser.add_argument("--calibrator", metavar="NAME", help="show the rewards that this calibrator makes of the scores")
    parser.add_argument("--calibrator-args", default="{}", metavar="JSON", help="its arguments")
    parser.add_argument(
        "--calibrator-state",
        type=Path,
        metavar="FILE",
        help="what it has learnt: its state, that of a pipeline, or state.json of a checkpoint (default calibrator: outcome)",
    )
    parser.add_argument("--w-env", type=float, default=1.0, help="weight of the environment's reward (default: %(default)s)")
    parser.add_argument("--w-hindsight", type=float, default=0.25, help="weight of the hindsight reward (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Show what the judge says of the chosen episodes, or what it would be asked."""
    calibrator = _calibrator(arguments)
    judge = make_judge(arguments.judge, json_object("--judge-args", arguments.judge_args))
    screen = Screen(arguments.colour)
    try:
        if arguments.dry_run:
            return _dry_run(screen, judge, list(chosen(arguments)))
        weights = {"w_env": arguments.w_env, "w_hindsight": arguments.w_hindsight if calibrator else 0.0}
        pipeline = RewardPipeline(judge, calibrator or "identity", **weights)
        statuses = set()
        for number, episode, labels in _judged(pipeline, chosen(arguments)):
            if arguments.show_prompt:
                _show_prompts(screen, judge, episode)
            show_episode(screen, number, episode, labels if calibrator else replace(labels, calibrated=None))
            screen.show(f"{_cost(labels)}\n", "status")
            statuses.add(labels.status)
        return 0 if statuses == {JudgeStatus.OK} else FAILED
    finally:
        getattr(judge, "close", lambda: None)()  # connections, for example


def _calibrator(arguments: argparse.Namespace) -> Calibrator | None:
    """Return the calibrator that was asked for, with what it has learnt."""
    if arguments.calibrator is None and arguments.calibrator_state is None:
        return None
    calibrator = make_calibrator(arguments.calibrator or "outcome", json_object("--calibrator-args", arguments.calibrator_args))
    if arguments.calibrator_state is not None:
        calibrator.load_state_dict(_read_state(arguments.calibrator_state))
    return calibrator


def _read_state(path: Path) -> dict[str, Any]:
    """Return the state of a calibrator, which may be inside that of a pipeline or a checkpoint."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        for outer in ("pipeline", "calibrator"):
            state = state.get(outer, state)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"Cannot read the state of a calibrator from {str(path)!r}: {error}. "
            "Give a JSON file with what state_dict() returned, or state.json of a checkpoint."
        ) from error
    return dict(state)


def _judged(pipeline: RewardPipeline, episodes: Iterator[Numbered]) -> Iterator[tuple[int, Episode, RewardBreakdown]]:
    while batch := list(islice(episodes, _BATCH)):
        labels = pipeline.reward([episode for _, episode in batch])
        yield from ((number, episode, each) for (number, episode), each in zip(batch, labels, strict=True))


def _dry_run(screen: Screen, judge: Judge, episodes: list[Numbered]) -> int:
    for number, episode in episodes:
        screen.show(f"episode {number}", "note")
        _show_prompts(screen, judge, episode)
    screen.show(forecast(judge, [episode for _, episode in episodes]))
    return 0


def _show_prompts(screen: Screen, judge: Judge, episode: Episode) -> None:
    for prompt in prompts(judge, episode) or [f"The judge {judge.name!r} asks no model."]:
        screen.show(f"{visible(prompt)}\n")


def _cost(labels: RewardBreakdown) -> str:
    judge = labels.judge
    money = f", cost {judge['cost']:.4g}" if judge["cost"] else ""
    return f"{labels.status.value}: {judge['calls']:,} calls, {judge['tokens']:,} tokens, {judge['seconds']:.2f} s{money}"
