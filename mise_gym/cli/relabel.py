"""``mise-gym relabel``: judge recorded episodes again."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from mise_gym.cli.judging import add_judge, forecast, json_object
from mise_gym.extras import require
from mise_gym.rewards.catalog import make_judge
from mise_gym.rewards.relabel import RelabelConfig, RelabelCounts, relabel
from mise_gym.trajectories import read_episodes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym relabel``."""
    parser.epilog = (
        "The same command goes on after an interruption. When OUT is finished, it asks again about the episodes that failed and "
        "about those that are new."
    )
    defaults = RelabelConfig()
    parser.add_argument("source", type=Path, metavar="IN", help="recorded episodes, .jsonl or .jsonl.gz")
    parser.add_argument("target", type=Path, metavar="OUT", help="file to write, .jsonl or .jsonl.gz")
    add_judge(parser)
    parser.add_argument(
        "--calibrator", default=defaults.calibrator, metavar="NAME", help="turns scores into rewards (default: %(default)s)"
    )
    parser.add_argument("--calibrator-args", default="{}", metavar="JSON", help="its arguments")
    parser.add_argument(
        "--w-env", type=float, default=defaults.w_env, help="weight of the environment's reward (default: %(default)s)"
    )
    parser.add_argument(
        "--w-hindsight", type=float, default=defaults.w_hindsight, help="weight of the hindsight reward (default: %(default)s)"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=defaults.batch,
        metavar="N",
        help="episodes given to the judge at once (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it would cost, and do nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> int:
    """Relabel, and say how it went."""
    config = RelabelConfig(
        judge=arguments.judge,
        judge_kwargs=json_object("--judge-args", arguments.judge_args),
        calibrator=arguments.calibrator,
        calibrator_kwargs=json_object("--calibrator-args", arguments.calibrator_args),
        w_env=arguments.w_env,
        w_hindsight=arguments.w_hindsight,
        batch=arguments.batch,
    )
    if arguments.dry_run:
        print(forecast(make_judge(config.judge, config.judge_kwargs), list(read_episodes(arguments.source))))
        return 0
    shows_bar = sys.stderr.isatty() and not arguments.quiet
    total = sum(1 for _ in read_episodes(arguments.source)) if shows_bar else 0
    with require("tqdm").tqdm(total=total, desc="judging", unit="episode") if shows_bar else nullcontext() as bar:
        counts = relabel(arguments.source, arguments.target, config, None if bar is None else bar.update)
    print(_report(counts, config, arguments.target))
    return 0


def _report(counts: RelabelCounts, config: RelabelConfig, target: Path) -> str:
    failed = sum(counts.failed.values())
    kinds = ", ".join(f"{status} {count:,}" for status, count in counts.failed.most_common())
    money = f", cost {counts.cost:.4g}" if counts.cost else ""
    lines = [
        f"{counts.episodes:,} episodes, {counts.turns:,} turns: {counts.episodes - failed:,} judged, "
        f"{failed:,} failed{f' ({kinds})' if kinds else ''}; asked about {counts.asked:,} now.",
        f"Judge {config.judge}: {counts.calls:,} calls, {counts.tokens:,} tokens, {counts.seconds:.1f} s{money}.",
        f"Calibrator {config.calibrator}: |c(s)| is {counts.paid / max(counts.turns, 1):.3f} on average.",
    ]
    if counts.paid == 0 and failed < counts.episodes:
        lines.append("So the scores earn nothing: they say nothing about the outcomes, or no episode is of the training split.")
    if failed:
        lines.append("Episodes that failed keep the environment's reward. The same command asks about them again.")
    return "\n".join([*lines, f"Written to {target}. Look at it with: mise-gym view {target}"])
