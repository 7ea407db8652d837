"""``mise-gym webshop``: catalogues for the shop, and the shop in a browser."""

import argparse
import sys
import time
from pathlib import Path

from mise_gym.cli import shop
from mise_gym.errors import ConfigError
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.generator import generate_catalogue
from webshop_server.engine.goal_list import KINDS
from webshop_server.engine.importer import Sources, import_catalogue
from webshop_server.errors import ShopError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym webshop``."""
    commands = parser.add_subparsers(dest="webshop_command", metavar="COMMAND", required=True)
    summary = "Make a catalogue from WebShop's files, or a generated one. Run it again to go on after an interruption."
    build = commands.add_parser("build", help=summary, description=summary)
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the catalogue; must not exist yet")
    build.add_argument("--replace", action="store_true", help="replace the catalogue that is there")
    files = build.add_argument_group("from files (.gz is accepted)")
    files.add_argument("--items", type=Path, metavar="FILE", help="items_shuffle*.json")
    files.add_argument(
        "--attributes", type=Path, metavar="FILE", help="items_ins_v2*.json (default: products have no attributes)"
    )
    files.add_argument("--human", type=Path, metavar="FILE", help="items_human_ins.json (default: only synthetic goals)")
    files.add_argument(
        "--colours", type=Path, metavar="PATH", help="colour words in order, or a WebShop checkout (default: a list of our own)"
    )
    files.add_argument("--nouns", type=Path, metavar="FILE", help="JSON: name of a product -> its nouns (default: a rule)")
    files.add_argument("--limit", type=int, metavar="N", help="only the first N products of the file")
    generated = build.add_argument_group("generated")
    generated.add_argument("--products", type=int, metavar="N", help="how many products to generate")
    generated.add_argument("--seed", type=int, help="chooses the generated products (default: 0)")
    summary = "Open the shop in a browser: pick an errand, shop, and see how well the purchase fits."
    shop.add_arguments(commands.add_parser("serve", help=summary, description=summary))


def run(arguments: argparse.Namespace) -> int:
    """Build a catalogue and say what is in it, or serve one."""
    if arguments.webshop_command == "serve":
        return shop.run(arguments)
    try:
        _build(arguments)
        if sys.stderr.isatty():
            print(file=sys.stderr)
        print(_summary(Catalogue(arguments.out)))
    except ShopError as error:
        raise ConfigError(str(error)) from error
    return 0


def _build(arguments: argparse.Namespace) -> None:
    if (arguments.items is None) == (arguments.products is None):
        raise ConfigError("Give either --items FILE, to import a catalogue, or --products N, to generate one.")
    progress = _ProgressLine() if sys.stderr.isatty() else None
    if arguments.products is not None:
        _refuse(arguments, "--products", ("attributes", "human", "colours", "nouns", "limit"))
        generate_catalogue(arguments.out, arguments.products, arguments.seed or 0, replace=arguments.replace, progress=progress)
        return
    _refuse(arguments, "--items", ("seed",))
    sources = Sources(
        items=arguments.items,
        attributes=arguments.attributes,
        human=arguments.human,
        colours=arguments.colours,
        nouns=arguments.nouns,
        limit=arguments.limit,
    )
    import_catalogue(sources, arguments.out, replace=arguments.replace, progress=progress)


def _refuse(arguments: argparse.Namespace, flag: str, others: tuple[str, ...]) -> None:
    for other in others:
        if getattr(arguments, other) is not None:
            raise ConfigError(f"--{other} has no effect with {flag}. Leave it out.")


def _summary(catalogue: Catalogue) -> str:
    goals = ", ".join(f"{len(catalogue.goals(kind)):,} {kind} goals" for kind in KINDS)
    lines = [f"{str(catalogue.folder)!r}: {len(catalogue):,} products, {goals}."]
    if catalogue.settings["colours_from"] == "ours":
        lines.append("Colour words: a list of our own. Scores equal WebShop's only with WebShop's list: --colours CHECKOUT.")
    for what, (count, example) in catalogue.problems().items():
        lines.append(f"{count:,} times: {what} (for example {example!r})")
    return "\n".join(lines)


class _ProgressLine:
    """Says on standard error what is being done, how far it is, and how long it will take."""

    def __init__(self) -> None:
        self._what, self._began = "", 0.0

    def __call__(self, what: str, share: float) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began = what, now
        filled, left = int(30 * min(share, 1.0)), (now - self._began) * (1 - share) / share if share else 0.0
        bar = f"[{'#' * filled}{'.' * (30 - filled)}] {share:6.1%}"
        print(f"\r{what:<14} {bar} {_minutes(left)} left ", end="", file=sys.stderr, flush=True)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:3d}:{int(seconds) % 60:02d}"
