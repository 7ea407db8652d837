"""Two processes do what one does: the same updates, however the episodes divide, and the same run."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mise_gym.errors import JudgeError
from mise_gym.rewards.base import JudgeResult, JudgeStatus
from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.train import distributed
from mise_gym.train.distributed import SharedJudge
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.rollout import Rollout, collect, draw_seeds
from mise_gym.types import Episode
from tests.train.conftest import MakePolicy, play
from tests.train.pantry import Pantry
from tests.train.process_job import run_in_processes

UNEVEN = PPOConfig(num_epochs=2, minibatch_episodes=3, learning_rate=1e-3, target_kl=1e9)
"""Of 7 episodes, two processes get 2 and 1 of each minibatch, and of the last one 1 and 0."""
ADAPTING = replace(UNEVEN, advantages="token", reward_scale="running", kl_penalty="reward", reference_kl_target=0.01)
"""Credit by token, and everything that adapts to what the whole rollout looks like."""
TOUCHY = PPOConfig(num_epochs=20, minibatch_episodes=3, learning_rate=1e-2, target_kl=0.01)
"""Stops early."""


def learn(policy: LLMPolicy, rollout: Rollout, config: PPOConfig, updates: int) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """Update a copy of the policy several times from the same episodes."""
    policy = copy.deepcopy(policy)
    learner = PPOLearner(policy, copy.deepcopy(policy), config, judge="trained")
    rewards = RewardPipeline(SelfEvaluationJudge(policy), "centred").reward(rollout.episodes)
    rng = np.random.default_rng(0)
    logs = [learner.update(rollout, rewards, rng) for _ in range(updates)]
    return {name: weights.detach().clone() for name, weights in policy.state_dict().items()}, logs


def play_and_judge(policy: LLMPolicy, episodes: int) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Play, judge and calibrate the way the trainer does."""
    tasks, seeds = [{"game": game} for game in range(episodes)], draw_seeds(np.random.default_rng(0), episodes)
    played = collect([Pantry(), Pantry()], distributed.share(tasks), policy, distributed.share(seeds))
    everything = distributed.unshare(played.episodes)
    pipeline = RewardPipeline(SharedJudge(SelfEvaluationJudge(policy)), "outcome")
    rewards = pipeline.reward(everything)
    pipeline.learn(everything, rewards)
    return [e.transitions for e in everything], [r.scores for r in rewards], pipeline.state_dict()


class BrokenInOneProcess:
    """Judges in the first process and breaks down in the second."""

    name = "broken"

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        if distributed.rank():
            raise JudgeError("Out of order.")
        return [JudgeResult(scores=(0.5,) * len(episode)) for episode in episodes]


def judge_with_a_broken_one(episodes: list[Episode]) -> list[str]:
    return [result.status.value for result in SharedJudge(BrokenInOneProcess()).judge(episodes)]


def write_as_main(folder: Path) -> int:
    @distributed.main_only
    def write() -> None:
        (folder / f"written-by-{distributed.rank()}").touch()

    write()
    return distributed.rank()


def come_in_turn(folder: Path) -> bool:
    with distributed.main_first():
        was_there = (folder / "made").exists()
        (folder / "made").touch()
    return was_there


def do_everything(policy: LLMPolicy, rollout: Rollout, folder: Path) -> dict[str, Any]:
    """Do in one go what the tests look at; a process takes seconds to start."""
    return {
        "one": learn(policy, rollout, UNEVEN, 1),
        "three": learn(policy, rollout, UNEVEN, 3),
        "adapting": learn(policy, rollout, ADAPTING, 2),
        "touchy": learn(policy, rollout, TOUCHY, 1),
        "played": play_and_judge(policy, 7),
        "broken": judge_with_a_broken_one(rollout.episodes),
        "rank": write_as_main(folder),
        "found": come_in_turn(folder),
        "unshared": [distributed.unshare(distributed.share(range(count))) for count in range(6)],
    }


@pytest.fixture(scope="module")
def rollout(make_policy: MakePolicy) -> Rollout:
    return play(make_policy(0), games=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def both(make_policy: MakePolicy, rollout: Rollout, folder: Path) -> list[dict[str, Any]]:
    return run_in_processes(2, folder, do_everything, make_policy(0), rollout, folder)


@pytest.fixture(scope="module")
def alone(make_policy: MakePolicy, rollout: Rollout, folder: Path) -> dict[str, Any]:
    return do_everything(make_policy(0), rollout, Path(folder / "job.pickle").parent)


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("updates", ["one", "three", "adapting"])
def test_two_processes_learn_what_one_learns_although_the_episodes_do_not_divide(
    both: list[dict[str, Any]], alone: dict[str, Any], updates: str
) -> None:
    expected, _ = alone[updates]

    for name, weights in both[0][updates][0].items():
        assert torch.allclose(weights, expected[name], rtol=0, atol=1e-6), name


def test_both_processes_end_with_the_same_bits(both: list[dict[str, Any]]) -> None:
    first, second = (each["three"][0] for each in both)

    assert all(torch.equal(weights, second[name]) for name, weights in first.items())


def test_both_processes_write_down_the_losses_of_the_whole_minibatch(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    assert both[0]["three"][1] == both[1]["three"][1]
    for ours, theirs in zip(both[0]["three"][1], alone["three"][1], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_the_epochs_stop_at_the_same_update(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    (expected,) = alone["touchy"][1]

    assert 3 <= expected["train/updates"] < 60
    assert [each["touchy"][1][0]["train/updates"] for each in both] == [expected["train/updates"]] * 2


def test_the_union_of_what_the_processes_play_is_what_one_plays(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    assert [each["played"][0] for each in both] == [alone["played"][0]] * 2


def test_judge_and_calibrator_see_the_episodes_of_all_processes(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    assert both[0]["played"][1:] == both[1]["played"][1:]
    for ours, theirs in zip(both[0]["played"][1], alone["played"][1], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert both[0]["played"][2]["judged"] == alone["played"][2]["judged"] == 7


def test_a_judge_that_breaks_down_in_one_process_fails_the_episodes_of_that_process_everywhere(
    both: list[dict[str, Any]],
) -> None:
    ok, error = JudgeStatus.OK.value, JudgeStatus.ERROR.value

    assert [each["broken"] for each in both] == [[ok, error, ok, error, ok, error, ok]] * 2


def test_only_the_main_process_writes(both: list[dict[str, Any]], folder: Path) -> None:
    assert [each["rank"] for each in both] == [0, 1]
    assert [path.name for path in folder.glob("written-by-*")] == ["written-by-0"]


def test_the_main_process_comes_first(both: list[dict[str, Any]]) -> None:
    assert [each["found"] for each in both] == [False, True]


def test_shares_are_put_together_in_order_also_when_some_are_empty(both: list[dict[str, Any]]) -> None:
    assert [each["unshared"] for each in both] == [[list(range(count)) for count in range(6)]] * 2
