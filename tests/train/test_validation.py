"""Evaluations between iterations: they keep the best model and change nothing in the training."""

from pathlib import Path

import pytest
import torch

from mise_gym.errors import CheckpointError
from mise_gym.train.config import EvaluationConfig
from mise_gym.train.players import LocalPlayers
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.validation import Validation
from tests.train.conftest import MakePolicy
from tests.train.pantry import Pantry

METRICS = {"evaluation/success_rate", "evaluation/progress_mean", "evaluation/turns_mean"}


def validation_of(policy: LLMPolicy, folder: Path, *, every: int = 2) -> Validation:
    config = EvaluationConfig(every=every, episodes=6)
    tasks = [{"split": "valid", "game": game} for game in range(config.episodes)]
    return Validation(config, tasks, LocalPlayers([Pantry() for _ in range(3)], policy), policy, folder / "best", [0, 2])


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [1, 2, 3, 4]), (2, [2, 4])])
def test_evaluations_are_due_at_multiples(policy: LLMPolicy, tmp_path: Path, every: int, due: list[int]) -> None:
    validation = validation_of(policy, tmp_path, every=every)

    assert [iteration for iteration in range(1, 5) if validation.is_due(iteration)] == due


def test_the_same_iteration_is_evaluated_the_same_and_another_is_not(policy: LLMPolicy, tmp_path: Path) -> None:
    results = [validation_of(policy, tmp_path / str(run)).run(iteration) for run, iteration in enumerate((2, 2, 4, 6, 8))]

    assert results[0].keys() == METRICS
    assert results[0] == results[1]
    assert any(result != results[0] for result in results[2:])


def test_the_best_model_is_kept_and_comes_back(make_policy: MakePolicy, tmp_path: Path) -> None:
    policies = [make_policy(seed) for seed in range(4)]
    validation = validation_of(policies[0], tmp_path)
    merits = []
    for iteration, policy in enumerate(policies):
        validation.policy = policy
        result = validation.run(iteration)
        merits.append((result["evaluation/success_rate"], result["evaluation/progress_mean"]))
    winner = merits.index(max(merits))

    best = validation.best()
    validation.policy = make_policy(9)
    validation.restore_best()

    assert len(set(merits)) > 1
    assert best is not None
    assert best["iteration"] == winner
    for name, weights in policies[winner].model.state_dict().items():
        assert torch.equal(validation.policy.model.state_dict()[name], weights)


def test_without_an_evaluation_there_is_no_best_model(make_policy: MakePolicy, tmp_path: Path) -> None:
    policy = make_policy(0)
    validation = validation_of(policy, tmp_path)

    validation.restore_best()

    assert validation.best() is None
    assert torch.equal(next(policy.parameters()), next(make_policy(0).parameters()))


def test_a_damaged_best_model_is_refused(policy: LLMPolicy, tmp_path: Path) -> None:
    validation = validation_of(policy, tmp_path)
    validation.run(2)
    (tmp_path / "best" / "evaluation.json").write_text("{}")

    with pytest.raises(CheckpointError, match=r"evaluation\.json changed after writing"):
        validation.best()
