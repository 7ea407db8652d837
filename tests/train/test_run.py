"""Whole runs on real games: what they leave behind, that they can be stopped anywhere, and what each reward changes."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.train.checkpoint import check_folder
from mise_gym.train.config import EvaluationConfig, TrainConfig
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.run import TrainingRun
from mise_gym.train.warm_start import warm_start
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode
from tests.train.test_model import write_qwen
from tests.train.tiny_run import ITERATIONS, tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["mise_gym.train.run"])
NOT_REPEATABLE = {"seconds", "stage_seconds", "peak_memory_mb"}

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.run import TrainingRun
from tests.train.tiny_run import tiny_run

class Killing(MetricsFile):
    def append(self, stage, step, values):
        super().append(stage, step, values)
        if (stage, step) == ("ppo", 2):
            with self.path.open("a") as file:
                file.write('{"stage": "pp')
            os.kill(os.getpid(), signal.SIGKILL)

run = TrainingRun(tiny_run(Path(sys.argv[1])), progress=False)
run.metrics = Killing(run.metrics.path)
run.run()
"""


class StoppingMetrics(MetricsFile):
    """Presses Ctrl-C once a certain record has been written."""

    def __init__(self, path: Path, stage: str, step: int) -> None:
        super().__init__(path)
        self.stop = stage, step

    def append(self, stage: str, step: int, values: dict[str, float]) -> None:
        super().append(stage, step, values)
        if stage == self.stop[0] and step >= self.stop[1]:
            raise KeyboardInterrupt


def run(config: TrainConfig) -> dict[str, Any]:
    return TrainingRun(config, progress=False).run()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(tiny_run(folder))
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def repeatable(folder: Path) -> dict[str, Any]:
    """Return what a run found out, without what depends on the clock."""
    records = MetricsFile(folder / "metrics.jsonl").read()
    weights = AutoModelForCausalLM.from_pretrained(folder / "model").state_dict()
    return {
        "metrics": [{name: v for name, v in record.items() if not name.startswith("time/")} for record in records],
        "weights": {name: value.tolist() for name, value in weights.items()},
        "summary": {name: v for name, v in summary_of(folder).items() if name not in NOT_REPEATABLE},
    }


def summary_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "summary.json").read_text()))


def played(folder: Path, iteration: int) -> list[Episode]:
    return list(read_episodes(folder / "episodes" / f"iteration-{iteration:05d}.jsonl.gz"))


def actions(episodes: list[Episode]) -> list[list[str]]:
    return [[turn.action for turn in episode.transitions] for episode in episodes]


def test_the_summary_has_the_promised_figures(finished: Path) -> None:
    summary = summary_of(finished)

    assert {
        "heldout_success_before",
        "heldout_success_after",
        "heldout_success_greedy_before",
        "heldout_success_greedy_after",
        "overconfidence_before",
        "overconfidence_after",
        "auroc_before",
        "auroc_after",
        "turn_auroc_before",
        "turn_auroc_after",
        "peak_memory_mb",
    } <= summary.keys()
    assert (summary["heldout_games"], summary["seed"], summary["reward"]) == (3, 0, "mise")
    assert summary["seconds"] == pytest.approx(sum(summary["stage_seconds"].values()))


def test_the_settings_are_kept_with_the_run(finished: Path) -> None:
    assert (finished / "config.json").read_text() == tiny_run(finished).to_json()


def test_every_iteration_is_in_the_metrics_once(finished: Path) -> None:
    records = MetricsFile(finished / "metrics.jsonl").read()

    assert [record["step"] for record in records if record["stage"] == "ppo"] == list(range(1, ITERATIONS + 1))
    assert records[0]["stage"] == "warm_start"


@pytest.mark.parametrize("name", ["success.png", "rewards.png", "reliability.png"])
def test_pictures_are_drawn(finished: Path, name: str) -> None:
    assert (finished / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["warm_start", "model", f"checkpoints/iteration-{ITERATIONS:05d}/model"])
def test_every_saved_model_loads_with_transformers(finished: Path, name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(finished / name)

    ids = AutoTokenizer.from_pretrained(finished / name)(" open fridge", return_tensors="pt").input_ids
    assert model(input_ids=ids).logits.isfinite().all()


@pytest.mark.parametrize("name", ["warm_start", "model", f"checkpoints/iteration-{ITERATIONS:05d}"])
def test_every_saved_folder_matches_its_hashes(finished: Path, name: str) -> None:
    check_folder(finished / name)


def test_all_episodes_are_recorded_with_their_rewards(finished: Path) -> None:
    for iteration in range(1, ITERATIONS + 1):
        episodes = played(finished, iteration)
        assert len(episodes) == 4
        assert all(len(episode.extra["mise"]["step_rewards"]) == len(episode) for episode in episodes)


@pytest.mark.parametrize("decoding", ["sampled", "greedy"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_heldout_episodes_are_of_the_valid_split_with_a_self_evaluation(finished: Path, when: str, decoding: str) -> None:
    episodes = list(read_episodes(finished / f"heldout_{when}_{decoding}.jsonl.gz"))

    assert len({episode.task_id for episode in episodes}) == 3
    assert {episode.split for episode in episodes} == {"valid"}
    said = [episode.extra["self_evaluation"] for episode in episodes]
    assert all(len(each["scores"]) == len(e.extra["good_turns"]) == len(e) for each, e in zip(said, episodes, strict=True))
    assert all(0 <= each["belief"] <= 1 for each in said)


@pytest.mark.parametrize("teach", ["everything", "judging"])
def test_the_warm_start_goes_on_with_episodes_that_the_policy_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teach: Literal["everything", "judging"]
) -> None:
    rounds = []

    def watched(policy: Any, episodes: Any, *more: Any) -> int:
        rounds.append((len(episodes), len(more[-1])))
        return warm_start(policy, episodes, *more)

    monkeypatch.setattr("mise_gym.train.run.warm_start", watched)
    config = tiny_run(tmp_path, reward="sft")
    settings = replace(config.warm_start, own_episodes=5, own_epochs=3, own_teach=teach, batch_episodes=4)
    config = replace(config, warm_start=settings)

    run(config)

    own = list(read_episodes(tmp_path / "demonstrations_own.jsonl.gz"))
    assert len({episode.task_id for episode in own}) == 5
    assert {episode.split for episode in own} == {"train"}
    assert all(len(episode.extra["good_turns"]) == len(episode) for episode in own)
    updates = [record["step"] for record in MetricsFile(tmp_path / "metrics.jsonl").read() if record["stage"] == "warm_start"]
    assert updates == [2, 2 + 9]  # one pass over 6 episodes, three over 11
    assert rounds == [(6, 0), (11, 0) if teach == "everything" else (6, 5)]


def test_training_changes_the_model(finished: Path) -> None:
    before, after = (AutoModelForCausalLM.from_pretrained(finished / name).state_dict() for name in ("warm_start", "model"))

    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_second_call_trains_nothing_and_finds_the_same(copied: Path, finished: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}

    again = run(tiny_run(copied))

    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert again == summary_of(finished)


def test_costs_add_up_over_calls(copied: Path) -> None:
    (copied / "summary.json").unlink()
    (copied / "cost.json").write_text(json.dumps({"seconds": {"ppo": 1000.0}, "peak_memory_mb": 10_000_000.0}))

    summary = run(tiny_run(copied))

    assert summary["seconds"] > 1000
    assert summary["peak_memory_mb"] == 10_000_000


def test_the_same_seed_finds_the_same_in_another_folder_and_another_seed_does_not(finished: Path, tmp_path: Path) -> None:
    run(tiny_run(tmp_path / "same"))
    run(tiny_run(tmp_path / "other", seed=1))

    assert repeatable(tmp_path / "same") == repeatable(finished)
    assert repeatable(tmp_path / "other")["weights"] != repeatable(finished)["weights"]


@pytest.mark.parametrize(("stage", "step"), [("warm_start", 1), ("ppo", 2)])
def test_a_run_that_was_interrupted_goes_on_exactly(finished: Path, tmp_path: Path, stage: str, step: int) -> None:
    stopped = TrainingRun(tiny_run(tmp_path / "run"), progress=False)
    stopped.metrics = StoppingMetrics(stopped.metrics.path, stage, step)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()

    run(tiny_run(tmp_path / "run"))

    assert repeatable(tmp_path / "run") == repeatable(finished)


def test_a_run_that_was_killed_while_writing_goes_on_exactly(finished: Path, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL

    run(tiny_run(tmp_path / "run"))

    assert repeatable(tmp_path / "run") == repeatable(finished)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "long"
    run(long_settings(folder))
    return folder


def long_settings(folder: Path) -> TrainConfig:
    return tiny_run(folder, iterations=8, checkpoint_every=2, evaluation=EvaluationConfig(every=2, episodes=3))


def _train_until_killed(folder: Path, iteration: int, fraction: float) -> None:
    """Go on with a run and be killed at a random moment of an iteration, whatever is being done then."""

    def kill() -> None:
        file = MetricsFile(folder / "metrics.jsonl")
        while len(done := [record for record in file.read() if record["stage"] == "ppo"]) < iteration:
            time.sleep(0.005)
        time.sleep(fraction * sum(done[-1][f"time/{part}_seconds"] for part in ("collect", "judge", "update")))
        os.kill(os.getpid(), signal.SIGKILL)

    (folder / "metrics.jsonl").unlink()
    threading.Thread(target=kill).start()
    run(long_settings(folder))
    signal.pause()  # it was fast this time; the end comes nevertheless


@pytest.mark.parametrize("iteration", [1, 3, 4, 6, 7])
def test_a_run_that_was_killed_at_a_random_moment_goes_on_exactly(long_run: Path, tmp_path: Path, iteration: int) -> None:
    folder = Path(shutil.copytree(long_run, tmp_path / "run"))
    for path in [folder / name for name in ("model", "best", "checkpoints", "episodes", "warm_start")]:
        shutil.rmtree(path)
    for path in [*folder.glob("heldout_after*"), folder / "summary.json"]:
        path.unlink()
    process = FORKSERVER.Process(target=_train_until_killed, args=(folder, iteration, random.Random(iteration).random()))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL

    run(long_settings(folder))

    assert repeatable(folder) == repeatable(long_run)


@pytest.mark.parametrize(
    ("change", "difference"),
    [({"seed": 3}, "seed: 0 there, 3 asked"), ({"reward": "sparse"}, "reward: 'mise' there, 'sparse' asked")],
)
def test_a_folder_with_another_run_is_refused_and_says_what_differs(
    finished: Path, change: dict[str, Any], difference: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"holds a run with other settings ({difference}). Choose another --run-dir")):
        TrainingRun(tiny_run(finished, **change))


@pytest.mark.parametrize("change", [{"threads": 2}, {"tensorboard": True}])
def test_what_changes_no_result_may_change_between_calls(copied: Path, change: dict[str, Any]) -> None:
    TrainingRun(replace(tiny_run(copied), **change))


def test_with_evaluations_on_the_way_the_best_model_is_the_result(long_run: Path) -> None:
    records = [record for record in MetricsFile(long_run / "metrics.jsonl").read() if record["stage"] == "evaluation"]
    best = json.loads((long_run / "best" / "evaluation.json").read_text())
    result, kept = (AutoModelForCausalLM.from_pretrained(long_run / name).state_dict() for name in ("model", "best"))

    assert [record["step"] for record in records] == [2, 4, 6, 8]
    assert best["evaluation/success_rate"] == max(record["evaluation/success_rate"] for record in records)
    assert all(torch.equal(result[name], kept[name]) for name in kept)


def test_evaluations_change_nothing_in_the_training(long_run: Path, finished: Path) -> None:
    for iteration in range(1, ITERATIONS + 1):
        assert actions(played(long_run, iteration)) == actions(played(finished, iteration))


@pytest.mark.parametrize("name", ["config.json", "cost.json"])
def test_a_damaged_file_of_the_run_is_named(copied: Path, name: str) -> None:
    (copied / name).write_text("{")

    with pytest.raises(CheckpointError, match=rf"{re.escape(name)}' is damaged .* Choose another --run-dir"):
        TrainingRun(tiny_run(copied))


def test_a_damaged_final_model_is_refused(copied: Path) -> None:
    (copied / "summary.json").unlink()
    (copied / "model" / "model.safetensors").write_bytes(b"")

    with pytest.raises(CheckpointError, match=r"model\.safetensors changed after writing"):
        run(tiny_run(copied))


@pytest.mark.parametrize("reward", ["sparse", "mise-nocal", "mise-flipped"])
def test_another_reward_starts_from_the_same_model_and_plays_the_same_at_first(
    finished: Path, tmp_path: Path, reward: str
) -> None:
    summary = run(tiny_run(tmp_path / "run", reward=reward, iterations=1))

    assert summary["reward"] == reward
    assert summary["details"]["before"] == summary_of(finished)["details"]["before"]
    assert actions(played(tmp_path / "run", 1)) == actions(played(finished, 1))
    for other, ours in zip(played(tmp_path / "run", 1), played(finished, 1), strict=True):
        scores = ours.extra["mise"]["scores"]
        expected = [1 - score for score in scores] if reward == "mise-flipped" else scores
        assert other.extra["mise"]["scores"] == pytest.approx(expected)


def test_dense_pays_the_same_in_other_turns(finished: Path, tmp_path: Path) -> None:
    run(tiny_run(tmp_path / "run", reward="dense", iterations=1))

    dense, sparse = played(tmp_path / "run", 1), played(finished, 1)
    assert actions(dense) == actions(sparse)
    for theirs, ours in zip(dense, sparse, strict=True):
        assert sum(turn.reward for turn in theirs.transitions) == pytest.approx(sum(turn.reward for turn in ours.transitions))


def test_sft_ends_with_the_warm_started_model(finished: Path, tmp_path: Path) -> None:
    summary = run(tiny_run(tmp_path / "run", reward="sft"))

    assert summary["details"]["after"] == summary["details"]["before"] == summary_of(finished)["details"]["before"]
    warm, final = (AutoModelForCausalLM.from_pretrained(tmp_path / "run" / name).state_dict() for name in ("warm_start", "model"))
    assert all(torch.equal(weights, warm[name]) for name, weights in final.items())


def test_real_games_start_alike_for_the_episodes_of_a_group(tmp_path: Path) -> None:
    config = tiny_run(tmp_path / "run", iterations=1)

    run(replace(config, ppo=replace(config.ppo, baseline="rloo", group_size=2)))

    tasks = [episode.task_id for episode in played(tmp_path / "run", 1)]
    assert tasks[::2] == tasks[1::2]
    assert len(set(tasks)) == 2


def test_a_given_model_goes_through_the_same_run(tmp_path: Path, tokenizer: Any) -> None:
    folder = write_qwen(tmp_path / "qwen", tokenizer)

    summary = run(tiny_run(tmp_path / "run", iterations=1, model=str(folder)))

    assert summary["heldout_games"] == 3
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["model_type"] == "qwen2"
