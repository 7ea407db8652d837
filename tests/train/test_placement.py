"""Numbers, checkpointing and memory: what changes, and what must not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel

from mise_gym.errors import ConfigError
from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.train import policy as policy_module
from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.batch import to_batch, with_hindsight
from mise_gym.train.config import TrainConfig
from mise_gym.train.demonstrations import GOOD_TURNS
from mise_gym.train.model import build_tiny_model
from mise_gym.train.placement import ModelConfig, check_attention, find_device, place
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOLearner
from mise_gym.train.preparation import make_policy
from mise_gym.train.reading import read_logprobs
from mise_gym.train.reference import reference_of
from mise_gym.train.warm_start import WarmStartConfig, warm_start
from mise_gym.types import Episode
from tests.train.conftest import TINY, MakePolicy, play
from tests.train.test_ppo import ONLY_POLICY, pay_nothing

IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 10, 11, 12, 13]])


def policy_of(tokenizer: Any, **settings: Any) -> LLMPolicy:
    config = TrainConfig(model_config=ModelConfig(**settings), max_observation_tokens=48)
    return make_policy(build_tiny_model(tokenizer, TINY, seed=0), tokenizer, config)


def gradients(policy: LLMPolicy) -> dict[str, Tensor]:
    policy.zero_grad()
    policy.features(IDS).square().sum().backward()
    return {name: weights.grad.clone() for name, weights in policy.model.named_parameters() if weights.grad is not None}


class LargestTensor(TorchDispatchMode):
    """Watches every operation and remembers the largest tensor that one returned."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, Tensor):
                self.numel = max(self.numel, each.numel())
        return result


@pytest.fixture
def small_logits(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> Iterator[int]:
    monkeypatch.setattr(policy_module, "MAX_LOGITS", 2 * len(tokenizer))
    return 2 * len(tokenizer)


def labelled(episodes: list[Episode]) -> list[Episode]:
    return [
        Episode(
            task=e.task, transitions=e.transitions, progress=e.progress, success=e.success, terminated=e.terminated,
            truncated=e.truncated, extra={GOOD_TURNS: [turn % 2 for turn in range(len(e))]},
        )
        for e in episodes
    ]  # fmt: skip


def test_trained_weights_stay_in_float32_and_the_transformer_computes_in_bfloat16(tokenizer: Any) -> None:
    exact, mixed = policy_of(tokenizer), policy_of(tokenizer, dtype="bfloat16")

    assert {weights.dtype for weights in mixed.parameters()} == {torch.float32}
    difference = (mixed.features(IDS) - exact.features(IDS)).abs().max()
    assert 0 < difference < 0.1
    assert torch.equal(mixed.features(IDS), mixed.features(IDS))


def test_a_step_smaller_than_bfloat16_can_hold_is_not_lost(tokenizer: Any) -> None:
    policy = policy_of(tokenizer, dtype="bfloat16")
    weights = policy.model.model.norm.weight
    before = weights.detach().clone()
    weights.grad = torch.ones_like(weights)

    torch.optim.SGD(policy.trained_weights, lr=1e-4).step()

    assert torch.allclose(before - weights, torch.full_like(weights, 1e-4), atol=1e-6)
    assert torch.equal((before - 1e-4).bfloat16(), before.bfloat16())


def test_beliefs_and_logits_of_allowed_tokens_are_float32_whatever_the_features_are(tokenizer: Any, tmp_path: Path) -> None:
    config = TrainConfig(run_dir=tmp_path, model_config=ModelConfig(dtype="bfloat16"), lora=LoRAConfig(rank=2))
    policy = make_policy(build_tiny_model(tokenizer, TINY, seed=0), tokenizer, config)

    features = policy.features(IDS)[0]

    assert features.dtype == torch.bfloat16
    allowed = torch.tensor([[3, 4, -1]] * len(features))
    assert policy.allowed_logits(features, allowed).dtype == policy.score_logits(features).dtype == torch.float32
    exact = features.float() @ policy.model.lm_head.weight.float().T
    assert torch.allclose(policy.allowed_logits(features, allowed)[:, :2], exact[:, 3:5], atol=1e-6)


def test_logits_of_allowed_tokens_are_those_of_the_whole_vocabulary(policy: LLMPolicy) -> None:
    features = policy.features(IDS)[1]
    allowed = torch.tensor([[7, 3, -1], [3, 9, 300], [5, -1, -1], [7, 7, 2], [0, 1, 2]])

    logits = policy.allowed_logits(features, allowed)

    expected = policy.logits(features).gather(1, allowed.clamp(min=0)).masked_fill(allowed < 0, -torch.inf)
    assert torch.allclose(logits, expected, atol=1e-6)


def test_checkpointing_changes_no_gradient(tokenizer: Any) -> None:
    kept, again = gradients(policy_of(tokenizer)), gradients(policy_of(tokenizer, gradient_checkpointing=True))

    assert kept.keys() == again.keys()
    assert all(torch.allclose(kept[name], again[name], atol=1e-6) for name in kept)


def test_checkpointing_keeps_far_less_for_the_backward_pass(tokenizer: Any) -> None:
    def kept_bytes(policy: LLMPolicy) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            policy.features(IDS)
        return sum(sizes)

    assert kept_bytes(policy_of(tokenizer, gradient_checkpointing=True)) < 0.2 * kept_bytes(policy_of(tokenizer))


def test_a_policy_that_checkpoints_still_plays_with_its_cache(tokenizer: Any) -> None:
    plain, checkpointing = policy_of(tokenizer), policy_of(tokenizer, gradient_checkpointing=True)
    gradients(checkpointing)

    first, second = play(plain), play(checkpointing)

    assert [trace.ids for trace in first.traces] == [trace.ids for trace in second.traces]


def test_dropout_of_a_model_is_switched_off_also_while_it_learns(tokenizer: Any) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=256))
    policy = LLMPolicy(place(model, ModelConfig(gradient_checkpointing=True), is_trained=True), tokenizer)

    assert torch.equal(policy.features(IDS), policy.features(IDS))
    assert policy.model.training


def test_nothing_in_an_iteration_builds_the_logits_of_all_tokens(make_policy: MakePolicy) -> None:
    policy = make_policy(0)
    vocabulary = policy.model.config.vocab_size
    with LargestTensor() as largest:
        rollout = play(policy)
        SelfEvaluationJudge(policy).judge(rollout.episodes)
        PPOLearner(policy, reference_of(policy), ONLY_POLICY, judge="trained").update(
            rollout, pay_nothing(rollout), np.random.default_rng(0)
        )
    tokens = sum(len(policy.with_hindsight(episode)[0]) for episode in rollout.episodes)

    assert largest.numel < tokens * vocabulary / 4
    with LargestTensor() as largest:
        policy.model(input_ids=to_batch(policy, [with_hindsight(policy, rollout.episodes[0], rollout.traces[0])]).ids)
    assert largest.numel >= len(rollout.traces[0].ids) * vocabulary  # so the watch sees what it is looking for


def test_the_warm_start_holds_the_logits_of_a_few_tokens_at_a_time(make_policy: MakePolicy, small_logits: int) -> None:
    policy = make_policy(0)
    episodes = labelled(play(policy).episodes)

    with LargestTensor() as largest:
        warm_start(policy, episodes, WarmStartConfig(epochs=1), np.random.default_rng(0), lambda *_: None)

    tokens = sum(len(policy.with_hindsight(episode)[0]) for episode in episodes)
    assert small_logits < largest.numel < tokens * policy.model.config.vocab_size / 4


def test_losses_of_tokens_in_parts_are_those_of_one_whole(make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = make_policy(0), make_policy(0)
    losses = [whole.token_losses(whole.features(IDS)[0], IDS[1])]
    monkeypatch.setattr(policy_module, "MAX_LOGITS", 2 * whole.model.config.vocab_size)
    losses.append(parts.token_losses(parts.features(IDS)[0], IDS[1]))

    for loss in losses:
        loss.sum().backward()

    assert torch.allclose(losses[0], losses[1], atol=1e-6)
    assert torch.allclose(whole.model.lm_head.weight.grad, parts.model.lm_head.weight.grad, atol=1e-6)


def test_a_warm_start_in_many_passes_is_that_of_one(make_policy: MakePolicy) -> None:
    whole, passes = make_policy(0), make_policy(0)
    episodes = labelled(play(whole).episodes)
    config = WarmStartConfig(epochs=1, batch_episodes=4, learning_rate=1e-3)
    logs: list[list[dict[str, float]]] = [[], []]
    passes.max_tokens_per_pass = 1

    for one, log in zip((whole, passes), logs, strict=True):
        warm_start(one, episodes, config, np.random.default_rng(0), lambda _, __, losses, log=log: log.append(losses))

    assert all(second == pytest.approx(first, rel=1e-4) for first, second in zip(*logs, strict=True))
    theirs = passes.state_dict()
    assert all(torch.allclose(weights, theirs[name], atol=1e-5) for name, weights in whole.state_dict().items())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device is 'cuda:99', which cannot be used here: .*Give 'cpu' or 'auto'\."):
        find_device("cuda:99")


def test_attention_that_is_not_installed_is_refused_with_what_installs_it() -> None:
    with pytest.raises(ConfigError, match="pip install flash-attn"):
        check_attention("flash_attention_2")


def test_flash_attention_in_float32_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Set model_config\.dtype to 'bfloat16'"):
        ModelConfig(attention="flash_attention_2")


def test_reading_a_batch_is_the_same_with_every_attention(tokenizer: Any) -> None:
    models = [build_tiny_model(tokenizer, TINY, seed=0, attention=attention) for attention in ("sdpa", "eager")]
    policies = [LLMPolicy(model, tokenizer, 48) for model in models]
    rollout = play(policies[0])
    batches = [
        to_batch(policy, [with_hindsight(policy, *pair) for pair in zip(rollout.episodes, rollout.traces, strict=True)])
        for policy in policies
    ]

    first, second = (read_logprobs(policy, batch) for policy, batch in zip(policies, batches, strict=True))

    assert [policy.model.config._attn_implementation for policy in policies] == ["sdpa", "eager"]
    assert torch.allclose(first, second, atol=1e-5)
