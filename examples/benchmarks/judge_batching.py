"""How much faster the episodes of a batch are judged together than one at a time, by a server that takes its time.

    python examples/benchmarks/judge_batching.py
    python examples/benchmarks/judge_batching.py --episodes 128 --latency 0.5 --concurrency 64

The server runs on this machine and waits before each answer. Both ways ask it in turns, and the medians of the rounds count.
"""

import argparse
import statistics
import time

from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.rehearsal import RehearsalServer
from mise_gym.types import Episode, Transition

TURNS = 20


def episode(number: int) -> Episode:
    """Return an episode of 20 turns."""
    turns = tuple(
        Transition(observation=f"Room {turn}.", action="go east", reward=0.0, next_observation=f"Room {turn + 1}.")
        for turn in range(TURNS)
    )
    task = f"Reach exit {number}."
    return Episode(task=task, transitions=turns, progress=1.0, success=True, terminated=True, truncated=False)


def seconds(judge: HttpJudge, batches: list[list[Episode]]) -> float:
    """Judge batch after batch, and return how long it took."""
    before = time.perf_counter()
    for batch in batches:
        assert all(result.scores is not None for result in judge.judge(batch))
    return time.perf_counter() - before


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds before each answer")
    parser.add_argument("--concurrency", type=int, default=64, help="requests at the same time")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    episodes = [episode(number) for number in range(arguments.episodes)]
    together, alone = [], []
    with RehearsalServer(latency_seconds=arguments.latency) as server:
        judge = HttpJudge("rehearsal", base_url=server.base_url, limits={"concurrency": arguments.concurrency})
        seconds(judge, [episodes[:1]])
        for _ in range(arguments.rounds):
            together.append(seconds(judge, [episodes]))
            alone.append(seconds(judge, [[each] for each in episodes]))
        judge.close()
    fast, slow = statistics.median(together), statistics.median(alone)
    print(f"{len(episodes)} episodes, {arguments.latency:g} s latency, {arguments.concurrency} requests at the same time")
    print(f"together {fast:.2f} s, one at a time {slow:.2f} s: {slow / fast:.1f} times as fast (at least 12 wanted)")


if __name__ == "__main__":
    main()
