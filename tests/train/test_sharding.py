"""Processes that share one set of weights learn what one process learns."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.train.adapter import Adapter, LoRAConfig
from mise_gym.train.critic import CriticKind
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import PPOConfig, PPOLearner
from mise_gym.train.reference import reference_of
from mise_gym.train.rollout import Rollout
from mise_gym.train.sharding import gathered, reshard, shard, whole
from tests.train.conftest import MakePolicy, play
from tests.train.process_job import run_in_processes
from tests.train.test_distributed import UNEVEN

CPU = torch.device("cpu")


def learn(policy, rollout, config, updates, is_sharded):
    policy = copy.deepcopy(policy)
    reference = reference_of(policy)
    if is_sharded:
        shard(policy, CPU)
        if isinstance(reference, LLMPolicy):
            shard(reference, CPU)
    learner = PPOLearner(policy, reference, config, train_judge=True)
    with whole(policy):
        rewards = RewardPipeline(SelfEvaluationJudge(policy), "centred").reward(rollout.episodes)
    rng = np.random.default_rng(0)
    logs = [learner.update(rollout, rewards, rng) for _ in range(updates)]
    return gathered(policy.state_dict()), logs, learner.state_dict()


def do_everything(policy, rollout, is_sharded):
    return {"three": learn(policy, rollout, UNEVEN, 3, is_sharded)}


pytestmark = pytest.mark.slow


def test_x(make_policy, tmp_path):
    rollout = play(make_policy(0), games=7)
    a = do_everything(make_policy(0), rollout, False)
    b = run_in_processes(2, tmp_path, do_everything, make_policy(0), rollout, True)
    for name, w in b[0]["three"][0].items():
        print(name, (w - a["three"][0][name]).abs().max())
        assert torch.allclose(w, a["three"][0][name], rtol=0, atol=1e-6), name
    print(a["three"][1], b[0]["three"][1])
