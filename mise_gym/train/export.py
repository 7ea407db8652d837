"""A trained model as one folder that plain transformers loads: the adapter of a run merged into its warm start."""

import json
from pathlib import Path

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.llm.loading import load_model
from mise_gym.train.adapter import merge_adapter
from mise_gym.train.checkpoint import Checkpoints, check_folder, write_folder
from mise_gym.train.config import TrainConfig, from_mapping


def export_model(run_dir: Path, folder: Path, iteration: int | None = None) -> Path:
    """Write the model of a run in the type that it computes in, without need of an adapter or of this package.

    Args:
        run_dir: Folder of the run, finished or not.
        folder: Where the model is written; it must not exist.
        iteration: Take the checkpoint after so many iterations; ``None`` takes the final model, or the newest checkpoint.

    Returns:
        The folder that the weights came from.

    Raises:
        ConfigError: There is no such run, or ``folder`` exists.
        CheckpointError: The run has no such model yet, or it is damaged.
    """
    if folder.exists():
        raise ConfigError(f"{str(folder)!r} exists already. Choose a folder that does not.")
    config = _config_of(run_dir)
    source = _source(run_dir, iteration)
    dtype = config.model_config.dtype
    if config.lora.is_used:
        check_folder(run_dir / "warm_start")
        model, tokenizer = load_model(str(run_dir / "warm_start"), dtype)
        model = merge_adapter(model, source)
    else:
        model, tokenizer = load_model(str(source), dtype)

    def fill(aside: Path) -> None:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)

    write_folder(folder, fill)
    return source


def _config_of(run_dir: Path) -> TrainConfig:
    try:
        settings = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
        return from_mapping(settings)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{str(run_dir)!r} holds no training run ({error}). Give the folder that was --run-dir of mise-gym train."
        ) from error


def _source(run_dir: Path, iteration: int | None) -> Path:
    """Return the folder with the weights that are wanted, whole."""
    if iteration is None and (run_dir / "model").exists():
        check_folder(run_dir / "model")
        return run_dir / "model"
    checkpoints = run_dir / "checkpoints"
    wanted = Checkpoints(checkpoints).newest() if iteration is None else checkpoints / f"iteration-{iteration:05d}"
    if wanted is None or not wanted.exists():
        there = ", ".join(str(int(path.name[-5:])) for path in sorted(checkpoints.glob("iteration-*"))) or "none"
        what = "model" if iteration is None else f"checkpoint of iteration {iteration}"
        raise CheckpointError(f"The run {str(run_dir)!r} has no {what} yet. Checkpoints there: {there}.")
    check_folder(wanted)
    return wanted / "model"
