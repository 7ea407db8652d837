"""A real HTTP server with a tiny model in it writes the actions."""

import copy
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mise_gym.errors import ConfigError
from mise_gym.train.adapter import Adapter, LoRAConfig
from mise_gym.train.forms import Forms
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout, collect, draw_seeds
from mise_gym.train.server import Server, ServerConfig
from mise_gym.train.writers import LocalWriters, ServerWriters
from tests.train.generation_server import GenerationServer
from tests.train.pantry import OpenPantry
from tests.train.speller import make_speller
from tests.train.test_writing import learner_logprobs

FREE = Forms("free", max_action_tokens=8)


@pytest.fixture(scope="module")
def speller(tokenizer: Any) -> LLMPolicy:
    return make_speller(tokenizer, thinking=True)


@pytest.fixture
def policy(speller: LLMPolicy) -> LLMPolicy:
    return copy.deepcopy(speller)


@pytest.fixture
def server(policy: LLMPolicy) -> Iterator[GenerationServer]:
    with GenerationServer(copy.deepcopy(policy)) as server:
        yield server


def writers(server: GenerationServer, folder: Path, forms: Forms = FREE, **settings: Any) -> ServerWriters:
    return ServerWriters(forms, Server(server.url, ServerConfig(**settings), folder / "adapters"))


def with_adapter(policy: LLMPolicy) -> LLMPolicy:
    policy.adapter = Adapter(policy.model, LoRAConfig(rank=2), seed=0)
    return policy


def change(policy: LLMPolicy) -> None:
    with torch.no_grad():
        for name, weights in policy.model.named_parameters():
            if "lora_B" in name:
                weights += 0.3


def play(policy: LLMPolicy, made: ServerWriters, *, seed: int = 0, temperature: float = 1.0) -> Rollout:
    envs = [OpenPantry(max_turns=2, lists_commands=False) for _ in range(3)]
    seeds = draw_seeds(np.random.default_rng(seed), 3)
    return collect(envs, [{"game": game} for game in range(3)], policy, seeds, temperature=temperature, begin=made.begin)


@pytest.mark.parametrize("thinking", [False, True])
def test_the_servers_logprobs_are_those_of_the_learner_with_the_same_weights(
    policy: LLMPolicy, server: GenerationServer, tmp_path: Path, thinking: bool
) -> None:
    with closing(writers(server, tmp_path, Forms("free", thinking=thinking, max_action_tokens=14))) as made:
        rollout = play(policy, made)

    now, then = learner_logprobs(policy, rollout)
    assert len(then) > 10
    assert torch.allclose(now, then, atol=1e-4)


def test_server_and_process_write_the_same_when_greedy(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    forms = Forms("free", thinking=True, max_action_tokens=14)
    with closing(writers(server, tmp_path, forms)) as made:
        there = play(policy, made, temperature=0.0)
    envs, tasks = [OpenPantry(max_turns=2) for _ in range(3)], [{"game": game} for game in range(3)]

    here = collect(envs, tasks, policy, [0] * 3, temperature=0.0, begin=LocalWriters(forms).begin)

    assert [trace.ids for trace in there.traces] == [trace.ids for trace in here.traces]


def test_prompts_are_sent_as_the_tokens_of_the_episode_and_nothing_truncates_the_distribution(
    policy: LLMPolicy, server: GenerationServer, tmp_path: Path
) -> None:
    with closing(writers(server, tmp_path)) as made:
        rollout = play(policy, made)

    path, first = server.requests[0]
    assert path == "/v1/completions"
    assert first["prompt"] in [trace.ids[: len(first["prompt"])] for trace in rollout.traces]
    assert {name: first[name] for name in ("top_p", "top_k", "min_p", "repetition_penalty", "temperature")} == {
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
    }


def test_the_seed_decides_what_is_sampled(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    with closing(writers(server, tmp_path)) as made:
        first, again, other = (play(policy, made, seed=seed) for seed in (1, 1, 2))

    assert first.traces == again.traces
    assert first.traces != other.traces


def test_a_server_that_stumbles_is_asked_again(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    with closing(writers(server, tmp_path)) as made:
        expected = play(policy, made)
        server.faults = [503, 429, 500]

        assert play(policy, made).traces == expected.traces
    assert not server.faults


def test_the_adapter_that_was_sent_plays(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    with_adapter(server.policy)
    change(with_adapter(policy))
    with closing(writers(server, tmp_path)) as made:
        made.sync(policy, 0)
        rollout = play(policy, made)
        (name,) = server.adapters
        assert {body["model"] for path, body in server.requests if path == "/v1/completions"} == {name}

    assert torch.allclose(*learner_logprobs(policy, rollout), atol=1e-4)


def test_without_a_new_adapter_the_server_plays_with_old_weights_and_says_so_in_the_ratio(
    policy: LLMPolicy, server: GenerationServer, tmp_path: Path
) -> None:
    with_adapter(server.policy)
    with_adapter(policy)
    with closing(writers(server, tmp_path, sync_every=2)) as made:
        made.sync(policy, 0)
        change(policy)
        made.sync(policy, 1)
        stale, old = learner_logprobs(policy, play(policy, made))
        made.sync(policy, 2)
        fresh, new = learner_logprobs(policy, play(policy, made))

    assert (stale - old).abs().max() > 0.1
    assert torch.allclose(fresh, new, atol=1e-4)


def test_old_adapters_are_forgotten_on_the_server_and_on_the_disk(
    policy: LLMPolicy, server: GenerationServer, tmp_path: Path
) -> None:
    with_adapter(server.policy)
    with closing(writers(server, tmp_path)) as made:
        for iteration in range(3):
            made.sync(with_adapter(policy) if iteration == 0 else policy, iteration)
        assert [path.name for path in (tmp_path / "adapters").iterdir()] == server.adapters

    assert server.adapters == []
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_server_that_has_gone_does_not_keep_a_run_from_ending(
    policy: LLMPolicy, server: GenerationServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_adapter(server.policy)
    made = writers(server, tmp_path)
    made.sync(with_adapter(policy), 0)
    server.faults = [404]

    made.close()

    assert f"The server keeps the adapter {server.adapters[0]}" in caplog.text


def test_a_whole_model_cannot_be_sent(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    with closing(writers(server, tmp_path)) as made, pytest.raises(ConfigError, match=r"--lora.rank 16.*--server.sync-every 0"):
        made.sync(policy, 0)


def test_weights_are_left_alone_when_syncing_is_off(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    with closing(writers(server, tmp_path, sync_every=0)) as made:
        made.sync(policy, 0)

    assert server.requests == []


def test_an_unknown_model_is_answered_with_what_to_serve(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    with (
        closing(writers(server, tmp_path, model="other")) as made,
        pytest.raises(ConfigError, match=r"(?s)404.*other.*folder 'warm_start' of the run, as 'other'"),
    ):
        play(policy, made)


def test_a_server_that_keeps_its_token_ids_is_refused(policy: LLMPolicy, server: GenerationServer, tmp_path: Path) -> None:
    server.has_token_ids = False

    with closing(writers(server, tmp_path)) as made, pytest.raises(ConfigError, match=r"return_token_ids.*vLLM tells them since"):
        play(policy, made)
