"""Training an adapter in place of the model: what is trained, what the reference is, what is saved."""

import copy
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from mise_gym.errors import UnknownNameError
from mise_gym.rewards.base import JudgeStatus, RewardBreakdown
from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.checkpoint import Checkpoints, load_weights, save_model
from mise_gym.train.config import GamesConfig, TrainConfig
from mise_gym.train.learning import Trainer
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.placement import ModelConfig
from mise_gym.train.players import LocalPlayers
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.preparation import add_adapter, make_policy, ready_for_the_warm_start
from mise_gym.train.reference import reference_of
from mise_gym.train.rollout import Rollout
from mise_gym.train.warm_start import WarmStartConfig
from tests.train.conftest import play
from tests.train.pantry import Pantry

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}
MakeAdapted = Callable[..., LLMPolicy]


def llama(vocab_size: int) -> Any:
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, tie_word_embeddings=True, **SHAPE))


def qwen(vocab_size: int) -> Any:
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocab_size + 13, tie_word_embeddings=False, **SHAPE))


def settings(folder: Path, **more: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "run_dir": folder,
        "max_observation_tokens": 48,
        "lora": LoRAConfig(rank=4, alpha=8),
        "games": GamesConfig(train=8),
        "warm_start": WarmStartConfig(expert_episodes=0, judge_episodes=0),
        "ppo": PPOConfig(iterations=3, episodes_per_iteration=6, num_envs=3, minibatch_episodes=4, learning_rate=1e-2),
    }
    return TrainConfig(**given | more)


@pytest.fixture
def make_adapted(tokenizer: Any, tmp_path: Path) -> MakeAdapted:
    def make(build: Callable[[int], Any] = llama, config: TrainConfig | None = None) -> LLMPolicy:
        config = config or settings(tmp_path)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build(len(tokenizer))
        policy = make_policy(model, tokenizer, config)
        add_adapter(policy, config, tmp_path / "warm_start")
        return policy

    return make


def move_the_adapter(policy: LLMPolicy) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for weights in trained(policy.model).values():
            weights.normal_(std=0.3)


def trained(module: nn.Module) -> dict[str, Tensor]:
    return {name: weights for name, weights in module.named_parameters() if weights.requires_grad}


def reward(rollout: Rollout) -> list[RewardBreakdown]:
    pay = [tuple(float(row % 2) for _ in episode.transitions) for row, episode in enumerate(rollout.episodes)]
    paid = {"scores": None, "calibrated": None, "status": JudgeStatus.OK, "judge": {}}
    return [RewardBreakdown(env_rewards=rewards, step_rewards=rewards, **paid) for rewards in pay]


@torch.no_grad()
def features(policy: Any) -> Tensor:
    return policy.features(IDS)  # type: ignore[no-any-return]  # a policy or a reference


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [llama, qwen])
def test_without_its_adapter_the_policy_is_the_warm_start_bit_for_bit(
    make_adapted: MakeAdapted, tmp_path: Path, build: Any, dtype: Any
) -> None:
    policy = make_adapted(build, settings(tmp_path, model_config=ModelConfig(dtype=dtype)))
    warm_start = features(policy)
    reference = reference_of(policy)

    move_the_adapter(policy)

    assert torch.equal(features(reference), warm_start)
    assert not torch.allclose(features(policy), warm_start, atol=0.01)


def test_the_reference_is_the_warm_start_and_not_the_model_it_started_from(tokenizer: Any, tmp_path: Path) -> None:
    config = settings(tmp_path)
    policy = make_policy(llama(len(tokenizer)), tokenizer, config)
    base = features(policy)

    with ready_for_the_warm_start(policy, config):
        move_the_adapter(policy)
        warm_start = features(policy)
    add_adapter(policy, config, tmp_path / "warm_start")

    assert torch.allclose(features(reference_of(policy)), warm_start, atol=1e-5)
    assert not torch.allclose(warm_start, base, atol=0.01)


def test_the_reference_takes_no_memory_beside_the_policy(make_adapted: MakeAdapted) -> None:
    policy = make_adapted()

    def live_weights() -> int:
        return sum(type(each) is nn.Parameter for each in gc.get_objects())

    before = live_weights()
    reference = reference_of(policy)

    assert live_weights() == before
    copied = copy.deepcopy(policy)
    assert live_weights() > before
    assert features(reference).shape == features(copied).shape


def test_only_the_adapter_and_the_critic_are_trained(make_adapted: MakeAdapted) -> None:
    policy = make_adapted()
    rollout = play(policy)
    frozen = {name: weights.clone() for name, weights in policy.model.named_parameters() if not weights.requires_grad}
    learner = PPOLearner(policy, reference_of(policy), settings(Path()).ppo, judge="trained")

    learner.update(rollout, reward(rollout), np.random.default_rng(0))

    now = dict(policy.model.named_parameters())
    assert all(torch.equal(now[name], weights) for name, weights in frozen.items())
    held = sum(state["exp_avg"].numel() for state in learner.optimizer.state.values())
    assert held == sum(weights.numel() for weights in trained(policy).values())
    assert all("lora_" in name for name in trained(policy.model))


def test_kl_to_the_reference_is_zero_before_the_first_step_and_positive_later(make_adapted: MakeAdapted) -> None:
    policy = make_adapted()
    rollout = play(policy)
    learner = PPOLearner(policy, reference_of(policy), settings(Path()).ppo, judge="trained")

    first, later = (learner.update(rollout, reward(rollout), np.random.default_rng(0)) for _ in range(2))

    assert first["judge/drift_rms"] == 0
    assert later["judge/drift_rms"] > 0
    assert later["train/reference_kl"] > first["train/reference_kl"] > 0


def test_checkpoints_hold_the_adapter_and_the_critic_and_not_the_model(make_adapted: MakeAdapted, tmp_path: Path) -> None:
    policy, other = make_adapted(qwen), make_adapted(qwen)
    move_the_adapter(policy)
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    checkpoints.save(1, policy, {}, {})
    folder = checkpoints.newest()
    assert folder is not None
    checkpoints.load(folder, other)

    assert torch.equal(features(other), features(policy))
    assert all(torch.equal(mine, yours) for mine, yours in zip(trained(policy).values(), trained(other).values(), strict=True))
    assert {path.name for path in (folder / "model").glob("*.safetensors")} == {"adapter_model.safetensors"}


@pytest.mark.parametrize("targets", ["q_proj, v_proj", "all-linear"])
def test_the_adapter_stands_where_it_was_asked_for(make_adapted: MakeAdapted, tmp_path: Path, targets: str) -> None:
    policy = make_adapted(qwen, settings(tmp_path, lora=LoRAConfig(rank=2, targets=targets)))

    places = {name.split(".")[-4] for name in trained(policy.model)}

    everywhere = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert places == (everywhere if targets == "all-linear" else {"q_proj", "v_proj"})


@pytest.mark.parametrize("wrong", ["q_prj", "lm_head"])
def test_a_layer_that_cannot_have_an_adapter_is_answered_with_those_that_can(
    make_adapted: MakeAdapted, tmp_path: Path, wrong: str
) -> None:
    with pytest.raises(UnknownNameError, match=f"No layer for lora.targets named '{wrong}'.* Known: down_proj, gate_proj"):
        make_adapted(qwen, settings(tmp_path, lora=LoRAConfig(rank=2, targets=f"v_proj,{wrong}")))


def test_the_adapter_is_kept_in_float32_beside_weights_in_bfloat16(make_adapted: MakeAdapted, tmp_path: Path) -> None:
    policy = make_adapted(qwen, settings(tmp_path, model_config=ModelConfig(dtype="bfloat16")))

    types = {(weights.requires_grad, weights.dtype) for weights in policy.model.parameters()}

    assert types == {(True, torch.float32), (False, torch.bfloat16)}


def test_a_saved_adapter_loads_with_transformers_once_its_warm_start_is_there(make_adapted: MakeAdapted, tmp_path: Path) -> None:
    policy = make_adapted(qwen)
    save_model_without_adapter(policy, tmp_path / "warm_start")
    move_the_adapter(policy)
    save_model(policy, tmp_path / "model")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)

    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, policy.model(input_ids=IDS).logits)


def save_model_without_adapter(policy: LLMPolicy, folder: Path) -> None:
    plain = qwen(len(policy.tokenizer))
    ours = policy.model.state_dict()
    plain.load_state_dict({name: ours.get(name, ours.get(_inside(name))) for name in plain.state_dict()})
    plain.save_pretrained(folder)


def _inside(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"{layer}.base_layer.{kind}"


@pytest.fixture
def make_trainer(make_adapted: MakeAdapted) -> Callable[..., Trainer]:
    def make(folder: Path, iterations: int = 3) -> Trainer:
        folder.mkdir(exist_ok=True)
        config = settings(folder)
        policy = make_adapted(llama, config)
        envs = [Pantry() for _ in range(config.ppo.num_envs)]
        return Trainer(
            policy,
            reference_of(policy),
            LocalPlayers(envs, policy),
            config,
            folder,
            MetricsFile(folder / "metrics.jsonl"),
            seed=[0],
        )

    return make


def test_a_stopped_run_with_an_adapter_goes_on_exactly(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    whole, stopped, resumed = make_trainer(tmp_path / "whole"), make_trainer(tmp_path / "half"), make_trainer(tmp_path / "half")
    list(whole.iterate())
    steps = stopped.iterate()
    next(steps), next(steps)

    assert resumed.resume() == 2
    list(resumed.iterate())

    assert all(torch.equal(weights, whole.policy.state_dict()[name]) for name, weights in resumed.policy.state_dict().items())
    assert _timeless(resumed) == _timeless(whole)


def _timeless(trainer: Trainer) -> list[dict[str, Any]]:
    return [{name: v for name, v in record.items() if not name.startswith("time/")} for record in trainer.metrics.read()]


def test_a_finished_runs_adapter_is_read_back(make_adapted: MakeAdapted, tmp_path: Path) -> None:
    policy, other = make_adapted(), make_adapted()
    move_the_adapter(policy)
    save_model(policy, tmp_path / "model")

    load_weights(other, tmp_path / "model")

    assert torch.equal(features(other), features(policy))


def test_dropout_of_the_adapter_is_there_in_the_warm_start_only(tokenizer: Any, tmp_path: Path) -> None:
    config = settings(tmp_path, lora=LoRAConfig(rank=4, dropout=0.5))
    policy = make_policy(llama(len(tokenizer)), tokenizer, config)

    with ready_for_the_warm_start(policy, config):
        move_the_adapter(policy)
        assert not torch.equal(policy.features(IDS), policy.features(IDS))
    add_adapter(policy, config, tmp_path / "warm_start")
    move_the_adapter(policy)

    assert torch.equal(policy.features(IDS), policy.features(IDS))
