"""Measures how long the experts take, for the tables on the environments' pages: ``docs/experts.json``.

``python docs/_experts.py`` plays the games below and writes the file; ``--check`` compares instead, and fails on a difference. A
row is kept when it has enough games already, so an interrupted call can be repeated. Making the games takes some minutes.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import gymnasium as gym

import mise_gym.envs.levels
from mise_gym.extras import require

FILE: Final = Path(__file__).with_name("experts.json")

COINS: Final = (10, 50, 100, 130, 230)
TREASURES: Final = (1, 10, 20, 30)


def rows() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the id, name and arguments of each row of a table."""
    for level in mise_gym.envs.levels.LEVELS:
        yield "mise/FTWP-v0", level, {"level": level}
    for goals in ("human", "synthetic"):
        yield "mise/WebShop-v0", goals, {"goals": goals}
    for rewards in mise_gym.envs.levels.CHALLENGES["tw-simple"]["rewards"]:
        yield "mise/TextWorld-v0", f"tw-simple, rewards={rewards}", {"challenge": "tw-simple", "settings": {"rewards": rewards}}
    for challenge, numbers in (("tw-coin_collector", COINS), ("tw-treasure_hunter", TREASURES)):
        for number in numbers:
            yield "mise/TextWorld-v0", f"{challenge}, level={number}", {"challenge": challenge, "settings": {"level": number}}


def measure(env_id: str, arguments: dict[str, Any], games: int) -> dict[str, list[float]]:
    """Return the number of expert actions and the maximum score of the first ``games`` training games (goals drawn by seed 0)."""
    env = gym.make(env_id, **arguments)
    numbered = "game" in env.unwrapped.known_options and env_id != "mise/WebShop-v0"
    lengths, scores = [], []
    for number in range(games):
        options = {"game": number} if numbered else None  # in the shop a number has another meaning
        _, info = env.reset(seed=0 if number == 0 else None, options=options)
        lengths.append(len(env.unwrapped.expert_actions()))
        scores.append(info["max_score"])
    env.close()
    return {"expert_actions": lengths, "max_scores": scores}


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
    parser.add_argument("--games", type=int, default=10, help="games per row (default: 10)")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    table: dict[str, dict[str, Any]] = {}
    for env_id, name, kwargs in require("tqdm").tqdm(list(rows()), unit="row"):
        row = known.get(env_id, {}).get(name)
        if arguments.check or row is None or len(row["expert_actions"]) < arguments.games:
            row = measure(env_id, kwargs, arguments.games)
        table.setdefault(env_id, {})[name] = row
        if not arguments.check:
            write({env: {**known.get(env, {}), **table.get(env, {})} for env in {**known, **table}})
    if arguments.check and table != known:
        raise SystemExit("The experts act otherwise than docs/experts.json says. Run docs/_experts.py without --check.")
    if not arguments.check:
        write(table)


if __name__ == "__main__":
    main()
