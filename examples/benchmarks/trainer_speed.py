"""The trainer against the plain way to do it, on real cooking games with a tiny model, on the CPU.

    python examples/benchmarks/trainer_speed.py
    python examples/benchmarks/trainer_speed.py --turns 20 --episodes 32 --rounds 5

Plain is ``plain_trainer.py``: ``generate`` reads the prompt again in every turn, every turn is a sample of its own, logits at
all tokens, the same number of epochs and of steps. Both play as many episodes, and both update on the episodes that ours has
played. Ours also judges every turn in hindsight, and trains the judge; plain does neither. They take turns, and medians of the
rounds are compared.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from plain_trainer import PlainTrainer
from transformers.utils.logging import disable_progress_bar

from mise_gym.envs.games import make_games
from mise_gym.train.config import GamesConfig, TrainConfig
from mise_gym.train.demonstrations import demonstrate
from mise_gym.train.learning import Trainer
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.train.players import LocalPlayers
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig
from mise_gym.train.task_sets.textworld import GameRecorder
from mise_gym.train.text import corpus
from mise_gym.train.warm_start import WarmStartConfig
from mise_gym.trajectories import read_episodes

LEVEL = "recipe3+take3+go6+open+cook+cut+mixed"
PARTS = ("collect", "judge", "update")


def make_env(games: int, turns: int, *infos: str) -> Any:
    """Make an environment that lists admissible commands."""
    return gym.make(
        "mise/FTWP-v0",
        level=LEVEL,
        num_games={"train": games, "valid": games},
        max_turns=turns,
        infos=("admissible_commands", *infos),
    )


def make_policy(games: int) -> LLMPolicy:
    """Build a tiny model that knows the games' words, with random weights."""
    env = make_env(games, 50, "policy_commands")
    tasks = [{"split": "train", "game": game} for game in range(min(games, 8))]
    texts = corpus(demonstrate(GameRecorder, env, tasks, np.random.default_rng(0), max_mistake_rate=0.5))
    env.close()
    shape = TinyModelConfig(max_tokens=8192)
    tokenizer = train_tokenizer(texts, shape.vocab_size)
    torch.manual_seed(0)
    return LLMPolicy(build_tiny_model(tokenizer, shape, seed=0), tokenizer, max_observation_tokens=256)


def make_trainer(policy: LLMPolicy, turns: int, arguments: argparse.Namespace, folder: Path) -> Trainer:
    """Make the trainer as a run does."""
    config = TrainConfig(
        run_dir=folder,
        reward="mise",
        games=GamesConfig(level=LEVEL, train=arguments.games, heldout=1, max_turns=turns),
        warm_start=WarmStartConfig(expert_episodes=0, judge_episodes=0),
        checkpoint_every=1000,
        ppo=PPOConfig(
            iterations=1000,
            episodes_per_iteration=arguments.episodes,
            num_envs=arguments.episodes,
            num_epochs=arguments.epochs,
            learning_rate=1e-5,
            target_kl=1e9,
        ),
    )
    envs = [make_env(arguments.games, turns) for _ in range(arguments.episodes)]
    return Trainer(
        policy, copy.deepcopy(policy), LocalPlayers(envs, policy), config, folder, MetricsFile(folder / "metrics.jsonl"), seed=[0]
    )


def timed(function: Any, *inputs: Any) -> tuple[float, Any]:
    """Call a function and return its seconds and its result."""
    start = time.perf_counter()
    result = function(*inputs)
    return time.perf_counter() - start, result


def compare(policy: LLMPolicy, turns: int, arguments: argparse.Namespace) -> None:
    """Play and update both ways, turn about, and print the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        envs = [make_env(arguments.games, turns) for _ in range(arguments.episodes)]
        trainer = make_trainer(copy.deepcopy(policy), turns, arguments, folder)
        plain = PlainTrainer(policy.model, policy.text, num_epochs=arguments.epochs)
        ours, theirs = [], []
        for round_ in range(1, arguments.rounds + 1):
            next(trainer.iterate())
            episodes = list(read_episodes(folder / "episodes" / f"iteration-{round_:05d}.jsonl.gz"))
            ours.append(trainer.metrics.read()[-1])
            tasks = [{"split": "train", "game": game % arguments.games} for game in range(arguments.episodes)]
            theirs.append({"collect": timed(plain.play, envs, tasks)[0], "update": timed(plain.update, episodes)[0]})
        report(turns, ours, theirs)
        trainer.players.close()
        for env in envs:
            env.close()


def report(turns: int, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, float]]) -> None:
    """Print seconds and ratios, medians over the rounds."""
    seconds = {part: statistics.median(record[f"time/{part}_seconds"] for record in ours) for part in (*PARTS, "simulator")}
    plain = {part: statistics.median(each[part] for each in theirs) for part in ("collect", "update")}
    whole, plain_whole = sum(seconds[part] for part in PARTS), sum(plain.values())
    played = statistics.mean(record["rollout/turns_mean"] for record in ours)
    print(f"up to {turns} turns ({played:.1f} were played)")
    for part in ("collect", "update"):
        print(f"  {part:10}{seconds[part]:8.2f} s   plain{plain[part]:8.2f} s   ratio {plain[part] / seconds[part]:.1f}")
    print(f"  {'judge':10}{seconds['judge']:8.2f} s   plain    none")
    print(f"  {'iteration':10}{whole:8.2f} s   plain{plain_whole:8.2f} s   ratio {plain_whole / whole:.1f}")
    first = ours[0]["time/simulator_seconds"] / sum(ours[0][f"time/{part}_seconds"] for part in PARTS)
    share = f"{seconds['simulator'] / whole:.1%} of the iteration, {first:.1%} of the first, in which every game is new"
    print(f"  simulator {seconds['simulator']:8.2f} s, {share}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, nargs="+", default=[6, 20], help="lengths of episodes")
    parser.add_argument("--episodes", type=int, default=6, help="episodes of an iteration, all played at the same time")
    parser.add_argument("--games", type=int, default=6, help="games to play; made first if they are not there, 3 s each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the update")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    arguments = parser.parse_args()
    disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    make_games(LEVEL, "train", arguments.games, progress=False)
    policy = make_policy(arguments.games)
    for turns in arguments.turns:
        compare(policy, turns, arguments)


if __name__ == "__main__":
    main()
