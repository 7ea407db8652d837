"""What the self-evaluation is taught: what a score says about outcomes, and not the outcome itself."""

import numpy as np
import pytest

from mise_gym.rewards.base import JudgeStatus, RewardBreakdown
from mise_gym.train.targets import BeliefTargets
from mise_gym.types import Episode, Transition


def episode(scores: list[float] | None, progress: float, turns: int = 4) -> tuple[Episode, RewardBreakdown]:
    transitions = tuple(Transition(observation="", action="", reward=0.0, next_observation="") for _ in range(turns))
    nothing = (0.0,) * turns
    judged = RewardBreakdown(
        env_rewards=nothing,
        scores=None if scores is None else tuple(scores),
        calibrated=None,
        step_rewards=nothing,
        status=JudgeStatus.OK,
        judge={},
    )
    whole = Episode(task="", transitions=transitions, progress=progress, success=progress == 1, terminated=True, truncated=False)
    return whole, judged


def learn(targets: BeliefTargets, *pairs: tuple[Episode, RewardBreakdown]) -> list[np.ndarray]:
    return targets.learn([whole for whole, _ in pairs], [judged for _, judged in pairs])


def many() -> list[tuple[Episode, RewardBreakdown]]:
    """An over-confident judge who tells turns apart: three good turns of four win, one of four loses."""
    return [episode([0.9, 0.9, 0.9, 0.7], 1.0), episode([0.9, 0.7, 0.7, 0.7], 0.0)] * 50


def test_turns_with_the_same_score_have_the_same_target_however_their_episodes_ended() -> None:
    won, lost = learn(BeliefTargets(), *many())[:2]

    assert won[0] == lost[0]
    assert won[3] == lost[3]


def test_the_ranking_of_turns_stays_and_the_level_becomes_that_of_the_outcomes() -> None:
    targets = learn(BeliefTargets(), *many())

    assert targets[0][0] > 0.6 > 0.4 > targets[0][3]
    assert np.mean(np.concatenate(targets)) == pytest.approx(0.5, abs=0.02)


def test_an_episode_that_could_not_be_judged_has_its_outcome_and_teaches_nothing() -> None:
    targets = BeliefTargets()
    before = learn(targets, *many())[0]

    (unjudged,) = learn(targets, episode(None, 0.25))

    assert unjudged.tolist() == [0.25] * 4
    assert learn(targets, many()[0])[0] == pytest.approx(before, abs=0.02)


def test_a_restored_state_says_the_same() -> None:
    targets, restored = BeliefTargets(), BeliefTargets()
    learn(targets, *many())
    restored.load_state_dict(targets.state_dict())

    assert learn(restored, many()[1])[0].tolist() == learn(targets, many()[1])[0].tolist()
