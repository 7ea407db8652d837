"""Checkpoints that are either whole or not there: written aside, hashed, renamed into place.

Of several processes only the main one writes; the files are the same for any number of them, with sharded weights or without.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from torch import Tensor

from mise_gym.errors import CheckpointError
from mise_gym.train.distributed import main_only
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.shards import gathered, load_whole

logger = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"


@main_only
def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder atomically: ``fill`` a temporary one, hash its files, rename it.

    Args:
        folder: Where it shall be; an existing one is replaced.
        fill: Writes the files into the folder it is given.

    Raises:
        OSError: The disk is full or not writable; nothing is left behind and an older folder stays.
        CheckpointError: The same, where torch or safetensors found out.
    """
    aside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        fill(aside)
        manifest = {str(file.relative_to(aside)): _sha256(file) for file in sorted(aside.rglob("*")) if file.is_file()}
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except (RuntimeError, SafetensorError) as error:  # how torch and safetensors report an OSError
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"Cannot write {str(folder)!r}: {reason}. Probably the disk is full; free some space and run the same command again."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@main_only
def write_file(path: Path, text: str) -> None:
    """Write a text file so that there is, at any moment, the old one or the new one.

    Raises:
        OSError: The disk is full or not writable; the old file stays.
    """
    aside = path.with_name(f".{path.name}.writing")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Check a folder against the hashes written with it.

    Raises:
        CheckpointError: It is missing, or a file is missing, truncated or changed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        broken = [name for name, digest in manifest.items() if _sha256(folder / name) != digest]
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder} is not a whole checkpoint ({error}). Delete it to start from an earlier one.") from error
    if broken:
        raise CheckpointError(
            f"{folder} is damaged: {', '.join(broken)} changed after writing. Delete it to start from an earlier one."
        )


class Checkpoints:
    """The checkpoints of one run; the newest two are kept.

    Each is a folder with ``model/`` (the model, or the adapter that is trained in its place; loads with
    ``AutoModelForCausalLM.from_pretrained``), ``tensors.pt`` (critic and optimiser) and ``state.json`` (iteration, calibrator,
    NumPy's random generator).

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, iteration: int, policy: LLMPolicy, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """Write a checkpoint after ``iteration`` iterations and drop all but the newest two; all processes must call it."""
        weights = whole_weights(policy)

        def fill(folder: Path) -> None:
            save_model(policy, folder / "model", weights)
            torch.save({"value_head": policy.value_head.state_dict(), **tensors}, folder / "tensors.pt")
            (folder / "state.json").write_text(json.dumps({"iteration": iteration, **state}), encoding="utf-8")

        write_folder(self.folder / f"iteration-{iteration:05d}", fill)
        self._drop_old()

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint, passing over damaged ones with a warning; ``None`` if there is none at all.

        Raises:
            CheckpointError: There are checkpoints and all are damaged.
        """
        folders = self._all()
        for folder in reversed(folders):
            try:
                check_folder(folder)
            except CheckpointError as error:
                logger.warning("Passing over a checkpoint: %s", error)
                continue
            return folder
        if folders:
            raise CheckpointError(
                f"All checkpoints in {self.folder} are damaged. Delete the folder to start training again after the warm start."
            )
        return None

    def load(self, folder: Path, policy: LLMPolicy) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put a checkpoint's weights into ``policy`` and return its other tensors and its state."""
        load_weights(policy, folder / "model")
        # generators must be on the CPU; what is whole in the file and a shard here is not read whole
        tensors = torch.load(folder / "tensors.pt", map_location="cpu", weights_only=True, mmap=policy.is_sharded)
        policy.value_head.load_state_dict(tensors.pop("value_head"))
        return tensors, json.loads((folder / "state.json").read_text(encoding="utf-8"))

    @main_only
    def _drop_old(self) -> None:
        for old in self._all()[:-2]:
            shutil.rmtree(old)

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("iteration-*"))


def whole_weights(policy: LLMPolicy) -> dict[str, Tensor]:
    """Return the weights of the model, or of the adapter that is trained in its place, for the main process to write.

    All processes must call it. Sharded ones are put together on the CPU of the main process; see ``shards.gathered``.
    """
    return gathered((policy.adapter or policy.model).state_dict(keep_vars=True))


def save_model(policy: LLMPolicy, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the model, or the adapter that is trained in its place, and the tokenizer the way transformers loads them.

    Args:
        policy: What to write.
        folder: Where.
        weights: Its ``whole_weights``; ``None`` where they are not sharded.
    """
    (policy.adapter or policy.model).save_pretrained(folder, state_dict=weights)
    policy.tokenizer.save_pretrained(folder)


def load_weights(policy: LLMPolicy, folder: Path) -> None:
    """Put the weights of a folder written by ``save_model`` into a policy of the same shape."""
    if policy.adapter is not None:
        policy.adapter.load(folder)
        return
    stored = type(policy.model).from_pretrained(folder, dtype=torch.float32)
    load_whole(policy.model, stored.state_dict())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
