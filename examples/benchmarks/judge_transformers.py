"""How fast the local judge is: one pass against one generation per turn, and remembering against reading again.

    python examples/benchmarks/judge_transformers.py
    python examples/benchmarks/judge_transformers.py --model FOLDER --device cuda --episodes 64

Without ``--model`` a tiny one with random weights is built. Both sides use the same weights, the same batches and the same
episodes; they take turns within a round, and the medians over rounds are compared. On a CPU the time is that of the processor,
so that a busy machine distorts it little.

* Finished episodes: mode "read" (every token once) against mode "write" (one generation per turn, of at most
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
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mise_gym.rewards import make_judge
from mise_gym.rewards.judges.prompts import __file__ as prompts_file
from mise_gym.rewards.judges.transformers import TransformersJudge
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.types import Episode, Transition

TEXT = "the red apple lies on a wooden table near an open door and you see a stove fridge knife lamp key chest"


def make_episodes(count: int, turns: int, words: int) -> list[Episode]:
    """Return finished episodes with observations of so many random words."""
    rng = np.random.default_rng(0)

    def text(length: int) -> str:
        return " ".join(rng.choice(TEXT.split(), size=length))

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
    prompts = [path.read_text(encoding="utf-8") for path in Path(prompts_file).parent.glob("*.txt")]
    turns = [f'{{"turn": 1, "action": "{t.action}", "observation": "{t.next_observation}"}}\n' for t in episodes[0].transitions]
    tokenizer = train_tokenizer([*prompts, *turns, " good", " bad"], 1024)
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


def seconds(action: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Return how long an action takes."""
    started = clock()
    action()
    return clock() - started


def gpu_clock() -> float:
    """Return the wall time at which the GPU is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def race(title: str, fast: Callable[[], Any], slow: Callable[[], Any], options: argparse.Namespace, device: str) -> float:
    """Time two actions in turns, after one round that is not counted; print and return the ratio of the medians."""
    fast()
    clock = gpu_clock if device.startswith("cuda") else time.process_time
    times = [(seconds(fast, clock), seconds(slow, clock)) for _ in range(options.rounds)]
    quick, tardy = (statistics.median(column) for column in zip(*times, strict=True))
    rates = f"{options.episodes / quick:.3g} against {options.episodes / tardy:.3g} episodes/s"
    print(f"{title}: {tardy / quick:.1f} times faster ({rates}, medians of {options.rounds} rounds)")
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
    tokens = reader.judge(episodes[:1])[0].tokens
    print(f"{options.episodes} episodes of {options.turns} turns, {tokens} tokens each in one pass, on {reader.device}.")
    one_pass = race(
        "One pass against one generation per turn",
        lambda: reader.judge(episodes),
        lambda: writer.judge(episodes),
        options,
        reader.device,
    )
    remembering = race(
        "Reading only the new turn against reading the prefix again",
        lambda: walk_through(reader, episodes, forget=False),
        lambda: walk_through(reader, episodes, forget=True),
        options,
        reader.device,
    )
    return one_pass, remembering


if __name__ == "__main__":
    main()
