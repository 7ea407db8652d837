"""The figures of merit of a handful of episodes, worked out by hand; and the pictures of a run without training."""

from pathlib import Path

import numpy as np
import pytest

from mise_gym.train.evaluate import Evaluation
from mise_gym.train.plots import plot_reliability, plot_rewards, plot_success
from mise_gym.types import Episode, Transition

TURN = Transition(observation="", action="", reward=0.0, next_observation="")


def episode(progress: float, good_turns: list[int]) -> Episode:
    return Episode(
        task="",
        transitions=(TURN,) * len(good_turns),
        progress=progress,
        success=progress == 1,
        terminated=True,
        truncated=False,
        extra={"good_turns": good_turns},
    )


@pytest.fixture
def evaluation() -> Evaluation:
    episodes = [episode(1.0, [1, 1]), episode(0.5, [1, 0, 0]), episode(0.0, [0])]
    return Evaluation(episodes, [np.array([0.8, 0.6]), np.array([0.9, 0.6, 0.3]), np.array([0.4])], np.array([0.9, 0.7, 0.2]))


def test_figures_per_episode_compare_beliefs_with_outcomes(evaluation: Evaluation) -> None:
    summary = evaluation.summary()

    assert summary["success"] == pytest.approx(1 / 3)
    assert summary["progress"] == pytest.approx(0.5)
    assert summary["turns"] == 2
    assert summary["overconfidence"] == pytest.approx((0.7 - 0.5 + 0.2 - 0.0) / 2)
    assert summary["overconfidence_all"] == pytest.approx((0.9 + 0.7 + 0.2) / 3 - 0.5)
    assert summary["auroc"] == 1.0
    assert summary["brier"] == pytest.approx((0.1**2 + 0.2**2 + 0.2**2) / 3)


def test_figures_per_turn_compare_scores_with_the_simulators_verdict(evaluation: Evaluation) -> None:
    summary = evaluation.summary()

    # turns of failed episodes: scores 0.9, 0.6, 0.3, 0.4 against 1, 0, 0, 0
    assert summary["turn_overconfidence"] == pytest.approx((0.9 + 0.6 + 0.3 + 0.4) / 4 - 0.25)
    # only the second episode has good and bad turns: 0.9 against 0.6 and 0.3
    assert summary["turn_auroc"] == 1.0


def test_credit_compares_turns_of_the_same_episode_only() -> None:
    episodes = [episode(1.0, [1, 1, 0]), episode(0.0, [1, 0]), episode(0.0, [0, 0])]
    beliefs = np.array([0.9, 0.1, 0.1])
    echo = Evaluation(episodes, [np.full(3, 0.9), np.full(2, 0.1), np.full(2, 0.1)], beliefs).summary()
    credit = Evaluation(episodes, [np.array([0.4, 0.2, 0.3]), np.array([0.9, 0.8]), np.full(2, 0.7)], beliefs).summary()

    assert echo["turn_auroc"] == 0.5
    assert credit["turn_auroc"] == pytest.approx((1 / 2 + 1) / 2)


def test_figures_that_need_failures_are_none_without_them() -> None:
    summary = Evaluation([episode(1.0, [1])], [np.array([0.5])], np.array([0.5])).summary()

    assert summary["overconfidence"] is summary["turn_overconfidence"] is summary["auroc"] is None
    assert summary["turn_auroc"] is None


def test_a_run_without_iterations_can_be_drawn(tmp_path: Path, evaluation: Evaluation) -> None:
    plot_success([], [], 0.2, 0.2, tmp_path / "success.png")
    plot_rewards([], tmp_path / "rewards.png")
    plot_reliability({"before": evaluation}, tmp_path / "reliability.png")

    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 3
