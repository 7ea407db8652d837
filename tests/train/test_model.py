"""Where the model comes from: built here, or loaded from a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from mise_gym.errors import ConfigError
from mise_gym.llm.loading import load_model
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.train.policy import LLMPolicy
from tests.train.conftest import TINY, play

WIDTH = 16


def write_qwen(folder: Path, tokenizer: Any) -> Path:
    shape = Qwen2Config(
        vocab_size=len(tokenizer) + 13,  # as in the real ones, the table is larger than the vocabulary
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen2ForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def torn_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": ')


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def torn_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def torn_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')


def test_the_tiny_model_has_the_shape_that_was_asked_for(tokenizer: Any) -> None:
    model = build_tiny_model(tokenizer, TINY, seed=0)

    assert model.get_input_embeddings().weight.shape == (len(tokenizer), TINY.hidden_size)
    assert model.config.num_hidden_layers == TINY.num_layers
    assert model.config.max_position_embeddings == TINY.max_tokens


def test_the_default_tiny_model_has_at_most_a_million_parameters(tokenizer: Any) -> None:
    default = TinyModelConfig()
    model = build_tiny_model(tokenizer, default, seed=0)

    rest = sum(weights.numel() for weights in model.parameters()) - model.get_input_embeddings().weight.numel()

    assert rest + default.vocab_size * default.hidden_size <= 1_000_000


def test_the_seed_decides_the_weights_and_torchs_own_generator_is_left_alone(tokenizer: Any) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, other = (build_tiny_model(tokenizer, TINY, seed).lm_head.weight for seed in (5, 5, 6))

    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_tokenizer_can_encode_any_string() -> None:
    tokenizer = train_tokenizer(["plain words"], vocab_size=300)

    assert tokenizer.decode(tokenizer.encode(" 猫 \x00 ﷽")) == " 猫 \x00 ﷽"


def test_loaded_weights_lie_aligned_in_memory_as_built_ones_do_so_that_a_resumed_run_repeats_every_bit(
    tmp_path: Path, tokenizer: Any
) -> None:
    build_tiny_model(tokenizer, TINY, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    model, _ = load_model(str(tmp_path))

    assert {weights.data_ptr() % 64 for weights in model.parameters()} == {0}


def test_a_model_from_a_folder_plays_and_judges_through_the_same_path(tmp_path: Path, tokenizer: Any) -> None:
    model, loaded_tokenizer = load_model(str(write_qwen(tmp_path / "qwen", tokenizer)))
    policy = LLMPolicy(model, loaded_tokenizer)

    rollout = play(policy)

    assert all(turn.valid_action for episode in rollout.episodes for turn in episode.transitions)
    assert [len(said.scores) for said in policy.self_evaluate(rollout.episodes)] == [len(e) for e in rollout.episodes]


@pytest.mark.parametrize(
    ("damage", "part"),
    [(torn_tokenizer, "tokenizer"), (no_weights, "model"), (torn_weights, "model"), (torn_config, "model")],
)
def test_a_damaged_model_is_refused_in_one_sentence_that_says_which_part(
    tmp_path: Path, tokenizer: Any, damage: Callable[[Path], None], part: str
) -> None:
    folder = write_qwen(tmp_path / "qwen", tokenizer)
    damage(folder)

    with pytest.raises(ConfigError) as refusal:
        load_model(str(folder))

    message = str(refusal.value)
    assert message.startswith(
        f"Cannot load the {part} of {str(folder)!r}. This folder holds no {part} that transformers can load"
    )
    assert "\n" not in message
    assert len(message) < 500


def test_a_folder_without_the_words_of_its_tokenizer_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    folder = write_qwen(tmp_path / "qwen", tokenizer)
    (folder / "tokenizer.json").unlink()  # transformers then makes one without any words

    with pytest.raises(ConfigError, match="Check that the folder of the model holds its whole tokenizer"):
        LLMPolicy(*load_model(str(folder)))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="This folder holds no model that transformers can load"):
        load_model(str(tmp_path))


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no such folder, and no such id .* Give a folder written by save_pretrained"):
        load_model(str(tmp_path / "no" / "such" / "folder"))
