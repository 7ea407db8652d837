"""``mise-gym ablate``: the same training with several rewards, seeds and environments, and what that shows."""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mise_gym.errors import ConfigError
from mise_gym.extras import require

if TYPE_CHECKING:
    from mise_gym.ablation.results import RunState
    from mise_gym.ablation.suite import Suite

_HELP: Final = """Called again, it goes on: finished runs are only read, stopped ones go on from their newest checkpoint. The
runs of a seed share their warm start. The folder then has results.md (tables with intervals, and a verdict per claim),
results.json, metrics.jsonl.gz (every metric of every run) and pictures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym ablate``."""
    parser.epilog = _HELP
    parser.add_argument("suite", type=Path, metavar="SUITE", help="TOML file: what to run, such as examples/ablation_small.toml")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the runs go, instead of where the file says")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="these arms instead of the file's")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="these seeds instead of the file's")
    parser.add_argument("--environments", nargs="+", metavar="NAME", help="only these environments of the file")
    parser.add_argument("--dry-run", action="store_true", help="show what is left to do and about how long it will take")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> int:
    """Do what is left to do, write the results and say where they are."""
    for module in ("torch", "scipy", "matplotlib"):
        require(module, extra="plot" if module == "matplotlib" else "train")
    from mise_gym.ablation.report import write_results
    from mise_gym.ablation.results import read_state
    from mise_gym.ablation.schedule import run_suite
    from mise_gym.ablation.suite import load_suite

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if arguments.jobs < 1:
        raise ConfigError(f"--jobs is {arguments.jobs}; it must be at least 1.")
    parts = {name: getattr(arguments, name) for name in ("arms", "seeds", "environments") if getattr(arguments, name)}
    suite = load_suite(arguments.suite, folder=arguments.folder, **parts)
    states = [read_state(job) for job in suite.jobs()]
    if arguments.dry_run:
        print(_plan(suite, states, arguments.jobs))
        return 0
    try:
        with _bar(states, quiet=arguments.quiet) as on_look:
            run_suite(suite, jobs=arguments.jobs, on_look=on_look)
    finally:  # also of what was finished before an interruption
        page = write_results(suite, [read_state(job) for job in suite.jobs()], _command(arguments.suite, parts))
    print(page.read_text(encoding="utf-8"))
    print(f"Written to {page}; pictures and metrics are beside it.")
    return 0


def _command(suite: Path, parts: Mapping[str, Sequence[str | int]]) -> str:
    """Return what was asked for, as it would be typed."""
    words = ["mise-gym", "ablate", str(suite)]
    for name, values in parts.items():
        words += [f"--{name}", *map(str, values)]
    return shlex.join(words)


def _plan(suite: "Suite", states: Sequence["RunState"], jobs: int) -> str:
    """Return a line per run and an estimate per environment."""
    lines = [f"{state.job.environment:16} seed {state.job.seed:<3} {state.job.arm:18} {_state_of(state)}" for state in states]
    lines += [_estimate(states, environment, jobs) for environment in suite.environments]
    return "\n".join(lines)


def _state_of(state: "RunState") -> str:
    if state.summary is not None:
        return "finished"
    if not state.iterations:
        return "to do: the warm start that the seed shares"
    return f"{len(state.records)} of {state.iterations} iterations done"


def _estimate(states: Sequence["RunState"], environment: str, jobs: int) -> str:
    from mise_gym.ablation.results import remaining_seconds, seconds_per_iteration

    left, pace = remaining_seconds(states, environment), seconds_per_iteration(states, environment)
    if left is None:
        return f"{environment}: no estimate before its first iteration. Start it, stop it with Ctrl-C, and ask again."
    shown = "" if pace is None else f" ({pace:.1f} s per iteration so far)"
    return f"{environment}: about {left / 3600 / jobs:.1f} hours left with {jobs} at a time{shown}, and the first warm starts."


def _bar(states: Sequence["RunState"], *, quiet: bool) -> Any:
    """Return a context that gives what is to be called after each look at the runs."""
    if quiet or not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    return _Bar(states)


class _Bar:
    """A bar over the iterations of all runs."""

    def __init__(self, states: Sequence["RunState"]) -> None:
        total = sum(state.iterations for state in states)
        self.bar = require("tqdm").tqdm(total=total, initial=_iterations(states), desc="iterations", dynamic_ncols=True)

    def __enter__(self) -> Callable[[Sequence["RunState"]], None]:
        return self.look

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def look(self, states: Sequence["RunState"]) -> None:
        """Show how far the runs have come."""
        finished = sum(state.summary is not None for state in states)
        self.bar.set_postfix(runs=f"{finished}/{len(states)}", refresh=False)
        self.bar.update(_iterations(states) - self.bar.n)


def _iterations(states: Sequence["RunState"]) -> int:
    return sum(len(state.records) for state in states)
