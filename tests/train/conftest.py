"""A language model small enough to be built for every test, and what it does in a small world."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mise_gym.train.critic import CriticKind
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout, collect, draw_seeds
from mise_gym.train.text import BAD, GOOD
from tests.train.pantry import THINGS, Pantry

MakePolicy = Callable[..., LLMPolicy]
TINY = TinyModelConfig(hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, vocab_size=320, max_tokens=768)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # the first optimiser of a process loads torch's compiler, which takes seconds
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    words = [f" take {thing}\n" for thing in THINGS] + [" read label\n", " unlock pantry\n", " The label is long.", " Take the"]
    return train_tokenizer([*words, GOOD, BAD, " :", "\n>", "\nHindsight:\n"] * 4, TINY.vocab_size)


@pytest.fixture(scope="session")
def make_policy(tokenizer: Any) -> MakePolicy:
    def make(seed: int, critic: CriticKind = "detached") -> LLMPolicy:
        model = build_tiny_model(tokenizer, TINY, seed)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for weights in model.parameters():
                if weights.ndim == 2:
                    weights.normal_(std=0.1)  # decided enough to tell right from wrong by, undecided enough to try everything
            return LLMPolicy(model, tokenizer, max_observation_tokens=48, critic=critic)

    return make


@pytest.fixture
def policy(make_policy: MakePolicy) -> LLMPolicy:
    return make_policy(0)


def play(policy: LLMPolicy, games: int = 8, *, num_envs: int = 4, seed: int = 0, temperature: float = 1.0) -> Rollout:
    envs = [Pantry() for _ in range(num_envs)]
    seeds = draw_seeds(np.random.default_rng(seed), games)
    return collect(envs, [{"game": game} for game in range(games)], policy, seeds, temperature=temperature)


@pytest.fixture
def rollout(policy: LLMPolicy) -> Rollout:
    return play(policy)
