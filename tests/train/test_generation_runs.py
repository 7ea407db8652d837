"""Whole runs on real games in which the model writes freely, thinks, or lets a server write."""

import json
from pathlib import Path
from typing import Any

import pytest

from mise_gym.errors import ConfigError
from mise_gym.llm.loading import load_model
from mise_gym.train.adapter import Adapter, LoRAConfig
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.run import TrainingRun
from mise_gym.train.text import WRITTEN
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode
from tests.train.generation_server import GenerationServer
from tests.train.tiny_run import tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.integration]


def run(folder: Path, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]], list[Episode]]:
    """Do a run and return its summary, the metrics of its iterations and the episodes of the last one."""
    summary = TrainingRun(tiny_run(folder, iterations=2, max_action_tokens=10, **settings), progress=False).run()
    records = [record for record in MetricsFile(folder / "metrics.jsonl").read() if record["stage"] == "ppo"]
    return summary, records, list(read_episodes(folder / "episodes" / "iteration-00002.jsonl.gz"))


@pytest.mark.parametrize(("decoding", "thinking"), [("free", False), ("constrained", True), ("free", True)])
def test_a_run_goes_through_from_the_warm_start_to_the_summary(tmp_path: Path, decoding: str, thinking: bool) -> None:
    summary, records, episodes = run(tmp_path, decoding=decoding, thinking=thinking)

    assert summary["heldout_games"] == 3
    assert len(records) == 2
    assert all(0 < record["rollout/malformed_rate"] <= 1 for record in records)
    assert all(record["train/entropy"] > 0 for record in records)
    assert all(len(episode.extra[WRITTEN]) == len(episode) for episode in episodes)
    assert (records[0]["rollout/valid_action_rate"] == 1) == (decoding == "constrained")


def test_a_server_that_serves_the_warm_start_writes_the_actions_of_a_run(tmp_path: Path) -> None:
    lora = LoRAConfig(rank=2)
    folder = tmp_path / "run"
    with GenerationServer(None) as server:
        settings = {"decoding": "free", "generator": server.url, "lora": lora}
        with pytest.raises(ConfigError, match="'warm_start' of the run"):
            run(folder, **settings)
        policy = LLMPolicy(*load_model(str(folder / "warm_start")), max_observation_tokens=48)
        policy.adapter = Adapter(policy.model, lora, seed=0)
        server.policy = policy

        _, records, episodes = run(folder, **settings)

    loaded = [body["lora_name"] for path, body in server.requests if path == "/v1/load_lora_adapter"]
    assert len(loaded) == len(set(loaded))
    assert len(loaded) >= 4  # before, twice in training, after
    assert server.adapters == []
    assert len(records) == 2
    assert all(len(episode.extra[WRITTEN]) == len(episode) for episode in episodes)
    assert json.loads((folder / "config.json").read_text())["generator"] == server.url
