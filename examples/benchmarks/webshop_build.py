"""What it takes to build a catalogue from files in WebShop's format, and to open and search it afterwards.

    python examples/benchmarks/webshop_build.py
    python examples/benchmarks/webshop_build.py --products 1180000 --folder big

Writes made-up files of the size and shape of the real ones (4.6 kB per product, a vocabulary of a million words by Zipf's law),
builds a catalogue from them with ``mise-gym webshop build``, kills that half-way with SIGKILL and runs it again, and measures in
new processes what opening and searching cost. Files and catalogue stay in ``--folder`` if one is given; files that are there are
used again.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webshop_server.engine.generator import generated_records

NUM_WORDS = 1_000_000
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
BUILD = "import sys; from mise_gym.cli import main; sys.exit(main())"
SEARCH = """
import json, random, sys, time
from pathlib import Path
import numpy
from webshop_server.engine.search import SearchIndex
queries = json.loads(sys.stdin.read())
before, worked = time.perf_counter(), time.process_time()
index = SearchIndex(Path(sys.argv[1]))
index.search(queries.pop(), 50)
opened, worked = 1000 * (time.perf_counter() - before), 1000 * (time.process_time() - worked)
times = []
for query in queries:
    before = time.process_time()
    index.search(query, 50)
    times.append(1000 * (time.process_time() - before))
times.sort()
at = lambda share: times[int(share * len(times))]
print(f"opened and searched once in {opened:.1f} ms, {worked:.1f} ms CPU")
print(f"searches: p50 {at(.5):.2f} ms, p99 {at(.99):.2f} ms, most {times[-1]:.2f} ms CPU")
"""
START = """
import sys, time
import gymnasium, mise_gym
before = time.process_time()
from mise_gym.envs.webshop import WebShopEnv
env = WebShopEnv(catalogue=sys.argv[1])
env.reset(seed=1)
seconds = time.process_time() - before
env.step("search[" + env.unwrapped._task.goal.partition(",")[0] + "]")
private = sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_Dirty"))
print(f"ready after {seconds:.3f} s CPU, import included; {private / 1024:.0f} MB are the process's own after a search")
"""


def main() -> None:
    """Write, build, open and search."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where files and catalogue are kept (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as workshop:
        folder = arguments.folder or Path(workshop)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "items_human_ins.json").exists():
            write_files(folder, arguments.products)
        size = sum((folder / name).stat().st_size for name in ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json"))
        print(f"files: {arguments.products:,} products, {size / 1e9:.2f} GB", flush=True)
        if not (folder / "catalogue").exists():
            build(folder)
        queries = list(some_queries(arguments.products))
        for _ in range(2):
            say("index", SEARCH, folder / "catalogue" / "index", json.dumps(queries))
        for _ in range(2):
            say("environment", START, folder / "catalogue")


def write_files(folder: Path, num_products: int) -> None:
    """Write the three files product by product."""
    words = vocabulary()
    with (
        (folder / "items_shuffle.json").open("w") as items,
        (folder / "items_ins_v2.json").open("w") as attributes,
        (folder / "making.json").open("w") as human,
    ):
        for number in range(num_products):
            record, extra, instructions = generated_records(number, 0)
            lengthen(record, words, random.Random(number))
            asin = json.dumps(record["asin"])
            comma = "," if number else ""
            items.write(f"{comma or '['}\n{json.dumps(record)}")
            attributes.write(f"{comma or '{'}\n{asin}: {json.dumps(extra)}")
            if number % 100 == 0:  # people wrote instructions for about one product in a hundred
                human.write(f"{comma or '{'}\n{asin}: {json.dumps(instructions)}")
        items.write("]")
        attributes.write("}")
        human.write("}")
    (folder / "making.json").rename(folder / "items_human_ins.json")


def vocabulary() -> list[str]:
    """Return made-up words, the frequent ones short."""
    words = []
    for number in range(NUM_WORDS):
        word = ""
        while number or not word:
            number, syllable = divmod(number, len(SYLLABLES))
            word += SYLLABLES[syllable]
        words.append(word)
    return words


def lengthen(record: dict[str, Any], words: list[str], rng: random.Random) -> None:
    """Give a record texts of realistic length, and the entries that nobody needs."""

    def text(length: int) -> str:
        return " ".join([words[int(NUM_WORDS ** rng.random()) - 1] for _ in range(length)])

    record["full_description"] += " " + text(rng.randint(20, 120))
    record["small_description"] = [f"{point} {text(15)}" for point in record["small_description"]]
    record["images"] = [f"https://images.example/{text(2)}/{number}.jpg" for number in range(6)]
    record["product_information"] = {text(2): text(5) for _ in range(20)}
    record["aplus_present"] = "x" * 800


def build(folder: Path) -> None:
    """Build, once interrupted by SIGKILL after a third of the products."""
    files = ["--items", "items_shuffle.json", "--attributes", "items_ins_v2.json", "--human", "items_human_ins.json"]
    command = [sys.executable, "-c", BUILD, "webshop", "build", *files, "--out", "catalogue"]
    first = subprocess.Popen(command, cwd=folder)
    until_products_are_read(folder, first)
    first.kill()
    report("killed", first)
    report("built", subprocess.Popen(command, cwd=folder))
    size = sum(path.stat().st_size for path in (folder / "catalogue").rglob("*") if path.is_file())
    index = sum(path.stat().st_size for path in (folder / "catalogue" / "index").iterdir())
    print(f"size: {size / 1e6:.0f} MB, of which {index / 1e6:.0f} MB are the index")


def until_products_are_read(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the database of the unfinished catalogue has some size."""
    database = folder / "catalogue.partial" / "catalogue.sqlite"
    enough = (folder / "items_shuffle.json").stat().st_size / 8
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if database.exists() and database.stat().st_size > enough:
            return
        time.sleep(0.05)


def report(what: str, process: subprocess.Popen[bytes]) -> None:
    """Wait for a process and print what it took."""
    before = time.perf_counter()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(
        f"{what}: exit status {process.returncode}, {time.perf_counter() - before:.0f} s, "
        f"{usage.ru_utime + usage.ru_stime:.0f} s CPU, peak {usage.ru_maxrss / 1024:.0f} MB",
        flush=True,
    )


def some_queries(num_products: int) -> Iterator[str]:
    """Yield queries of two to eight words out of instructions."""
    rng = random.Random(1)
    for _ in range(1001):
        words = str(generated_records(rng.randrange(num_products), 0)[2][0]["instruction"]).split()
        yield " ".join(rng.sample(words, min(rng.randint(2, 8), len(words))))


def say(what: str, code: str, path: Path, given: str = "") -> None:
    """Run code in a new process and print what it says."""
    done = subprocess.run([sys.executable, "-c", code, str(path)], input=given, capture_output=True, text=True, check=True)
    print(f"{what}: {done.stdout}", end="", flush=True)


if __name__ == "__main__":
    main()
