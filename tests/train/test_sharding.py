"""Two processes that hold half of the weights each do what one does that holds them all."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mise_gym.errors import ConfigError
from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.train.adapter import Adapter, LoRAConfig
from mise_gym.train.checkpoint import load_weights, save_model, whole_weights
from mise_gym.train.config import TrainConfig
from mise_gym.train.critic import Critic
from mise_gym.train.demonstrations import GOOD_TURNS
from mise_gym.train.distributed import is_main, wait
from mise_gym.train.memory import estimate_memory, gathered_bytes, shape_of
from mise_gym.train.placement import ModelConfig, place
from mise_gym.train.policy import LLMPolicy, Reader
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.reference import reference_of
from mise_gym.train.rollout import Rollout
from mise_gym.train.sharding import check_sharding, shard, whole
from mise_gym.train.shards import gathered, is_shard, load_whole
from mise_gym.train.warm_start import WarmStartConfig, warm_start
from tests.train.conftest import MakePolicy, play
from tests.train.process_job import run_in_processes
from tests.train.test_distributed import ADAPTING, UNEVEN, play_and_judge

CPU = torch.device("cpu")
OF_NO_EFFECT = "value_head.trunk.block.self_attn.in_proj_bias"
"""A bias of keys changes nothing; its gradient is rounding, of which Adam makes steps."""
Learnt = tuple[dict[str, Tensor], list[dict[str, float]]]


def untie(policy: LLMPolicy) -> None:
    head = policy.model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())


def adapt(policy: LLMPolicy) -> None:
    policy.adapter = Adapter(policy.model, LoRAConfig(rank=3), seed=0)  # three rows for two processes


def checkpoint_activations(policy: LLMPolicy) -> None:
    place(policy.model, ModelConfig(device="cpu", gradient_checkpointing=True), is_trained=True)


def read_in_small_passes(policy: LLMPolicy) -> None:
    policy.max_tokens_per_pass = 200


def compute_in_bfloat16(policy: LLMPolicy) -> None:
    policy.computes_in_bfloat16 = True


def adapt_in_bfloat16(policy: LLMPolicy) -> None:
    place(policy.model, ModelConfig(device="cpu", dtype="bfloat16"), is_trained=False)
    adapt(policy)
    compute_in_bfloat16(policy)


def give_a_critic_of_its_own(policy: LLMPolicy) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy.value_head = Critic(policy.model.config.hidden_size, "separate")


def leave_alone(policy: LLMPolicy) -> None:
    pass


CAREFUL = replace(UNEVEN, num_epochs=1, learning_rate=1e-5)
CASES: Mapping[str, tuple[Callable[[LLMPolicy], None], PPOConfig]] = {
    "empty shares": (leave_alone, UNEVEN),
    "all that adapts": (leave_alone, ADAPTING),
    "untied output layer": (untie, UNEVEN),
    "adapter": (adapt, UNEVEN),
    "separate critic": (give_a_critic_of_its_own, UNEVEN),
    "gradient checkpointing": (checkpoint_activations, UNEVEN),
    "unequal numbers of passes": (read_in_small_passes, UNEVEN),
    "bfloat16": (compute_in_bfloat16, CAREFUL),
    "adapter in bfloat16": (adapt_in_bfloat16, CAREFUL),
}
ROUGH = {"separate critic": 2e-5}
"""One weight of the policy has a gradient of almost 0 there. Two processes with whole weights end just as far from one."""
ROUNDED = ["bfloat16", "adapter in bfloat16"]


def changed(policy: LLMPolicy, change: Callable[[LLMPolicy], None]) -> LLMPolicy:
    policy = copy.deepcopy(policy)
    change(policy)
    return policy


def divide(policy: LLMPolicy, *, is_sharded: bool) -> Reader:
    """Return the reference of a policy, and shard both if wanted."""
    reference = reference_of(policy)
    for each in (policy, reference):
        if is_sharded and isinstance(each, LLMPolicy):
            shard(each, CPU)
    return reference


def update(learner: PPOLearner, rollout: Rollout, times: int = 1) -> list[dict[str, float]]:
    with whole(learner.policy):
        rewards = RewardPipeline(SelfEvaluationJudge(learner.policy), "centred").reward(rollout.episodes)
    rng = np.random.default_rng(0)
    return [learner.update(rollout, rewards, rng) for _ in range(times)]


def learn(policy: LLMPolicy, rollout: Rollout, case: str, *, is_sharded: bool) -> Learnt:
    change, config = CASES[case]
    policy = changed(policy, change)
    learner = PPOLearner(policy, divide(policy, is_sharded=is_sharded), config, judge="trained")
    logs = update(learner, rollout, times=2)
    return gathered(policy.state_dict()), logs


def stop_and_go_on(policy: LLMPolicy, rollout: Rollout, change: Callable[[LLMPolicy], None], folder: Path) -> dict[str, Tensor]:
    """Learn in shards, write everything down, and go on from the files in shards of another policy."""
    first, second = changed(policy, change), changed(policy, change)
    references = [divide(each, is_sharded=True) for each in (first, second)]
    learner = PPOLearner(first, references[0], UNEVEN, judge="trained")
    update(learner, rollout)
    weights, state = whole_weights(first), learner.state_dict()
    if is_main():
        save_model(first, folder, weights)
        torch.save(state, folder / "state.pt")
    wait()
    load_weights(second, folder)
    second.value_head.load_state_dict(first.value_head.state_dict())
    went_on = PPOLearner(second, references[1], UNEVEN, judge="trained")
    went_on.load_state_dict(torch.load(folder / "state.pt", weights_only=True, mmap=True))
    update(went_on, rollout)
    return gathered(second.state_dict())


def learn_twice(policy: LLMPolicy, rollout: Rollout, change: Callable[[LLMPolicy], None]) -> dict[str, Tensor]:
    policy = changed(policy, change)
    learner = PPOLearner(policy, reference_of(policy), UNEVEN, judge="trained")
    for _ in range(2):
        update(learner, rollout)
    return policy.state_dict()


def imitate(policy: LLMPolicy, rollout: Rollout, *, is_sharded: bool) -> Learnt:
    policy = changed(policy, read_in_small_passes)
    if is_sharded:
        shard(policy, CPU)
    episodes = [replace(e, extra={GOOD_TURNS: [turn % 2 for turn in range(len(e))]}) for e in rollout.episodes]
    logs: list[dict[str, float]] = []
    config = WarmStartConfig(epochs=2, batch_episodes=3)
    warm_start(policy, episodes, config, np.random.default_rng(0), lambda _, __, losses: logs.append(losses))
    return gathered(policy.state_dict()), logs


def merged(policy: LLMPolicy, *, is_sharded: bool) -> dict[str, Tensor]:
    """Return a model after its adapter, which says something, was merged into it."""
    policy = changed(policy, adapt)
    assert policy.adapter is not None
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for weights in policy.trained_weights:
            weights.normal_(std=0.3)
    if is_sharded:
        shard(policy, CPU)
    policy.adapter.merge()
    return gathered(policy.model.state_dict(keep_vars=True))


def sizes(policy: LLMPolicy, rollout: Rollout) -> dict[str, int]:
    """Return how many bytes this process holds after an update, and how many weights it has while all are together."""
    policy = copy.deepcopy(policy)
    reference = divide(policy, is_sharded=True)
    learner = PPOLearner(policy, reference, UNEVEN, judge="trained")
    update(learner, rollout)
    state = learner.optimizer.state
    held: dict[str, list[Any]] = {
        "weights": list(policy.parameters()),
        "reference": list(reference.parameters()),  # type: ignore[attr-defined]  # a copy has some
        "gradients": [weights.grad for weights in policy.parameters()],
        "optimiser (AdamW)": [state[weights][name] for weights in policy.parameters() for name in ("exp_avg", "exp_avg_sq")],
    }
    found = {name: sum((each.to_local() if is_shard(each) else each).nbytes for each in part) for name, part in held.items()}
    with whole(policy):
        return found | {"together": sum(weights.nbytes for weights in policy.model.parameters())}


def play_in_shards(policy: LLMPolicy) -> Any:
    policy = copy.deepcopy(policy)
    shard(policy, CPU)
    with whole(policy):
        played = play_and_judge(policy, 7)
    return played, all(is_shard(weights) for weights in policy.model.parameters())


def do_everything(policy: LLMPolicy, rollout: Rollout, folder: Path) -> dict[str, Any]:
    """Do in one go what the tests look at; a process takes seconds to start."""
    return {
        **{case: learn(policy, rollout, case, is_sharded=True) for case in CASES},
        "imitated": imitate(policy, rollout, is_sharded=True),
        "imitated together": imitate(policy, rollout, is_sharded=False),
        "went on": {
            change.__name__: stop_and_go_on(policy, rollout, change, folder / change.__name__) for change in (leave_alone, adapt)
        },
        "merged": merged(policy, is_sharded=True),
        "played": play_in_shards(policy),
        "sizes": sizes(policy, rollout),
    }


@pytest.fixture(scope="module")
def rollout(make_policy: MakePolicy) -> Rollout:
    return play(make_policy(0), games=7)


@pytest.fixture(scope="module")
def both(make_policy: MakePolicy, rollout: Rollout, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("shards")
    return run_in_processes(2, folder, do_everything, make_policy(0), rollout, folder)


def assert_near(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], atol: float = 1e-6) -> None:
    assert ours.keys() == theirs.keys()
    for name, weights in theirs.items():
        assert torch.allclose(ours[name], weights, rtol=0, atol=atol), name


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case not in ROUNDED])
def test_two_processes_with_half_of_the_weights_learn_what_one_learns_with_all(
    both: list[dict[str, Any]], make_policy: MakePolicy, rollout: Rollout, case: str
) -> None:
    weights, logs = learn(make_policy(0), rollout, case, is_sharded=False)
    weights.pop(OF_NO_EFFECT, None), both[0][case][0].pop(OF_NO_EFFECT, None)

    assert_near(both[0][case][0], weights, atol=ROUGH.get(case, 1e-6))
    assert both[0][case][1] == both[1][case][1]
    for ours, theirs in zip(both[0][case][1], logs, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ROUNDED)
def test_shards_are_kept_as_whole_weights_are_and_compute_in_bfloat16_as_they_do(
    both: list[dict[str, Any]], make_policy: MakePolicy, rollout: Rollout, case: str
) -> None:
    (weights, found), (expected_weights, expected) = both[0][case], learn(make_policy(0), rollout, case, is_sharded=False)

    assert {name: each.dtype for name, each in weights.items()} == {name: each.dtype for name, each in expected_weights.items()}
    for name in ("policy_loss", "value_loss", "entropy", "calibration_reward", "gradient_norm"):
        assert found[0][f"train/{name}"] == pytest.approx(expected[0][f"train/{name}"], rel=0.02, abs=0.005), name


@pytest.mark.slow
@pytest.mark.parametrize("how", ["imitated", "imitated together"])
def test_the_processes_share_the_warm_start_with_sharded_weights_or_whole_ones(
    both: list[dict[str, Any]], make_policy: MakePolicy, rollout: Rollout, how: str
) -> None:
    weights, logs = imitate(make_policy(0), rollout, is_sharded=False)

    assert_near(both[0][how][0], weights, atol=1e-5)
    assert both[0][how][1] == both[1][how][1]
    for ours, theirs in zip(both[0][how][1], logs, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("change", [leave_alone, adapt])
def test_learning_goes_on_from_files_as_if_it_had_not_been_stopped(
    both: list[dict[str, Any]], make_policy: MakePolicy, rollout: Rollout, change: Any
) -> None:
    assert_near(both[0]["went on"][change.__name__], learn_twice(make_policy(0), rollout, change))


@pytest.mark.slow
def test_an_adapter_is_merged_into_shards_as_into_whole_weights(both: list[dict[str, Any]], make_policy: MakePolicy) -> None:
    assert_near(both[0]["merged"], merged(make_policy(0), is_sharded=False))


@pytest.mark.slow
def test_playing_out_of_step_gives_the_same_episodes_and_leaves_shards_behind(
    both: list[dict[str, Any]], make_policy: MakePolicy
) -> None:
    episodes, scores, _ = play_and_judge(make_policy(0), 7)

    for (played, their_scores, _), are_shards in (each["played"] for each in both):
        assert are_shards
        assert played == episodes
        for ours, theirs in zip(their_scores, scores, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.slow
def test_each_process_holds_its_half_and_the_critic_as_estimated(both: list[dict[str, Any]], make_policy: MakePolicy) -> None:
    config = TrainConfig(model_config=ModelConfig(sharding="fsdp"))
    shape = shape_of(make_policy(0).model, config)
    always = estimate_memory(shape, config, processes=2).always

    assert always["weights"] == 4 * (shape.weights / 2 + shape.critic_weights)
    for name, size in always.items():
        assert [each["sizes"][name] for each in both] == [pytest.approx(size, rel=0.01)] * 2, name
        assert sum(each["sizes"][name] for each in both) == 2 * size, name


@pytest.mark.slow
def test_weights_that_are_put_together_take_what_is_estimated(both: list[dict[str, Any]], make_policy: MakePolicy) -> None:
    config = TrainConfig(model_config=ModelConfig(sharding="fsdp"))
    shape = shape_of(make_policy(0).model, config)

    copied = 4 * max(shape.block_weights // shape.num_layers, shape.weights - shape.block_weights)
    assert [each["sizes"]["together"] for each in both] == [gathered_bytes(shape, config) - copied] * 2


def test_one_process_has_nobody_to_share_with() -> None:
    with pytest.raises(ConfigError, match=r"'fsdp', and this is the only process\. Start several with torchrun"):
        check_sharding()


def test_a_model_without_blocks_is_refused(policy: LLMPolicy) -> None:
    policy.model = torch.nn.Linear(2, 2)

    with pytest.raises(ConfigError, match="Linear has no blocks that could be read one by one"):
        shard(policy, CPU)


def test_whole_weights_pass_through_as_they_are(policy: LLMPolicy) -> None:
    before = {name: weights.clone() for name, weights in policy.model.state_dict().items()}

    state = gathered(policy.model.state_dict(keep_vars=True))
    load_whole(policy.model, state)

    assert all(weights is not None and not weights.requires_grad for weights in state.values())
    assert state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()
    assert_near(policy.model.state_dict(), before, atol=0)
