"""``mise-gym info``: what one environment is, takes and tells."""

import argparse
import inspect
import json
import re
from typing import Any

import gymnasium as gym

from mise_gym.cli.settings import find_environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym info``."""
    parser.add_argument("id", help="an environment from `mise-gym list`, for example mise/FTWP-v0")
    parser.add_argument("--json", action="store_true", help="print one JSON object, without the description")


def run(arguments: argparse.Namespace) -> int:
    """Print the description, arguments, options and infos of an environment."""
    name, build = find_environment(arguments.id)
    facts = describe(name, build)
    if arguments.json:
        print(json.dumps(facts, indent=2, default=str))
        return 0
    settings = "\n".join(f"  {argument} = {default!r}" for argument, default in facts["arguments"].items())
    print(f"{name}\n\n{_plain(inspect.getdoc(build) or '')}\n")
    print(
        f"Arguments and their defaults (gym.make({name!r}, NAME=VALUE), mise-gym play {name} --setting NAME=VALUE):\n{settings}\n"
    )
    print(f"Options of reset (mise-gym play {name} --option NAME=VALUE): {', '.join(facts['options']) or 'none'}")
    print(f"On request (infos=): {', '.join(facts['infos']) or 'none'}")
    return 0


def describe(name: str, build: Any) -> dict[str, Any]:
    """Return what an environment takes and tells, as JSON can hold it.

    Args:
        name: Its id.
        build: Its class, or a function that makes it.

    Returns:
        ``id``, ``summary``, ``arguments`` (name -> default, as this id sets it), ``options`` of reset and ``infos`` on request.
    """
    defaults = {
        parameter.name: None if parameter.default is parameter.empty else parameter.default
        for parameter in inspect.signature(build).parameters.values()
    }
    return {
        "id": name,
        "summary": " ".join((inspect.getdoc(build) or "").partition("\n\n")[0].split()),
        "arguments": {**defaults, **gym.registry[name].kwargs},
        "options": list(getattr(build, "known_options", ())),
        "infos": list(getattr(build, "available_infos", ())),
    }


def _plain(markdown: str) -> str:
    """Take the marks of Markdown away, as a terminal does not show them."""
    return re.sub(r"^## ", "", markdown, flags=re.MULTILINE).replace("``", "")
