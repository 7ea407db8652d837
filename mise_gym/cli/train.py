"""``mise-gym train``: the flags are the fields of ``TrainConfig``, and their help is what stands below each field."""

import argparse
import ast
import dataclasses
import inspect
import logging
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin, get_type_hints

from mise_gym.extras import require

if TYPE_CHECKING:
    from mise_gym.train.config import TrainConfig

_HELP: Final = """A run goes on where it stopped when it is called again. Settings come from --config (TOML), then from flags;
ppo.learning_rate = 1e-4 below [ppo] in the file is --ppo.learning-rate 1e-4. Several processes share the work of a run when
accelerate launch or torchrun starts them as -m mise_gym train."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every setting."""
    require("torch", extra="train")
    from mise_gym.train.config import TrainConfig

    parser.usage = "%(prog)s [-h] [--config FILE] [--quiet] [--SETTING VALUE ...]"
    parser.epilog = _HELP
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.add_argument(
        "--estimate-memory", action="store_true", help="only print how much memory the model will need, part by part"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    for group, config_class in _groups(TrainConfig):
        section = parser.add_argument_group(group or "run", inspect.getdoc(config_class)) if group else parser
        for field, help_text in _documented_fields(config_class):
            name = f"{group}.{field.name}" if group else field.name
            section.add_argument(_flag(name), dest=name, default=argparse.SUPPRESS, help=help_text, **_kind(config_class, field))


def run(arguments: argparse.Namespace) -> int:
    """Train, and print what came out."""
    from mise_gym.train.config import from_mapping, load_toml
    from mise_gym.train.distributed import is_main, joined
    from mise_gym.train.run import TrainingRun

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    settings = load_toml(arguments.config) if arguments.config else {}
    for name, value in vars(arguments).items():
        if name not in ("command", "config", "estimate_memory", "quiet"):
            group, _, field = name.rpartition(".")
            (settings.setdefault(group, {}) if group else settings)[field] = value
    config = from_mapping(settings)
    if arguments.estimate_memory:
        print(_memory_report(config))
        return 0
    with joined(int(os.environ.get("WORLD_SIZE", "1"))):
        summary = TrainingRun(config, progress=not arguments.quiet).run()
        if is_main():
            print(_report(summary, config.run_dir))
    return 0


def _report(summary: Mapping[str, Any], folder: Path) -> str:
    """Return the outcome of a run in a few lines."""
    rows = [
        ("held-out success, sampled", "heldout_success_before", "heldout_success_after"),
        ("held-out success, greedy", "heldout_success_greedy_before", "heldout_success_greedy_after"),
        ("over-confidence on failures", "overconfidence_before", "overconfidence_after"),
        ("AUROC of the self-evaluation", "auroc_before", "auroc_after"),
        ("AUROC of turns in an episode", "turn_auroc_before", "turn_auroc_after"),
    ]
    lines = [f"{'':32}before    after"]
    lines += [f"{title:32}{_number(summary[before]):>6}   {_number(summary[after]):>6}" for title, before, after in rows]
    minutes = summary["seconds"] / 60
    lines.append(
        f"{summary['heldout_games']} held-out games, reward {summary['reward']}, seed {summary['seed']}, {minutes:.1f} minutes."
    )
    lines.append(f"Pictures, metrics, episodes and the model are in {folder}.")
    return "\n".join(lines)


def _memory_report(config: "TrainConfig") -> str:
    """Return the memory that a run's model will need, part by part."""
    from mise_gym.train.memory import estimate_memory, find_shape

    shape = find_shape(config)
    estimate = estimate_memory(shape, config)
    parts = {"all the time": estimate.always, "while playing": estimate.playing, "while updating": estimate.updating}
    lines = [f"{'':16}{shape.weights:,} weights" + (f", adapter {shape.adapter_weights:,}" if shape.adapter_weights else "")]
    lines += [f"{when:16}{name:28}{size / 1e9:9.3f} GB" for when, part in parts.items() for name, size in part.items() if size]
    lines.append(f"{'at most':44}{estimate.peak / 1e9:9.3f} GB")
    observation, turns = config.max_observation_tokens, config.games.max_turns
    lines.append(
        f"With {turns} turns in every episode and {observation} tokens in every observation, the most there can be. Leave a"
    )
    lines.append("tenth more for fragments and for what the device itself takes.")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _groups(config_class: Any) -> Iterator[tuple[str, Any]]:
    """Yield the configuration class and its nested ones, with the name of the field they are in."""
    yield "", config_class
    for name, hint in get_type_hints(config_class).items():
        if dataclasses.is_dataclass(hint):
            yield name, hint


def _documented_fields(config_class: Any) -> Iterator[tuple[dataclasses.Field[Any], str]]:
    """Yield the plain fields of a dataclass with the docstring below each and its default."""
    body = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for above, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(below, ast.Expr):
            notes[above.target.id] = str(ast.literal_eval(below.value))
    for field in dataclasses.fields(config_class):
        if field.default is not dataclasses.MISSING:
            shown = " ".join(field.default) if isinstance(field.default, tuple) else field.default
            yield field, f"{notes[field.name]} (default: {shown})".replace("%", "%%")


def _kind(config_class: Any, field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return how argparse reads a field."""
    hint = get_type_hints(config_class)[field.name]
    if get_origin(hint) is Literal:
        return {"metavar": "{" + ",".join(get_args(hint)) + "}"}  # checked with all other settings, which suggests the nearest
    if get_origin(hint) is tuple:
        return {"nargs": "+", "metavar": "NAME"}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
    return {"type": kinds[0], "metavar": kinds[0].__name__.upper()}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
