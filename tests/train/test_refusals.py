"""Models and ways to run that the trainer follows exactly, or refuses before anything is made."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from mise_gym.errors import ConfigError
from mise_gym.train.choices import pack_allowed
from mise_gym.train.config import TrainConfig
from mise_gym.train.forms import Forms
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.preparation import make_policy
from tests.train.process_job import run_in_processes
from tests.train.speller import play_by
from tests.train.test_writing import learner_logprobs
from tests.train.tiny_run import refusals, tiny_run

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
IDS = torch.tensor([[5, 6, 7, 8, 9]])


@pytest.fixture
def capped(tokenizer: Any) -> LLMPolicy:
    """A policy whose logits would be far beyond its cap."""
    torch.manual_seed(0)
    settings = Gemma2Config(
        vocab_size=len(tokenizer),
        head_dim=8,
        query_pre_attn_scalar=8,
        final_logit_softcapping=2.0,
        attn_logit_softcapping=None,
        **SIZES,
    )
    return make_policy(Gemma2ForCausalLM(settings), tokenizer, TrainConfig(max_observation_tokens=48))


@torch.no_grad()
def own_logits(policy: LLMPolicy) -> Tensor:
    logits: Tensor = policy.model(input_ids=IDS, use_cache=False).logits[0]
    return logits


@torch.no_grad()
def test_the_logits_of_a_model_with_a_soft_cap_are_those_of_its_own_forward_pass(capped: LLMPolicy) -> None:
    features = capped.features(IDS)[0]
    expected = own_logits(capped)
    allowed = pack_allowed([(3, 8, 90)] * 4 + [None])

    found = capped.allowed_logits(features, allowed[:4])

    assert expected.abs().max() > 1.5  # so that the cap can be felt
    assert torch.allclose(found, expected[:4, [3, 8, 90]], atol=1e-5)
    assert torch.allclose(capped.allowed_logits(features, allowed)[4], expected[4], atol=1e-5)
    assert torch.allclose(capped.logits(features), expected, atol=1e-5)
    good, bad = expected[:, capped.text.good_id], expected[:, capped.text.bad_id]
    assert torch.allclose(capped.score_logits(features), good - bad, atol=1e-5)


@pytest.mark.parametrize("forms", [Forms("constrained"), Forms("free", max_action_tokens=8)], ids=["constrained", "free"])
def test_what_a_model_with_a_soft_cap_writes_has_the_probabilities_of_its_own_forward_pass(
    capped: LLMPolicy, forms: Forms
) -> None:
    rollout = play_by(forms, capped, games=2)
    (trace, *_) = rollout.traces

    for decision in trace.decisions:
        with torch.no_grad():
            logits = capped.model(input_ids=torch.tensor([trace.ids[: decision.position]]), use_cache=False).logits[0, -1]
        logits = logits if decision.allowed is None else logits[list(decision.allowed)]
        assert decision.logprob == pytest.approx(float(logits.log_softmax(-1)[decision.choice]), abs=1e-4)
    now, then = learner_logprobs(capped, rollout)
    assert now.tolist() == pytest.approx(then.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (CohereForCausalLM, CohereConfig(logit_scale=0.0625, vocab_size=320, **SIZES)),
        (GraniteForCausalLM, GraniteConfig(logits_scaling=8.0, vocab_size=320, **SIZES)),
    ],
    ids=["Cohere", "Granite"],
)
def test_a_model_that_scales_its_logits_is_refused(tokenizer: Any, model_class: Any, config: Any) -> None:
    with pytest.raises(ConfigError, match=f"{model_class.__name__} changes its logits behind the output layer"):
        make_policy(model_class(config), tokenizer, TrainConfig())


@pytest.mark.slow
@pytest.mark.integration
def test_several_processes_are_refused_with_workers_and_with_a_server(tmp_path: Path) -> None:
    ways = [{"rollout_backend": "ray"}, {"generator": "http://127.0.0.1:8000/v1", "decoding": "free"}]

    told = run_in_processes(2, tmp_path, refusals, [tiny_run(tmp_path / "run", **way) for way in ways])

    sentence = (
        "2 processes share this run, and each of them plays and writes for itself. "
        "Leave out --rollout-backend and --generator, or the launcher."
    )
    assert told == [[sentence, sentence]] * 2
    assert not (tmp_path / "run").exists()
