"""Writes the pages that are made from the code: environments, judges, calibrators, metrics and the command line.

``python docs/_gen.py`` (or ``make docs``) writes them; a test fails while they differ from what is committed.
"""

import inspect
import json
import os
import re
import shlex
import statistics
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mise_gym.cli import COMMANDS, build_parser
from mise_gym.envs.catalog import ENVS
from mise_gym.envs.levels import LEVELS
from mise_gym.envs.science.tasks import TASKS
from mise_gym.envs.scienceworld import ScienceWorldEnv
from mise_gym.envs.wrappers.recording import MADE_AS
from mise_gym.registry import Registry
from mise_gym.rewards.catalog import CALIBRATORS, JUDGES
from mise_gym.train.metrics import GLOSSARY
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode

DOCS = Path(__file__).parent
NOTICE = "<!-- Written by docs/_gen.py; change the docstrings and run `make docs`. -->\n"

LONGEST_PAGE = 18
"""Lines of an observation that the example of an environment shows."""

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
    rows = [row for row in ENVS if row.entry_point == entry_point]
    tasks = _science_tasks() if cls is ScienceWorldEnv else _expert_table(rows[0].id)
    made = [f"`gym.make({row.id!r})`{_fixed(row.kwargs)}" for row in rows]
    example = _example(DOCS / "transcripts" / f"{entry_point.partition(':')[0].rpartition('.')[2]}.jsonl")
    return "\n".join([f"# {rows[0].id}", "", NOTICE, *made, "", _ticks(inspect.cleandoc(cls.__doc__)), *example, *tasks, ""])


def _example(recording: Path) -> list[str]:
    """Return a recorded episode as one reads it."""
    if not recording.exists():
        return []
    (episode,) = read_episodes(recording)
    made, chosen = episode.extra[MADE_AS], episode.extra.get("options", {})
    words = [f"--setting {_word(name, value)}" for name, value in made["kwargs"].items() if name not in ("infos", "challenge")]
    words += [f"--option {name}={value}" for name, value in chosen.items()]
    command = " ".join(["mise-gym play", made["id"], f"--seed {episode.seed}", *words])
    end = "won" if episode.success else "lost" if episode.terminated else "the step limit"
    last = f"({end} after {len(episode)} turns, progress {episode.progress:.0%})"
    name = recording.relative_to(DOCS.parent)
    note = f"Played with `{command}`; `mise-gym replay {name}` plays it again. Long lines are broken here, long pages cut."
    is_told = episode.task in episode.transitions[0].observation
    task = [] if is_told else [f"Task: {_folded(episode.task)}", ""]
    return ["", "## Example", note, "", "```text", *task, *_turns(episode), "", last, "```"]


def _word(name: str, value: Any) -> str:
    text = f"{name}={value}" if isinstance(value, str) else f"{name}={json.dumps(value)}"
    return shlex.quote(text)


def _turns(episode: Episode) -> Iterator[str]:
    yield _folded(episode.transitions[0].observation.strip())
    progress = 0.0
    for turn in episode.transitions:
        gain = f"   (progress {turn.progress:.0%})" if turn.progress != progress else ""
        gain += "" if turn.valid_action else "   (not understood)"
        progress = turn.progress
        yield f"\n> {turn.action}{gain}\n\n{_folded(turn.next_observation.strip())}"


def _folded(text: str) -> str:
    """Break long lines, leave out repeated blank ones, and cut after ``LONGEST_PAGE`` lines."""
    filled = "\n".join(textwrap.fill(line, 110, replace_whitespace=False, break_long_words=False) for line in text.splitlines())
    lines = re.sub(r"\n\s*\n", "\n\n", filled).split("\n")
    cut = ["[...]"] if len(lines) > LONGEST_PAGE else []
    return "\n".join([line.rstrip() for line in lines[:LONGEST_PAGE]] + cut)


def _expert_table(env_id: str) -> list[str]:
    rows = json.loads((DOCS / "experts.json").read_text()).get(env_id, {})
    if not rows:
        return []
    note = "How many actions the expert takes in training games of each kind: median, and the fewest and the most."
    header = ["| games | actions of the expert | maximum score |", "|---|---|---|"]
    spreads = {name: (_spread(row["expert_actions"]), _spread(row["max_scores"])) for name, row in rows.items()}
    lines = [f"| {_row_name(name)} | {actions} | {scores} |" for name, (actions, scores) in spreads.items()]
    goals = {name: row["goals"] for name, row in rows.items() if "goals" in row}
    counts = [
        f"- {name} goals of the generated catalogue: "
        + ", ".join(f"{number:,} {split}" for split, number in splits.items())
        + "."
        for name, splits in goals.items()
    ]
    return ["", "## Tasks", note, "", *header, *lines, *([""] if counts else []), *counts]


def _row_name(name: str) -> str:
    return f"`{name}`" + (f": `{LEVELS[name]}`" if name in LEVELS else "")


def _spread(values: list[float]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:g}" if low == high else f"{middle:g} ({low:g} to {high:g})"


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
    return " stands for " + ", ".join(f"`{name}={value!r}`" for name, value in kwargs.items()) + "." if kwargs else ""


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
