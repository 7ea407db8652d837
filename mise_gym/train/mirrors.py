"""Other places that the metrics of a run go to, beside its JSON lines: TensorBoard and Weights & Biases."""

import json
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any

from mise_gym.extras import require
from mise_gym.train.config import TrainConfig
from mise_gym.train.metrics import MetricsMirror


class TensorBoardMirror:
    """Writes event files, one folder per stage. After a resume, TensorBoard hides what was written after the checkpoint.

    Args:
        folder: Where they go: ``tensorboard --logdir`` it.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require("tensorboard")
        self.folder = folder
        self._writers: dict[str, Any] = {}

    def append(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Write one point per metric."""
        writer = self._writers.get(stage) or self._open(stage)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def rewind(self, stage: str, last_step: int) -> None:
        """Start a new file which tells TensorBoard to drop the later points of the former ones."""
        self._open(stage, purge_step=last_step + 1)

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _open(self, stage: str, purge_step: int | None = None) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        if stage in self._writers:
            self._writers[stage].close()
        self._writers[stage] = SummaryWriter(str(self.folder / stage), purge_step=purge_step)
        return self._writers[stage]


class WandbMirror:
    """Sends records to Weights & Biases, or into the run's folder when ``WANDB_MODE=offline``.

    A run that goes on is the same run there. Records cannot be taken back: iterations after the last checkpoint, which are done
    again, are in the curves twice.

    Args:
        project: Name of the project.
        config: The run's settings; shown beside the curves.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(self, project: str, config: TrainConfig) -> None:
        require("wandb")
        self.project = project
        self.config = config

    @cached_property
    def run(self) -> Any:
        """The run over there; begun with the first record, so that a finished run sends nothing."""
        import wandb

        folder = self.config.run_dir
        id_file = folder / "wandb_id"
        if not id_file.exists():
            id_file.write_text(secrets.token_hex(4), encoding="utf-8")
        run = wandb.init(
            project=self.project,
            name=folder.name,
            id=id_file.read_text(encoding="utf-8"),
            resume="allow",
            dir=str(folder),
            config=json.loads(self.config.to_json()),
        )
        run.define_metric("*", step_metric="ppo/step")
        for stage in ("warm_start", "evaluation"):
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        return run

    def append(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Send one record, with the stage's own count of steps."""
        self.run.log({f"{stage}/step": step, **values})

    def rewind(self, stage: str, last_step: int) -> None:
        """Do nothing: what was sent stays."""

    def close(self) -> None:
        """Wait until everything is sent."""
        if "run" in self.__dict__:
            self.run.finish()


def mirrors_of(config: TrainConfig) -> list[MetricsMirror]:
    """Return what a run's settings ask for."""
    mirrors: list[MetricsMirror] = []
    if config.tensorboard:
        mirrors.append(TensorBoardMirror(config.run_dir / "tensorboard"))
    if config.wandb_project is not None:
        mirrors.append(WandbMirror(config.wandb_project, config))
    return mirrors
