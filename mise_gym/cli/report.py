"""``mise-gym report``: one HTML page about a training run or recorded episodes."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.report.material import files_of
from mise_gym.report.page import write_report
from mise_gym.trajectories import SUFFIXES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym report``."""
    parser.epilog = (
        "The page needs no network and runs no script: success, parts of the reward, reliability of the judge, score against "
        "outcome, drift, time and cost, and transcripts of the worst disagreements between judge and outcome."
    )
    parser.add_argument(
        "source", type=Path, metavar="RUN_OR_FILE", help="folder of a training run, or labelled episodes (.jsonl or .jsonl.gz)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: report.html in the folder, or FILE.html)")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    source, target = arguments.source, arguments.out or _beside(arguments.source)
    if target.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {str(target)!r} does not end in .html. A browser would show it as plain text.")
    shows_bar = sys.stderr.isatty()
    with require("tqdm").tqdm(total=len(files_of(source)), desc="reading", unit="file") if shows_bar else nullcontext() as bar:
        write_report(source, target, None if bar is None else bar.update)
    print(f"Written to {target}. Open it in any browser.")
    return 0


def _beside(source: Path) -> Path:
    """Return where the page goes when nothing is said."""
    if source.is_dir():
        return source / "report.html"
    suffix = next((suffix for suffix in reversed(SUFFIXES) if source.name.endswith(suffix)), "")
    return source.with_name(f"{source.name.removesuffix(suffix)}.html")
