"""``mise-gym export``: write the model of a run so that plain transformers, or a server, loads it."""

import argparse
import logging
from pathlib import Path

from mise_gym.extras import require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the folder and the iteration."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the model is written; it must not exist")
    parser.add_argument(
        "--iteration", type=int, metavar="N", help="a checkpoint (default: the final model, or the newest checkpoint)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, and say what was written."""
    require("torch", extra="train")
    from transformers.utils.logging import disable_progress_bar

    from mise_gym.train.export import export_model

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    disable_progress_bar()
    source = export_model(arguments.run_dir, arguments.folder, arguments.iteration)
    print(f"Wrote the model of {source} to {arguments.folder}. Load it with AutoModelForCausalLM.from_pretrained.")
    return 0
