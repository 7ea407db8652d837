"""Checkpoints are whole or not there, and what was saved comes back."""

import errno
import logging
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mise_gym.errors import CheckpointError
from mise_gym.train.checkpoint import MANIFEST, Checkpoints, check_folder, save_model, write_file, write_folder
from mise_gym.train.policy import LLMPolicy
from tests.train.conftest import MakePolicy

IDS = torch.tensor([[5, 6, 7, 8]])


def write_word(folder: Path, word: str) -> None:
    write_folder(folder, lambda aside: (aside / "word.txt").write_text(word) and None)


def fill_and_fail(aside: Path) -> None:
    (aside / "word.txt").write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def save_two(folder: Path, policy: LLMPolicy) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for iteration in (1, 2):
        checkpoints.save(iteration, policy, {"generator": torch.get_rng_state()}, {"pipeline": {"judged": iteration}})
    return checkpoints


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_a_written_folder_is_whole(tmp_path: Path) -> None:
    write_word(tmp_path / "it", "new")

    check_folder(tmp_path / "it")
    assert (tmp_path / "it" / "word.txt").read_text() == "new"


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "it", lambda aside: (aside / "old.txt").write_text("old") and None)
    write_word(tmp_path / "it", "new")

    assert {path.name for path in (tmp_path / "it").iterdir()} == {"word.txt", MANIFEST}


def test_a_full_disk_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    write_word(tmp_path / "it", "old")

    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "it", fill_and_fail)

    check_folder(tmp_path / "it")
    assert (tmp_path / "it" / "word.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


@contextmanager
def small_files_only() -> Iterator[None]:
    """Stands for a full disk: no file can grow beyond 2000 bytes. Nothing may be printed meanwhile: output may go to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("save", [save_model, lambda policy, folder: torch.save(policy.state_dict(), folder / "tensors.pt")])
def test_a_full_disk_is_explained_when_weights_are_written(
    tmp_path: Path, policy: LLMPolicy, save: Callable[[LLMPolicy, Path], None]
) -> None:
    with pytest.raises((CheckpointError, OSError)) as refusal, small_files_only():
        write_folder(tmp_path / "it", lambda aside: save(policy, aside))

    assert "disk is full" in str(refusal.value) or "File too large" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_file(tmp_path / "seconds.json", "old")

    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "seconds.json", "new \udcff")

    assert (tmp_path / "seconds.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "seconds.json"]


@pytest.mark.parametrize("name", ["word.txt", MANIFEST])
def test_a_missing_file_is_noticed(tmp_path: Path, name: str) -> None:
    write_word(tmp_path / "it", "new")
    (tmp_path / "it" / name).unlink()

    with pytest.raises(CheckpointError, match=r"is not a whole checkpoint .* Delete it"):
        check_folder(tmp_path / "it")


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"word.txt": 1}'])
def test_a_broken_manifest_is_noticed(tmp_path: Path, manifest: str) -> None:
    write_word(tmp_path / "it", "new")
    (tmp_path / "it" / MANIFEST).write_text(manifest)

    with pytest.raises(CheckpointError):
        check_folder(tmp_path / "it")


def test_a_truncated_file_is_named(tmp_path: Path, policy: LLMPolicy) -> None:
    save_two(tmp_path, policy)
    newest = tmp_path / "iteration-00002"
    truncate(newest / "model" / "model.safetensors")

    with pytest.raises(CheckpointError, match=r"damaged: model/model\.safetensors changed after writing\. Delete it"):
        check_folder(newest)


def test_a_damaged_checkpoint_is_passed_over_in_favour_of_the_older_one(
    tmp_path: Path, policy: LLMPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = save_two(tmp_path, policy)
    truncate(tmp_path / "iteration-00002" / "tensors.pt")

    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest() == tmp_path / "iteration-00001"

    assert "tensors.pt changed after writing" in caplog.text


def test_when_all_checkpoints_are_damaged_the_user_is_told(tmp_path: Path, policy: LLMPolicy) -> None:
    checkpoints = save_two(tmp_path, policy)
    for folder in tmp_path.iterdir():
        truncate(folder / "state.json")

    with pytest.raises(CheckpointError, match=r"All checkpoints in .* are damaged\. Delete the folder"):
        checkpoints.newest()


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").newest() is None


def test_the_newest_two_are_kept(tmp_path: Path, policy: LLMPolicy) -> None:
    checkpoints = save_two(tmp_path, policy)

    checkpoints.save(3, policy, {}, {})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["iteration-00002", "iteration-00003"]


def test_weights_tensors_and_state_come_back(tmp_path: Path, make_policy: MakePolicy) -> None:
    saved, loaded = make_policy(1), make_policy(2)
    checkpoints = save_two(tmp_path, saved)
    newest = checkpoints.newest()
    assert newest is not None

    tensors, state = checkpoints.load(newest, loaded)

    assert state == {"iteration": 2, "pipeline": {"judged": 2}}
    assert tensors["generator"].dtype == torch.uint8
    assert loaded.state_dict().keys() == saved.state_dict().keys()
    assert all(torch.equal(weights, saved.state_dict()[name]) for name, weights in loaded.state_dict().items())


def test_a_saved_model_loads_with_transformers_and_gives_equal_logits(tmp_path: Path, policy: LLMPolicy) -> None:
    save_model(policy, tmp_path / "model")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")

    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, policy.model(input_ids=IDS).logits)
    assert tokenizer.encode(" take red apple\n", add_special_tokens=False) == policy.text.action("take red apple")
