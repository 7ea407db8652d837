"""Workers that Ray keeps on a cluster of two nodes play what one process plays, also when one of them is killed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mise_gym.train.metrics import MetricsFile
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout, collect, draw_seeds
from mise_gym.trajectories import read_episodes
from tests.train.conftest import MakePolicy
from tests.train.pantry import Pantry
from tests.train.process_job import ROOT
from tests.train.ray_cluster import ON_THE_LOOPBACK

TASKS = [{"game": game} for game in range(9)]
SEEDS = draw_seeds(np.random.default_rng(5), len(TASKS))
"""Nine tasks in groups of two make an odd group, and one that is smaller."""

pytestmark = [pytest.mark.slow, pytest.mark.integration]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def seen(make_policy: MakePolicy, folder: Path) -> dict[str, Any]:
    job, result = folder / "job.pickle", folder / "result.pickle"
    job.write_bytes(pickle.dumps((make_policy(0), folder, TASKS, SEEDS)))
    subprocess.run(
        [sys.executable, "-m", "tests.train.ray_cluster", str(job), str(result)],
        env=os.environ | ON_THE_LOOPBACK,
        cwd=ROOT,
        check=True,
        timeout=600,
    )
    return dict(pickle.loads(result.read_bytes()))


def same(rollout: Rollout, other: Rollout) -> bool:
    """Compare everything but the last bits of log-probabilities."""
    return rollout.episodes == other.episodes and [t.ids for t in rollout.traces] == [t.ids for t in other.traces]


def play_here(policy: LLMPolicy) -> Rollout:
    return collect([Pantry()], TASKS, policy, SEEDS)


def test_workers_play_what_one_process_plays_in_the_same_order(seen: dict[str, Any], policy: LLMPolicy) -> None:
    rollout, lost = seen["whole"]

    assert same(rollout, play_here(policy))
    assert lost == 0


def test_a_worker_that_is_killed_is_replaced_and_its_episodes_are_played_by_others(
    seen: dict[str, Any], policy: LLMPolicy, folder: Path
) -> None:
    rollout, lost = seen["bereft"]

    assert len(list(folder.glob("fuse.*"))) == 1
    assert same(rollout, play_here(policy))
    assert lost == 1


def test_workers_play_with_the_weights_of_the_moment(seen: dict[str, Any], policy: LLMPolicy) -> None:
    before = play_here(policy)
    with torch.no_grad():
        for weights in policy.parameters():
            weights.mul_(1.5)
    rollout, lost = seen["retrained"]

    assert same(rollout, play_here(policy))
    assert not same(rollout, before)
    assert lost == 0


def test_the_error_of_an_environment_comes_out_as_itself(seen: dict[str, Any]) -> None:
    assert seen["refusal"] == "No pantry today."


def test_after_an_error_the_same_workers_play_on(seen: dict[str, Any]) -> None:
    assert same(seen["after the refusal"][0], seen["retrained"][0])


def test_more_workers_than_the_cluster_has_room_for_are_refused(seen: dict[str, Any]) -> None:
    assert seen["too many"].startswith("5 rollout workers need a CPU each, and Ray's cluster has 2.")


def test_a_whole_run_with_workers_counts_the_lost_ones(seen: dict[str, Any], folder: Path) -> None:
    (record,) = (r for r in MetricsFile(folder / "run" / "metrics.jsonl").read() if r["stage"] == "ppo")

    assert record["rollout/lost_workers"] == 0
    assert len(list(read_episodes(folder / "run" / "episodes" / "iteration-00001.jsonl.gz"))) == 4
