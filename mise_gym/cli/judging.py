"""What the commands that ask a judge share: how it is named, what it would cost, and what it would be asked."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import Judge
from mise_gym.types import Episode

_KEY: Final = re.compile(r"(api_key\W+)[^\"',}\s]+")


def add_judge(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a judge."""
    parser.add_argument("--judge", default="auto", metavar="NAME", help="who scores the turns (default: %(default)s)")
    parser.add_argument("--judge-args", default="{}", metavar="JSON", help="""its arguments, such as '{"model": "..."}'""")


def json_object(flag: str, text: str) -> dict[str, Any]:
    """Return the JSON object that was given to a flag.

    Raises:
        ConfigError: It is not one; the message shows it without API keys.
    """
    shown = _KEY.sub(r"\1...", text)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {shown!r} is not JSON: {error}. Write, for example, {flag} '{{\"seed\": 1}}'.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{flag} {shown!r} is not a JSON object. Write, for example, {flag} '{{\"seed\": 1}}'.")
    return value


def forecast(judge: Judge, episodes: Sequence[Episode]) -> str:
    """Return how much there is to judge, and what the judge says that costs; nobody is asked."""
    lines = [f"{len(episodes):,} episodes, {sum(map(len, episodes)):,} turns."]
    estimate = getattr(judge, "estimate", None)
    if estimate is None:
        return "\n".join([*lines, f"The judge {judge.name!r} gives no estimate of its cost."])
    found = estimate(episodes)
    entries = asdict(found) if is_dataclass(found) and not isinstance(found, type) else {"estimate": found}
    return "\n".join([*lines, *(f"{name.replace('_', ' ')}: {value}" for name, value in entries.items())])


def prompts(judge: Judge, episode: Episode) -> list[str]:
    """Return what a model would be asked about an episode, one text per request; nothing for judges that ask no model."""
    asked = getattr(judge, "prompts", None)
    return [] if asked is None else list(asked(episode))
