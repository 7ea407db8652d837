"""The demo's figures: the same run with several seeds and rewards, as a table with confidence intervals.

Each run is a folder below --out and goes on where it stopped, so the script can be interrupted. Runs of one seed differ only in
the reward. Intervals are Student's t over seeds, 95 %.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DEMO = Path(__file__).parents[1] / "train_llm_ppo.py"
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Degrees of freedom -> 97.5 % quantile of Student's t."""
COLUMNS = {
    "success before": lambda s: 100 * s["heldout_success_before"],
    "success after": lambda s: 100 * s["heldout_success_after"],
    "gain (points)": lambda s: 100 * (s["heldout_success_after"] - s["heldout_success_before"]),
    "over-confidence before": lambda s: s["overconfidence_before"],
    "over-confidence after": lambda s: s["overconfidence_after"],
    "AUROC before": lambda s: s["auroc_before"],
    "AUROC after": lambda s: s["auroc_after"],
    "turn AUROC after": lambda s: s["details"]["after"]["sampled"]["turn_auroc"],
    "minutes": lambda s: s["seconds"] / 60,
    "peak memory (MB)": lambda s: s["peak_memory_mb"],
}


def interval(values: list[float | None]) -> str:
    """Return mean and half width of the 95 % interval of the values that are defined."""
    known = [value for value in values if value is not None]
    if not known:
        return "n/a"
    digits = 2 if max(abs(value) for value in known) < 2 else 1
    if len(known) == 1:
        return f"{known[0]:.{digits}f}"
    half = T_95[len(known) - 1] * statistics.stdev(known) / math.sqrt(len(known))
    return f"{statistics.mean(known):.{digits}f} ± {half:.{digits}f}"


def run(folder: Path, reward: str, seed: int, more: list[str]) -> dict:
    """Do one run in a process of its own, unless it is done, and return its summary."""
    command = [sys.executable, str(DEMO), "--quiet", "--run-dir", str(folder), "--reward", reward, "--seed", str(seed), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default: 0 1 2)")
    parser.add_argument(
        "--rewards", nargs="+", default=["mise", "mise-nocal"], help="values of --reward (default: mise mise-nocal)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo_seeds"), help="folder of the runs (default: runs/demo_seeds)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    arguments, more = parser.parse_known_args()
    jobs = [(reward, seed) for seed in arguments.seeds for reward in arguments.rewards]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        summaries = dict(
            zip(jobs, pool.map(lambda job: run(arguments.out / f"{job[0]}-{job[1]}", *job, more), jobs), strict=True)
        )
    print("| | " + " | ".join(arguments.rewards) + " |\n|---|" + "---|" * len(arguments.rewards))
    for name, pick in COLUMNS.items():
        cells = [interval([pick(summaries[reward, seed]) for seed in arguments.seeds]) for reward in arguments.rewards]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
