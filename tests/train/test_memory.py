"""The estimate of memory against tensors that are really there."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from mise_gym.cli import main
from mise_gym.train import memory as memory_module
from mise_gym.train import policy as policy_module
from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.batch import Batch
from mise_gym.train.choices import pack_allowed, sample
from mise_gym.train.config import GamesConfig, TrainConfig
from mise_gym.train.memory import (
    ACTION_TOKENS,
    MemoryEstimate,
    activation_bytes,
    anchor_bytes,
    cache_bytes,
    estimate_memory,
    find_shape,
    logit_bytes,
    sampling_bytes,
    shape_of,
)
from mise_gym.train.model import TinyModelConfig
from mise_gym.train.placement import ModelConfig
from mise_gym.train.policy import LLMPolicy, Places
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.preparation import add_adapter, make_policy
from mise_gym.train.reading import read, read_anchor
from mise_gym.train.reference import reference_of
from tests.train.conftest import play
from tests.train.test_ppo import ONLY_POLICY, pay_nothing

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
QWEN_7B = Qwen2Config(
    vocab_size=152_064,
    hidden_size=3584,
    intermediate_size=18_944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    tie_word_embeddings=False,
    max_position_embeddings=32_768,
)
RANKS = [0, 8]
GB = 1e9


def settings(rank: int = 0, **model: Any) -> TrainConfig:
    return TrainConfig(lora=LoRAConfig(rank=rank), model_config=ModelConfig(**model), max_observation_tokens=48)


def build(kind: str, vocab_size: int) -> Any:
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, tie_word_embeddings=True, **SIZES))
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocab_size, tie_word_embeddings=False, **SIZES))


def policy_of(model: Any, tokenizer: Any, config: TrainConfig, folder: Path) -> LLMPolicy:
    policy = make_policy(model, tokenizer, config)
    add_adapter(policy, config, folder)
    return policy


def nbytes(*tensors: Any) -> int:
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def kept_bytes(policy: LLMPolicy, tokens: int) -> int:
    """Return what a forward pass keeps for the backward pass, weights apart."""
    weights = {each.untyped_storage().data_ptr() for each in policy.parameters()}
    kept: dict[int, int] = {}
    alive: list[Any] = []

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        policy.features(torch.randint(0, 50, (2, tokens // 2)))
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_gradients_and_optimiser_are_counted_exactly(
    tokenizer: Any, tmp_path: Path, kind: str, rank: int, dtype: Any
) -> None:
    config = settings(rank, dtype=dtype)
    model = build(kind, len(tokenizer))
    estimate = estimate_memory(shape_of(model, config), config)
    policy = policy_of(model, tokenizer, config, tmp_path)
    rollout = play(policy, games=2)
    learner = PPOLearner(policy, reference_of(policy), replace(ONLY_POLICY, vf_coef=1.0), judge="trained")

    learner.update(rollout, pay_nothing(rollout), np.random.default_rng(0))

    gradients = [weights.grad for weights in policy.parameters() if weights.grad is not None]
    moments = [state[name] for state in learner.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert estimate.always["weights"] == nbytes(*policy.parameters())
    assert estimate.always["gradients"] == nbytes(*gradients)
    assert estimate.always["optimiser (AdamW)"] == nbytes(*moments)
    extra = [] if rank else list(learner.reference.parameters())  # type: ignore[attr-defined]  # a frozen copy has some
    assert estimate.always["reference"] == nbytes(*extra)


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_estimated_within_a_fifth(
    tokenizer: Any, tmp_path: Path, kind: str, rank: int, dtype: Any, checkpointing: bool
) -> None:
    config = settings(rank, dtype=dtype, gradient_checkpointing=checkpointing, max_tokens_per_pass=1024)
    model = build(kind, len(tokenizer))
    shape = shape_of(model, config)
    policy = policy_of(model, tokenizer, config, tmp_path)

    kept = kept_bytes(policy, 1024)

    if checkpointing:  # one block is computed again at a time; it is the difference between two depths without checkpointing
        plain = settings(rank, dtype=dtype, max_tokens_per_pass=1024)
        kept += activation_bytes(replace(shape, num_layers=1), plain)
    assert activation_bytes(shape, config) == pytest.approx(kept, rel=0.2)


def test_the_cache_is_counted_exactly(tokenizer: Any, tmp_path: Path) -> None:
    config = TrainConfig(
        max_observation_tokens=20, games=GamesConfig(max_turns=3), ppo=PPOConfig(num_envs=4), lora=LoRAConfig(rank=2)
    )
    model = build("qwen", len(tokenizer))
    shape = shape_of(model, config)
    policy = policy_of(model, tokenizer, config, tmp_path)

    keys_and_values = read_tokens(policy, rows=4, tokens=3 * (20 + 16))

    assert cache_bytes(shape, config) == nbytes(*keys_and_values)


@torch.no_grad()
def read_tokens(policy: LLMPolicy, rows: int, tokens: int) -> list[Any]:
    """Return the cache after so many tokens in every row."""
    from transformers import DynamicCache

    cache = DynamicCache()
    policy.trunk(input_ids=torch.full((rows, tokens), 5), past_key_values=cache, use_cache=True)
    return [part for layer in cache.layers for part in (layer.keys, layer.values)]


class LiveBytes(TorchDispatchMode):
    """Watches every operation and remembers the most bytes that its results had at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor) and (storage := each.untyped_storage())._cdata not in self._alive:
                self._alive[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self._alive.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self._alive.values()))
        return result


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_of_free_decisions_are_estimated_within_a_fifth(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any
) -> None:
    vocabulary, decisions, at_once = 20_000, 100, 20
    for module in (policy_module, memory_module):
        monkeypatch.setattr(module, "MAX_LOGITS", at_once * vocabulary)
    config = replace(settings(8, dtype=dtype), decoding="free")
    sizes = SIZES | {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes))
    policy = policy_of(model, tokenizer, config, tmp_path)
    batch = free_batch(decisions)
    anchor = read_anchor(reference_of(policy), batch)

    with LiveBytes() as live:
        reading = read(policy, batch, anchor, "exact")
        (reading.logprobs.sum() + reading.entropies.sum() + reading.reference_kls.sum()).backward()

    assert logit_bytes(shape_of(model, config), config) == pytest.approx(live.peak, rel=0.2)


def free_batch(decisions: int) -> Batch:
    """One row of tokens, each of which was chosen among all."""
    return Batch(
        ids=torch.randint(0, 50, (1, decisions + 1)),
        decisions=Places.of([range(decisions)]),
        allowed=pack_allowed([None] * decisions),
        choices=torch.zeros(decisions, dtype=torch.long),
        old_logprobs=torch.zeros(decisions),
        decision_steps=torch.zeros(decisions, dtype=torch.long),
        states=Places.of([[0]]),
        slots=Places.of([[0]]),
        attempts=Places.of([[0]]),
    )


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_kept_of_the_reference_is_counted_exactly(tokenizer: Any, tmp_path: Path, rank: int, dtype: Any) -> None:
    one_turn = {"games": GamesConfig(max_turns=1), "ppo": PPOConfig(episodes_per_iteration=2)}
    config = replace(settings(rank, dtype=dtype), **one_turn)
    model = build("llama", len(tokenizer))
    shape = shape_of(model, config)
    policy = policy_of(model, tokenizer, config, tmp_path)

    with torch.no_grad():
        anchor = read_anchor(reference_of(policy), free_batch(2 * ACTION_TOKENS))

    assert anchor_bytes(shape, config) == nbytes(anchor.features)


def test_drawing_among_all_tokens_is_estimated_within_a_fifth() -> None:
    vocabulary, rows = 20_000, 16
    config = replace(settings(), ppo=PPOConfig(num_envs=rows))
    shape = replace(find_shape(config), vocab_size=vocabulary)

    with LiveBytes() as live:
        sample(torch.randn(rows, vocabulary).log_softmax(-1), torch.full((rows,), 0.5, dtype=torch.float64), 1.0)

    assert sampling_bytes(shape, config) == pytest.approx(live.peak, rel=0.2)


def test_free_text_takes_room_in_the_cache_and_commands_take_little() -> None:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(QWEN_7B)
    commands = TrainConfig(lora=LoRAConfig(rank=16), model_config=ModelConfig(dtype="bfloat16", gradient_checkpointing=True))
    thoughts = replace(commands, decoding="free", thinking=True, max_action_tokens=200)
    shape = shape_of(model, commands)

    estimates = [estimate_memory(shape, config) for config in (commands, thoughts)]

    assert cache_bytes(shape, thoughts) - cache_bytes(shape, commands) == 57_344 * 64 * 20 * 200
    assert estimates[0].playing["choices among all tokens"] == 0
    assert estimates[1].updating["features of the reference"] == 64 * 20 * 216 * 3584 * 2
    head = 4 * 152_064 * 3584
    assert estimates[1].playing["choices among all tokens"] == head + 20 * 64 * 152_064
    assert estimates[1].updating["logits"] - 3 * estimates[0].updating["logits"] == head


def test_the_7b_recipe_fits_into_80_gigabytes_and_full_training_does_not() -> None:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(QWEN_7B)
    long = GamesConfig(max_turns=20)
    adapted = TrainConfig(
        games=long, lora=LoRAConfig(rank=16), model_config=ModelConfig(dtype="bfloat16", gradient_checkpointing=True)
    )
    full = replace(adapted, lora=LoRAConfig())

    estimates = [estimate_memory(shape_of(model, config), config) for config in (adapted, full)]

    assert shape_of(model, adapted).weights == 7_615_616_512
    assert cache_bytes(shape_of(model, adapted), adapted) == 57_344 * 64 * 20 * 272
    assert 30 * GB < estimates[0].peak < 60 * GB
    assert estimates[1].peak > 150 * GB


def test_processes_share_the_environments_and_sharded_weights_but_not_whole_ones() -> None:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(QWEN_7B)
    config = TrainConfig(ppo=PPOConfig(num_envs=12), model_config=ModelConfig(dtype="bfloat16"))
    sharded = replace(config, model_config=replace(config.model_config, sharding="fsdp"))
    shape = shape_of(model, config)

    alone, whole, parts = (estimate_memory(shape, *each) for each in ((config, 1), (config, 5), (sharded, 5)))

    assert whole.playing["cache of keys and values"] == alone.playing["cache of keys and values"] / 12 * 3
    assert whole.always == alone.always
    assert sum(parts.always.values()) < sum(alone.always.values()) / 4.9
    outside = shape.weights - shape.block_weights
    assert outside == 2 * 152_064 * 3584 + 3584
    assert parts.playing["weights put together"] == 2 * shape.block_weights + 4 * outside + 4 * outside


def test_the_peak_is_what_stays_and_the_greater_of_what_comes_and_goes() -> None:
    assert MemoryEstimate(always={"a": 3}, playing={"b": 4, "c": 1}, updating={"d": 2}).peak == 8


def test_the_shape_of_the_tiny_model_is_found_without_building_it(tokenizer: Any) -> None:
    config = TrainConfig(tiny=TinyModelConfig(hidden_size=32, num_heads=2, num_layers=1, intermediate_size=64, vocab_size=300))

    shape = find_shape(config)

    assert shape.weights == 300 * 32 + 4 * 32 * 32 + 3 * 32 * 64 + 3 * 32


def test_the_command_line_prints_the_estimate_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    QWEN_7B.save_pretrained(tmp_path / "qwen")
    words = ["train", "--run-dir", str(tmp_path / "run"), "--model", str(tmp_path / "qwen"), "--lora.rank", "16"]

    assert main([*words, "--model-config.dtype", "bfloat16", "--model-config.gradient-checkpointing", "--estimate-memory"]) == 0

    shown = capsys.readouterr().out
    assert "7,615,616,512 weights, adapter 40,370,176" in shown
    assert "all the time    weights                        15.444 GB" in shown
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--model", str(tmp_path), "--estimate-memory"]) == 2

    error = capsys.readouterr().err
    assert "Cannot read the configuration of the model" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("processes", [[], ["1"], ["0"]])
def test_sharded_weights_of_one_process_are_not_estimated(capsys: pytest.CaptureFixture[str], processes: list[str]) -> None:
    assert main(["train", "--model-config.sharding", "fsdp", "--estimate-memory", *processes]) == 2

    assert "Give the number that will be started: 1 or more, and with sharded weights at least 2." in capsys.readouterr().err
