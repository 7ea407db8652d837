"""A tiny policy that has half learnt to write the pantry's commands: it gets some right, garbles others and forgets to stop."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mise_gym.train.demonstrations import GOOD_TURNS
from mise_gym.train.forms import Forms
from mise_gym.train.model import build_tiny_model
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import LiveRecorder, Rollout, collect, draw_seeds
from mise_gym.train.warm_start import WarmStartConfig, warm_start
from mise_gym.train.writers import LocalWriters
from mise_gym.types import Episode
from tests.train.conftest import TINY
from tests.train.pantry import OpenPantry

Speller = Callable[[bool], LLMPolicy]
"""Returns a policy that thinks, or one that does not."""


def make_speller(tokenizer: Any, *, thinking: bool) -> LLMPolicy:
    policy = LLMPolicy(build_tiny_model(tokenizer, TINY, seed=0), tokenizer, max_observation_tokens=48, thinking=thinking)
    rng = np.random.default_rng(0)
    config = WarmStartConfig(epochs=16, learning_rate=2e-2)
    warm_start(policy, [demonstration(game, rng) for game in range(24)], config, rng, lambda *_: None)
    return policy


def demonstration(game: int, rng: np.random.Generator) -> Episode:
    recorder = LiveRecorder(OpenPantry(), {"game": game})
    while not recorder.is_done:
        recorder.step(str(rng.choice(recorder.commands)))
    episode = recorder.episode()
    return replace(episode, extra={GOOD_TURNS: [1] * len(episode)})


def play_by(forms: Forms, policy: LLMPolicy, games: int = 8, *, num_envs: int = 8, temperature: float = 1.0) -> Rollout:
    envs = [OpenPantry(lists_commands=forms.decoding == "constrained") for _ in range(num_envs)]
    seeds = draw_seeds(np.random.default_rng(0), games)
    tasks = [{"game": game, "max_turns": 2 + game % 3} for game in range(games)]
    return collect(envs, tasks, policy, seeds, temperature=temperature, begin=LocalWriters(forms).begin)
