"""How fast the shop is: turns of the environment, searches, and the start on a catalogue that is there.

    python examples/benchmarks/webshop_speed.py --products 1000
    python examples/benchmarks/webshop_speed.py --products 1000000 --catalogue shop-1m

Builds the catalogue when ``--catalogue`` is not there yet. Times are CPU times of this process, so that a busy machine distorts
them little; the best of several rounds is shown for turns, quantiles for searches.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mise_gym.envs.webshop import WebShopEnv
from webshop_server.engine.catalogue import NUM_RESULTS
from webshop_server.engine.catalogue_writer import INDEX
from webshop_server.engine.generator import generated_records
from webshop_server.engine.search import SearchIndex

ROUNDS = 5
START = """
import sys, time
import mise_gym
before = time.process_time()
from mise_gym.envs.webshop import WebShopEnv
env = WebShopEnv(catalogue=sys.argv[1], infos=("admissible_commands",))
env.reset(seed=1)
env.step("search[running shoes]")
seconds = time.process_time() - before
private = sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private"))
print(seconds, private / 1024)
"""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--catalogue", type=Path, help="where the catalogue is kept (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as workshop:
        folder = arguments.catalogue or Path(workshop) / "catalogue"
        if not folder.exists():
            build(folder, arguments.products)
        turns(folder)
        start(folder)
        searches(folder, arguments.products)


def build(folder: Path, num_products: int) -> None:
    """Measure the building in a process of its own, for its memory."""
    before = time.perf_counter()
    code = "import sys; from pathlib import Path; from webshop_server.engine.generator import generate_catalogue as make\n"
    subprocess.run([sys.executable, "-c", f"{code}make(Path(sys.argv[1]), {num_products})", str(folder)], check=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"build: {num_products} products, {usage.ru_utime + usage.ru_stime:.1f} s CPU, {time.perf_counter() - before:.1f} s, "
        f"peak {usage.ru_maxrss / 1024:.0f} MB, {size / 1e6:.0f} MB on disk"
    )


def turns(folder: Path) -> None:
    """Measure episodes of search, look, choose and buy, with admissible commands."""
    env = WebShopEnv(catalogue=folder, infos=("admissible_commands",))
    episodes = []
    for index in range(50):
        env.reset(options={"goal_index": index})
        *first, last = env.expert_actions()
        episodes.append((index, [*first, "click[description]", "click[< prev]", "click[features]", "click[< prev]", last]))
    rates = [rate(env, episodes) for _ in range(ROUNDS)]
    print(f"turns: best {max(rates):,.0f}/s, median {sorted(rates)[ROUNDS // 2]:,.0f}/s (CPU, admissible commands each turn)")


def rate(env: WebShopEnv, episodes: Sequence[tuple[int, list[str]]]) -> float:
    """Return turns per second of CPU time."""
    count, before = 0, time.process_time()
    for index, actions in episodes:
        env.reset(options={"goal_index": index})
        for action in actions:
            env.step(action)
        count += len(actions)
    return count / (time.process_time() - before)


def start(folder: Path) -> None:
    """Measure a fresh process up to its first search; the import of gymnasium is not counted."""
    results = [
        subprocess.run([sys.executable, "-c", START, folder], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    seconds, private = min(tuple(map(float, result.stdout.split())) for result in results)
    print(f"start: {seconds:.3f} s CPU from import to first search, {private:.0f} MB private memory of the process")


def searches(folder: Path, num_products: int) -> None:
    """Measure searches of two to eight words out of titles, each for the first time."""
    rng = random.Random(1)
    before = time.perf_counter()
    index = SearchIndex(folder / INDEX)
    index.search("running shoes", NUM_RESULTS)
    print(f"index: opened and searched once in {1000 * (time.perf_counter() - before):.1f} ms")
    times = []
    for _ in range(1000):
        words = str(generated_records(rng.randrange(num_products), 0)[2][0]["instruction"]).split()
        query = " ".join(rng.sample(words, min(rng.randint(2, 8), len(words))))
        before = time.process_time()
        index.search(query, NUM_RESULTS)
        times.append(1000 * (time.process_time() - before))
    times.sort()
    print(f"search: p50 {times[500]:.2f} ms, p99 {times[990]:.2f} ms CPU, most {times[-1]:.2f} ms")


if __name__ == "__main__":
    main()
