"""Writes the pages that are made from the code: environments, judges, calibrators, metrics and the command line.

``python docs/_gen.py`` (or ``make docs``) writes them; a test fails while they differ from what is committed.
"""

import inspect
import os
import re
from pathlib import Path
from typing import Any

from mise_gym.cli import COMMANDS, build_parser
from mise_gym.envs.catalog import ENVS
from mise_gym.envs.science.tasks import TASKS
from mise_gym.envs.scienceworld import ScienceWorldEnv
from mise_gym.registry import Registry
from mise_gym.rewards.catalog import CALIBRATORS, JUDGES
from mise_gym.train.metrics import GLOSSARY

DOCS = Path(__file__).parent
NOTICE = "<!-- Written by docs/_gen.py; change the docstrings and run `make docs`. -->\n"

CALIBRATORS_NOTE = (
    "All but the fixed ones pay in standard deviations of the outcome R. What they do on real games, before and after: "
    "[evidence](evidence.md)."
)


def pages() -> dict[Path, str]:
    """Return the text of every generated page."""
    made = {
        DOCS / "rewards" / "judges.md": _registry_page("Judges", JUDGES),
        DOCS / "rewards" / "calibrators.md": _registry_page("Calibrators", CALIBRATORS, CALIBRATORS_NOTE),
        DOCS / "reference" / "cli.md": _command_line_page(),
        DOCS / "reference" / "metrics.md": _metrics_page(),
    }
    for entry_point in dict.fromkeys(row.entry_point for row in ENVS):
        name = entry_point.partition(":")[0].rpartition(".")[2]
        made[DOCS / "environments" / f"{name}.md"] = _environment_page(entry_point)
    return made


def _environment_page(entry_point: str) -> str:
    cls = Registry("environment", {}).load(entry_point)
    tasks = _science_tasks() if cls is ScienceWorldEnv else []
    ids = [f"- `{row.id}`{_fixed(row.kwargs)}" for row in ENVS if row.entry_point == entry_point]
    return "\n".join([f"# {cls.__name__}", "", NOTICE, *ids, "", _ticks(inspect.cleandoc(cls.__doc__)), *tasks, ""])


def _science_tasks() -> list[str]:
    rows = [
        f"| {task.id} | `{task.name}` | `{task.env_id}` | {task.variations} | "
        + " | ".join(str(length or "fails") for length in task.expert_lengths)
        + " |"
        for task in TASKS
    ]
    note = (
        "Every task has an id of its own as well. The expert is the simulator's own agent; the numbers are how many actions it "
        "takes in the first variation of each split (`python examples/benchmarks/scienceworld_experts.py --check`)."
    )
    head = "| | task | id | variations | expert: train | valid | test |"
    return ["", "## Tasks", note, "", head, "|---" * 7 + "|", *rows]


def _fixed(kwargs: dict[str, Any]) -> str:
    return ": " + ", ".join(f"`{name}={value!r}`" for name, value in kwargs.items()) if kwargs else ""


def _registry_page(title: str, table: Registry, note: str = "") -> str:
    blocks = [f"# {title}\n\n{NOTICE}{note and chr(10) + note + chr(10)}"]
    for name in sorted(table):
        signature = ", ".join(str(parameter) for parameter in inspect.signature(table.load(name)).parameters.values())
        blocks.append(f"## `{name}`\n\n`{table[name]}`\n\nArguments: `{signature or 'none'}`\n\n{_markdown(table.load(name))}\n")
    return "\n".join(blocks)


def _command_line_page() -> str:
    os.environ["COLUMNS"] = "100"
    parser = build_parser(*COMMANDS)
    subparsers = next(action for action in parser._actions if hasattr(action, "add_parser"))
    helps = {"mise-gym": parser, **{f"mise-gym {name}": subparsers.choices[name] for name in COMMANDS}}
    for command, subparser in subparsers.choices.items():
        for nested in (action for action in subparser._actions if hasattr(action, "add_parser")):
            helps |= {f"mise-gym {command} {name}": choice for name, choice in nested.choices.items()}
    blocks = [f"## `{title}`\n\n```text\n{each.format_help().rstrip()}\n```\n" for title, each in helps.items()]
    return "\n".join([f"# Command line\n\n{NOTICE}", *blocks])


def _metrics_page() -> str:
    rows = [f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" for name, meaning in GLOSSARY.items()]
    lines = ["What the lines of a run's `metrics.jsonl` hold, beside `stage` and `step`.", "", "| name | meaning |", "|---|---|"]
    return "\n".join(["# Metrics", "", NOTICE, *lines, *rows, ""])


def _markdown(thing: Any) -> str:
    """Return a Google-style docstring as Markdown: section titles in bold, their items as lists, examples as they are."""
    lines: list[str] = []
    for block in inspect.cleandoc(thing.__doc__).split("\n\n"):
        title, _, body = block.partition("\n")
        if not re.fullmatch(r"[A-Z][a-z]+:", title):
            lines.append(block)
        elif title == "Example:":
            lines.append(f"**Example**\n\n```pycon\n{inspect.cleandoc(body)}\n```")
        elif title in ("Args:", "Raises:"):
            items = re.split(r"\n(?! )", inspect.cleandoc(body))
            lines.append(f"**{title[:-1]}**\n\n" + "\n".join(f"- {' '.join(item.split())}" for item in items))
        else:
            lines.append(f"**{title[:-1]}.** {inspect.cleandoc(body)}")
    return _ticks("\n\n".join(lines))


def _ticks(text: str) -> str:
    """Turn the double ticks of docstrings into single ones, and leave fences alone."""
    return re.sub(r"(?<!`)``(?!`)", "`", text)


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
