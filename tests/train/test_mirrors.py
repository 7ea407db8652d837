"""TensorBoard and Weights & Biases get what the JSON lines get."""

from pathlib import Path
from typing import Any

import pytest

from mise_gym.train.config import TrainConfig
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.mirrors import TensorBoardMirror, WandbMirror, mirrors_of

pytestmark = pytest.mark.slow  # both packages take seconds to import


def config_of(folder: Path, **settings: Any) -> TrainConfig:
    return TrainConfig(run_dir=folder, **settings)


def points(folder: Path, metric: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(metric)]


def write(metrics: MetricsFile, *steps: int) -> None:
    for step in steps:
        metrics.append("ppo", step, {"train/updates": float(step)})


class TestTensorBoard:
    def test_every_record_becomes_a_point(self, tmp_path: Path) -> None:
        metrics = MetricsFile(tmp_path / "metrics.jsonl", mirrors_of(config_of(tmp_path, tensorboard=True)))
        write(metrics, 1, 2)
        metrics.append("warm_start", 20, {"warm_start/act_loss": 0.5})
        metrics.close()

        assert points(tmp_path / "tensorboard" / "ppo", "train/updates") == [(1, 1), (2, 2)]
        assert points(tmp_path / "tensorboard" / "warm_start", "warm_start/act_loss") == [(20, 0.5)]

    @pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
    def test_a_run_that_goes_on_has_every_iteration_once(self, tmp_path: Path) -> None:
        killed = MetricsFile(tmp_path / "metrics.jsonl", [TensorBoardMirror(tmp_path)])
        write(killed, 1, 2, 3)
        killed.close()
        resumed = MetricsFile(tmp_path / "metrics.jsonl", [TensorBoardMirror(tmp_path)])
        resumed.rewind("ppo", 1)
        write(resumed, 2)
        resumed.close()

        assert points(tmp_path / "ppo", "train/updates") == [(1, 1), (2, 2)]


class TestWandb:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_SILENT", "true")

    @pytest.mark.filterwarnings("ignore")  # its own
    def test_records_and_settings_arrive(self, tmp_path: Path) -> None:
        (mirror,) = mirrors_of(config_of(tmp_path, wandb_project="games", seed=7))
        assert isinstance(mirror, WandbMirror)
        metrics = MetricsFile(tmp_path / "metrics.jsonl", [mirror])
        write(metrics, 1, 2)
        summary, settings, name = dict(mirror.run.summary), dict(mirror.run.config), mirror.run.name
        metrics.close()

        assert (summary["train/updates"], summary["ppo/step"]) == (2, 2)
        assert settings["seed"] == 7
        assert name == tmp_path.name
        assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))

    @pytest.mark.filterwarnings("ignore")  # its own
    def test_a_run_that_goes_on_is_the_same_run(self, tmp_path: Path) -> None:
        ids = []
        for step in (1, 2):
            mirror = WandbMirror("games", config_of(tmp_path))
            write(MetricsFile(tmp_path / "metrics.jsonl", [mirror]), step)
            ids.append(mirror.run.id)
            mirror.close()

        assert ids[0] == ids[1]

    def test_a_finished_run_sends_nothing(self, tmp_path: Path) -> None:
        MetricsFile(tmp_path / "metrics.jsonl", [WandbMirror("games", config_of(tmp_path))]).close()

        assert not list(tmp_path.iterdir())


def test_nothing_is_mirrored_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert mirrors_of(config_of(tmp_path)) == []
