"""Measures how long the experts take, for the tables on the environments' pages: ``docs/experts.json``.

``python docs/_experts.py`` plays the games below and writes the file; ``--check`` compares instead, and fails on a difference.
Rows that are there are kept, so an interrupted call can be repeated; delete the file to begin anew. It takes some minutes.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import gymnasium as gym

import mise_gym.envs.levels
from mise_gym.extras import require
from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.generator import default_catalogue
from webshop_server.engine.goal_list import split_ranges

FILE: Final = Path(__file__).with_name("experts.json")

SHOP: Final = "mise/WebShop-v0"
GAMES: Final = {"mise/TextWorld-v0": 10, "mise/FTWP-v0": 10, SHOP: 200}
"""Games per row."""
COINS: Final = (10, 50, 100, 130, 230)
TREASURES: Final = (1, 10, 20)


def rows() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the id, name and arguments of each row of a table."""
    for level in mise_gym.envs.levels.LEVELS:
        yield "mise/FTWP-v0", level, {"level": level}
    for goals in ("human", "synthetic"):
        yield SHOP, goals, {"goals": goals}
    for rewards in mise_gym.envs.levels.CHALLENGES["tw-simple"]["rewards"]:
        yield "mise/TextWorld-v0", f"tw-simple, rewards={rewards}", {"challenge": "tw-simple", "settings": {"rewards": rewards}}
    for challenge, numbers in (("tw-coin_collector", COINS), ("tw-treasure_hunter", TREASURES)):
        for number in numbers:
            yield "mise/TextWorld-v0", f"{challenge}, level={number}", {"challenge": challenge, "settings": {"level": number}}


def measure(env_id: str, arguments: dict[str, Any], games: int) -> dict[str, Any]:
    """Return the expert actions and maximum scores of training games: the first ones, or in the shop those drawn by seed 0."""
    env = gym.make(env_id, **arguments)
    lengths, scores = [], []
    for number in range(games):
        options = None if env_id == SHOP else {"game": number}
        _, info = env.reset(seed=0 if number == 0 else None, options=options)
        lengths.append(len(env.unwrapped.expert_actions()))
        scores.append(info["max_score"])
    env.close()
    row: dict[str, Any] = {"expert_actions": lengths, "max_scores": scores}
    return row | {"goals": count_goals(arguments["goals"])} if env_id == SHOP else row


def count_goals(kind: str) -> dict[str, int]:
    """Return how many goals of a kind the generated catalogue has in each split."""
    with tempfile.TemporaryDirectory() as folder:
        goals = Catalogue(default_catalogue(Path(folder) / "shop")).goals("synthetic" if kind == "synthetic" else "human")
        return {split: len(numbers) for split, numbers in split_ranges(len(goals)).items()}


def write(table: dict[str, dict[str, Any]]) -> None:
    """Write the file, a row a line."""
    blocks = []
    for env_id, its_rows in table.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in its_rows.items())
        blocks.append(f" {json.dumps(env_id)}: {{\n{lines}\n }}")
    FILE.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


def main() -> None:
    """Measure, and write or compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    table: dict[str, dict[str, Any]] = {}
    for env_id, name, kwargs in require("tqdm").tqdm(list(rows()), unit="row"):
        row = known.get(env_id, {}).get(name)
        if arguments.check or row is None:
            row = measure(env_id, kwargs, GAMES[env_id])
        table.setdefault(env_id, {})[name] = row
        if not arguments.check:
            write({env: {**known.get(env, {}), **table.get(env, {})} for env in {**known, **table}})
    if arguments.check and table != known:
        raise SystemExit("The experts act otherwise than docs/experts.json says. Run docs/_experts.py without --check.")
    if not arguments.check:
        write(table)


if __name__ == "__main__":
    main()
