"""The trainer on one GPU: against the plain way, how much of the GPU's arithmetic an update uses, and the peak of memory.

    python examples/benchmarks/trainer_gpu.py                                   # Qwen2.5-0.5B and 7B in shape; one GPU of 80 GB
    python examples/benchmarks/trainer_gpu.py --shape tiny --device cpu --fast  # the same code, in a minute

Weights are random and nothing is downloaded: actions are limited to admissible commands, so the games played are real cooking
games. The tokenizer is made here, and the vocabulary padded to the size of the real one.

Plain is ``plain_trainer.py``, in bfloat16 throughout: ``generate`` reads the prompt again in every turn, every turn is a sample
of its own, logits at all tokens, a second copy of the model as reference. It is run for the shapes that are trained whole (tiny
and 0.5b); 7b is trained through an adapter of rank 16, alone. Both sides play the same games and update on the same episodes.

FLOPs of an update, for T tokens without padding in episodes of lengths S, P weights in the layers' matrices, L layers of width D:
the policy and the reference are read once before the epochs, each 2 P T + 2 L D sum(S^2); an epoch is such a forward pass and a
backward pass, which is as much again for the activations and, in the first term, as much again for the weights where they are
trained. What gradient checkpointing computes twice is counted once. MFU is that over the seconds of the update and
``--peak-tflops``.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_trainer import PlainTrainer
from torch import nn
from trainer_speed import LEVEL, PARTS, make_env
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config
from transformers.utils.logging import disable_progress_bar

from mise_gym.envs.games import make_games
from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.config import GamesConfig, TrainConfig
from mise_gym.train.demonstrations import demonstrate
from mise_gym.train.learning import Trainer
from mise_gym.train.memory import estimate_memory, find_shape
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.model import train_tokenizer
from mise_gym.train.placement import ModelConfig, find_device
from mise_gym.train.players import LocalPlayers
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig
from mise_gym.train.preparation import add_adapter, make_policy
from mise_gym.train.reference import reference_of
from mise_gym.train.task_sets.textworld import GameRecorder
from mise_gym.train.text import EpisodeText, corpus
from mise_gym.train.warm_start import WarmStartConfig
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode


@dataclass(frozen=True)
class ShapeOfModel:
    """A model's sizes, how it is trained, and whether the plain way is run beside it."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    tied: bool = True
    rank: int = 0
    checkpointing: bool = False
    tokens_per_pass: int = 16_384


SHAPES = {
    "tiny": ShapeOfModel(2048, 64, 128, 2, 4, 2, tokens_per_pass=4096),
    "0.5b": ShapeOfModel(151_936, 896, 4864, 24, 14, 2),
    "7b": ShapeOfModel(152_064, 3584, 18_944, 28, 28, 4, tied=False, rank=16, checkpointing=True, tokens_per_pass=8192),
}


def settings_of(shape: ShapeOfModel, arguments: argparse.Namespace, folder: Path) -> TrainConfig:
    """Return the settings of a run with this shape, whose configuration is written into ``folder``."""
    Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=32_768,
    ).save_pretrained(folder / "shape")
    return TrainConfig(
        run_dir=folder,
        model=str(folder / "shape"),
        model_config=ModelConfig(
            device=arguments.device,
            dtype="bfloat16",
            gradient_checkpointing=shape.checkpointing,
            max_tokens_per_pass=shape.tokens_per_pass,
        ),
        lora=LoRAConfig(rank=shape.rank),
        games=GamesConfig(level=LEVEL, train=arguments.games, heldout=1, max_turns=arguments.turns),
        warm_start=WarmStartConfig(expert_episodes=0, judge_episodes=0),
        checkpoint_every=1000,
        ppo=PPOConfig(
            iterations=1000,
            episodes_per_iteration=arguments.episodes,
            num_envs=arguments.episodes,
            num_epochs=arguments.epochs,
            learning_rate=1e-6,
            target_kl=1e9,
        ),
    )


def build(config: TrainConfig, tokenizer: Any, folder: Path) -> LLMPolicy:
    """Build the policy of a run, with random weights, where it will run."""
    settings = AutoConfig.from_pretrained(config.model)
    dtype = getattr(torch, config.model_config.stored_dtype(is_trained=not config.lora.is_used))
    torch.manual_seed(0)
    with find_device(config.model_config.device):
        model = AutoModelForCausalLM.from_config(settings, dtype=dtype)
    policy = make_policy(model, tokenizer, config)
    add_adapter(policy, config, folder)
    return policy


def make_tokenizer(arguments: argparse.Namespace) -> Any:
    """Train a tokenizer on what the games say."""
    env = make_env(arguments.games, 50, "policy_commands")
    tasks = [{"split": "train", "game": game} for game in range(min(arguments.games, 8))]
    texts = corpus(demonstrate(GameRecorder, env, tasks, np.random.default_rng(0), max_mistake_rate=0.5))
    env.close()
    return train_tokenizer(texts, 1024)


def flops_of_update(policy: LLMPolicy, episodes: Sequence[Episode], epochs: int) -> float:
    """Return the FLOPs of an update by the formula at the top of this file."""
    lengths = np.array([len(policy.with_hindsight(episode)[0]) for episode in episodes], dtype=float)
    matrices = [module.weight for module in policy.model.base_model.modules() if isinstance(module, nn.Linear)]
    settings = policy.model.config
    forward = 2 * sum(weights.numel() for weights in matrices) * lengths.sum()
    attention = 2 * settings.num_hidden_layers * settings.hidden_size * (lengths**2).sum()
    backward = forward * (1 if policy.adapter else 2) + 2 * attention
    return float(2 * (forward + attention) + epochs * (forward + attention + backward))


def seconds_of(action: Any, device: torch.device) -> float:
    """Return how long an action takes, with what it leaves to the GPU."""
    start = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def measure(name: str, tokenizer: Any, arguments: argparse.Namespace) -> None:
    """Do iterations with one shape, both ways where the shape allows, and print what they took."""
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        config = settings_of(shape, arguments, folder)
        policy = build(config, tokenizer, folder)
        device = policy.device
        plain_model = None if shape.rank else copy.deepcopy(policy.model).bfloat16()
        envs = [make_env(arguments.games, arguments.turns) for _ in range(arguments.episodes)]
        players, metrics = LocalPlayers(envs, policy), MetricsFile(folder / "metrics.jsonl")
        trainer = Trainer(policy, reference_of(policy), players, config, folder, metrics, seed=[0])
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for _ in range(arguments.rounds):
            seconds_of(lambda: next(trainer.iterate()), device)
        record = trainer.metrics.read()[-1]  # the last one: the first warms up
        episodes = list(read_episodes(folder / "episodes" / f"iteration-{arguments.rounds:05d}.jsonl.gz"))
        flops = flops_of_update(policy, episodes, arguments.epochs)
        report(name, record, flops, device, arguments)
        report_memory(config, device)
        if plain_model is not None:
            del trainer, policy, players
            compare(plain_model, tokenizer, episodes, envs, record, arguments)
        for env in envs:
            env.close()


def report(name: str, record: dict[str, Any], flops: float, device: torch.device, arguments: argparse.Namespace) -> None:
    """Print the seconds and the use of the GPU."""
    seconds = {part: record[f"time/{part}_seconds"] for part in PARTS}
    rate = flops / seconds["update"] / 1e12
    played = f"{record['rollout/turns_mean']:.1f} were played"
    print(f"{name} on {device}: {arguments.episodes} episodes of up to {arguments.turns} turns ({played})")
    print("  " + ", ".join(f"{part} {value:.2f} s" for part, value in seconds.items()))
    print(f"  {arguments.episodes / sum(seconds.values()) * 3600:.0f} episodes/hour")
    mfu = f"MFU {rate / arguments.peak_tflops:.1%} of {arguments.peak_tflops:g}"
    print(f"  update: {flops / 1e12:.3g} TFLOP, {rate:.3g} TFLOP/s, {mfu}")


def report_memory(config: TrainConfig, device: torch.device) -> None:
    """Print the peak of memory beside the estimate."""
    estimated = estimate_memory(find_shape(config), config).peak / 1e9
    is_measured = device.type == "cuda"
    peak = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if is_measured else "not measured on this device"
    print(f"  peak of memory: {peak}; estimated at most {estimated:.1f} GB", flush=True)


def compare(
    model: Any, tokenizer: Any, episodes: Sequence[Episode], envs: Any, record: dict[str, Any], arguments: argparse.Namespace
) -> None:
    """Play and update the plain way, and print the ratios."""
    text = EpisodeText(tokenizer, 256)
    plain = PlainTrainer(model, text, num_epochs=arguments.epochs, max_tokens_per_pass=arguments.plain_tokens)
    tasks = [{"split": "train", "game": game % arguments.games} for game in range(arguments.episodes)]
    play = seconds_of(lambda: plain.play(envs, tasks), plain.device)
    update = seconds_of(lambda: plain.update(episodes), plain.device)
    whole = sum(record[f"time/{part}_seconds"] for part in PARTS)
    ratios = play / record["time/collect_seconds"], update / record["time/update_seconds"], (play + update) / whole
    print(f"  plain: play {play:.2f} s, update {update:.2f} s, {arguments.episodes / (play + update) * 3600:.0f} episodes/hour")
    print("  ratios: play {:.1f}, update {:.1f}, episodes/hour {:.1f}".format(*ratios), flush=True)


def main(words: Sequence[str] | None = None) -> None:
    """Measure every shape that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), default=["0.5b", "7b"], help="models (default: 0.5b 7b)")
    parser.add_argument("--device", default="auto", help="where (default: the GPU, if there is one)")
    parser.add_argument("--episodes", type=int, default=64, help="of an iteration, all played at the same time (default: 64)")
    parser.add_argument("--turns", type=int, default=20, help="longest episode (default: 20)")
    parser.add_argument("--games", type=int, default=16, help="games to play; made first if they are not there, 3 s each")
    parser.add_argument("--rounds", type=int, default=2, help="iterations; the last one counts (default: 2)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the update (default: 1)")
    parser.add_argument("--plain-tokens", type=int, default=8192, help="tokens per pass of the plain way (default: 8192)")
    parser.add_argument(
        "--peak-tflops", type=float, default=989.0, help="of the device in bfloat16 (default: 989, an H100 or H200)"
    )
    parser.add_argument("--fast", action="store_true", help="two short episodes, one round: whether it runs at all")
    arguments = parser.parse_args(words)
    if arguments.fast:
        arguments.episodes, arguments.turns, arguments.games, arguments.rounds = 2, 3, 2, 1
    disable_progress_bar()
    for split in ("train", "valid"):
        make_games(LEVEL, split, arguments.games, progress=False)
    tokenizer = make_tokenizer(arguments)
    for name in arguments.shape:
        measure(name, tokenizer, arguments)


if __name__ == "__main__":
    main()
