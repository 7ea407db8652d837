"""The trainer that benchmarks compare with plays legally and computes what it should: beating a broken one would mean nothing."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from mise_gym.train.policy import LLMPolicy
from tests.train.pantry import Pantry

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "plain_trainer.py"


@pytest.fixture
def plain(policy: LLMPolicy) -> Any:
    return runpy.run_path(str(SCRIPT))["PlainTrainer"](policy.model, policy.text, minibatch_episodes=3, max_tokens_per_pass=200)


@pytest.fixture
def episodes(plain: Any) -> list[Any]:
    return list(plain.play([Pantry() for _ in range(3)], [{"game": game} for game in range(6)]))


def test_only_admissible_commands_are_played_and_every_task_once(episodes: list[Any]) -> None:
    """Pantry asserts that each command is one of its own."""
    assert [episode.task for episode in episodes] == [f"Take the {name}!" for name in ("red apple", "red apricot")] + [
        "Take the green apple!",
        "Take the green pear!",
        "Take the red apple!",
        "Take the red apricot!",
    ]


def test_a_turns_logprobs_are_those_of_its_action_after_all_that_was_before(plain: Any, episodes: list[Any]) -> None:
    samples = plain._samples(episodes[2])

    logprobs, rows, _ = plain._read(plain.model, samples)

    assert len(samples) == len(episodes[2])
    for row, sample in enumerate(samples):
        alone = plain.model(input_ids=torch.tensor([sample.ids])).logits[0].log_softmax(-1).detach()
        expected = [float(alone[place - 1, sample.ids[place]]) for place in range(sample.start, len(sample.ids))]
        assert logprobs[rows == row].tolist() == pytest.approx(expected, abs=1e-4)


def test_an_update_moves_the_model_and_not_the_reference(plain: Any, policy: LLMPolicy, episodes: list[Any]) -> None:
    loss = plain.update(episodes)

    assert loss == loss
    for weights, reference, first in zip(
        plain.model.parameters(), plain.reference.parameters(), policy.model.parameters(), strict=True
    ):
        assert torch.equal(reference, first)
        assert not torch.equal(weights, first)
