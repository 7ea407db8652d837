"""How fast the local judge is: one pass against one generation per turn, and remembering against reading again.

    python examples/benchmarks/judge_transformers.py
    python examples/benchmarks/judge_transformers.py --model FOLDER --device cuda --episodes 64

Without ``--model`` a tiny one with random weights is built. Both sides use the same weights, the same batches and the same
episodes; they take turns within a round, and the medians over rounds are compared.

* Finished episodes: mode "read" (all turns from one forward pass) against mode "write" (one generation per turn, of at most
  ``--reply`` tokens, about the length of the line of JSON that is asked for).
* ``step`` delivery, turn by turn through whole episodes: only the new turn is read, against the whole prefix again every turn
  (with the one question that is needed).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mise_gym.rewards import make_judge
from mise_gym.rewards.judges.transformers import TransformersJudge
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.types import Episode, Transition

WORDS = [
    "the",
    "red",
    "apple",
    "lies",
    "on",
    "a",
    "wooden",
    "table",
    "near",
    "an",
    "open",
    "door",
    "and",
    "you",
    "see",
    "a",
    "stove",
    "fridge",
    "knife",
    "lamp",
    "key",
    "chest",
    "garden",
]


def make_episodes(count: int, turns: int, words: int) -> list[Episode]:
    """Return finished episodes with observations of so many random words."""
    rng = np.random.default_rng(0)

    def text(length: int) -> str:
        return " ".join(rng.choice(WORDS, size=length))

    def transition() -> Transition:
        return Transition(observation=text(words), action=text(4), reward=0.0, next_observation=text(words))

    return [
        Episode(
            task=text(12),
            transitions=tuple(transition() for _ in range(turns)),
            progress=float(number % 2),
            success=bool(number % 2),
            terminated=True,
            truncated=False,
        )
        for number in range(count)
    ]


def tiny_model(folder: str, episodes: Sequence[Episode]) -> str:
    """Write a tiny model with random weights and a tokenizer that knows the words."""
    lines = [
        f'{{"turn": 1, "action": "{turn.action}", "observation": "{turn.next_observation}"}}\n'
        for turn in episodes[0].transitions
    ]
    question = (
        ' Question: in turn 1 the agent did "": Did this action bring the agent closer? Answer: good bad\n{"end": {"progress":'
    )
    tokenizer = train_tokenizer([*lines, question * 20], 1024)
    build_tiny_model(tokenizer, TinyModelConfig(max_tokens=8192), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def running(episode: Episode, turns: int) -> Episode:
    """Return the first turns of an episode, while it runs."""
    return replace(episode, transitions=episode.transitions[:turns], terminated=False, progress=0.0, success=False)


def walk_through(judge: TransformersJudge, episodes: Sequence[Episode], *, forget: bool) -> None:
    """Judge every turn of all episodes as it happens; ``forget`` drops what was read, but not the earlier scores."""
    for turns in range(1, len(episodes[0]) + 1):
        if forget:
            for key, known in judge._running.items():
                judge._running[key] = replace(known, memory=None)
        judge.judge([running(episode, turns) for episode in episodes])
    judge._running.clear()


def seconds(action: Callable[[], Any]) -> float:
    """Return the wall time of an action."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def race(title: str, fast: Callable[[], Any], slow: Callable[[], Any], rounds: int, per_round: int) -> float:
    """Time two actions in turns, after one round that is not counted; print and return the ratio of the medians."""
    fast()
    times = [(seconds(fast), seconds(slow)) for _ in range(rounds)]
    quick, tardy = (statistics.median(column) for column in zip(*times, strict=True))
    rates = f"{per_round / quick:.1f} against {per_round / tardy:.1f} episodes/s"
    print(f"{title}: {tardy / quick:.1f} times faster ({rates}, medians of {rounds} rounds)")
    return tardy / quick


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Measure; return both ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model (default: a tiny one is built)")
    parser.add_argument("--device", help="where it runs (default: a GPU if there is one)")
    parser.add_argument("--dtype", default="float32", help="type of the weights (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=8, help="episodes judged together (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="turns of each (default: %(default)s)")
    parser.add_argument("--words", type=int, default=50, help="words of an observation (default: %(default)s)")
    parser.add_argument("--reply", type=int, default=16, help="longest written reply in tokens (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    episodes = make_episodes(options.episodes, options.turns, options.words)
    with tempfile.TemporaryDirectory() as folder:
        shared = {"model": options.model or tiny_model(folder, episodes), "device": options.device, "dtype": options.dtype}
        reader: Any = make_judge("transformers", {**shared})
        writer = make_judge("transformers", {**shared, "mode": "write", "max_new_tokens": options.reply})
    print(
        f"{options.episodes} episodes of {options.turns} turns, {reader.judge(episodes[:1])[0].tokens} tokens each in one pass."
    )
    one_pass = race(
        "One pass against one generation per turn",
        lambda: reader.judge(episodes),
        lambda: writer.judge(episodes),
        options.rounds,
        options.episodes,
    )
    remembering = race(
        "Reading only the new turn against reading the prefix again",
        lambda: walk_through(reader, episodes, forget=False),
        lambda: walk_through(reader, episodes, forget=True),
        options.rounds,
        options.episodes,
    )
    return one_pass, remembering


if __name__ == "__main__":
    main()
