"""``mise-gym diff``: compare two relabellings of the same episodes."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from mise_gym.cli.terminal import visible
from mise_gym.errors import ConfigError
from mise_gym.rewards.comparison import Comparison, compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym diff``."""
    parser.epilog = (
        "EPIC and STARC are distances between the rewards as functions, 0 to 1: 0 means the same up to potential shaping and "
        "scale (and, for EPIC, a constant per turn), 1 means turned round."
    )
    parser.add_argument("first", type=Path, metavar="A", help="what mise-gym relabel wrote")
    parser.add_argument("second", type=Path, metavar="B", help="the same episodes with other labels")
    parser.add_argument("--gamma", type=float, default=0.99, help="discount per turn, for shaping (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print what differs."""
    if not 0 < arguments.gamma <= 1:
        raise ConfigError(f"--gamma {arguments.gamma} is not a discount. Give a number above 0 and at most 1.")
    comparison = compare(arguments.first, arguments.second, arguments.gamma)
    print(json.dumps(asdict(comparison), indent=2) if arguments.json else _render(comparison))
    return 0


def _render(found: Comparison) -> str:
    first, second = found.judges
    rows = [
        ("", "A", "B"),
        ("judge", visible(first.name), visible(second.name)),
        ("episodes without scores", str(first.failed), str(second.failed)),
        ("mean score", _number(first.mean_score), _number(second.mean_score)),
        ("over-confidence", _number(first.overconfidence), _number(second.overconfidence)),
        ("AUROC against success", _number(first.auroc), _number(second.auroc)),
        ("Brier score against outcome", _number(first.brier), _number(second.brier)),
    ]
    figures = [
        ("scores, B - A, mean", _number(found.score_difference)),
        ("scores, |B - A|, mean", _number(found.absolute_difference)),
        ("rank correlation, all turns", _number(found.rank_correlation)),
        ("rank correlation, within episodes", _number(found.rank_correlation_within)),
        ("turns above one mean, below the other", f"{found.score_flips:.1%}"),
        ("turns rewarded by one, punished by the other", f"{found.reward_flips:.1%}"),
        ("EPIC distance of the rewards", _number(found.epic)),
        ("STARC distance of the rewards", _number(found.starc)),
    ]
    lines = [f"{found.episodes:,} episodes with {found.turns:,} turns, scored by both.", ""]
    lines += [f"{title:<46}{left:>14} {right:>14}".rstrip() for title, left, right in rows]
    lines += ["", *(f"{title:<46}{value:>14}" for title, value in figures)]
    if found.largest:
        lines += ["", "Largest differences      A      B"]
    for turn in found.largest:
        place = f"  episode {turn.episode} turn {turn.turn}"
        lines.append(f"{place:<22}{turn.scores[0]:>7.2f}{turn.scores[1]:>7.2f}  {visible(turn.action):.60}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
