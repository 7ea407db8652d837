"""compare: what differs between two relabellings."""

import pytest

from mise_gym.errors import TrajectoryFormatError
from mise_gym.rewards import JudgeStatus, RewardBreakdown
from mise_gym.rewards.comparison import compare, rank_correlation
from mise_gym.rewards.labels import with_labels
from mise_gym.trajectories import write_episodes
from mise_gym.types import Episode, Transition


def episode(scores, *, calibrated=None, won=False, texts="abcdef"):
    """One turn per score; a score of ``None`` in place of all means that the judge failed."""
    num_turns = len(scores) if scores is not None else 2
    turns = tuple(
        Transition(observation=texts[i], action=f"do {i}", reward=0.0, next_observation=texts[i + 1]) for i in range(num_turns)
    )
    bare = Episode(task="t", transitions=turns, progress=float(won), success=won, terminated=won, truncated=not won)
    zeros = (0.0,) * num_turns
    labels = RewardBreakdown(
        env_rewards=zeros,
        scores=scores,
        calibrated=calibrated or scores,
        step_rewards=calibrated or scores or zeros,
        status=JudgeStatus.TIMEOUT if scores is None else JudgeStatus.OK,
        judge={"name": "x", "calls": 0, "tokens": 0, "seconds": 0.0},
    )
    return with_labels(bare, labels)


@pytest.fixture
def differ(tmp_path):
    def differ(first, second):
        write_episodes(tmp_path / "a.jsonl", first)
        write_episodes(tmp_path / "b.jsonl", second)
        return compare(tmp_path / "a.jsonl", tmp_path / "b.jsonl")

    return differ


def test_the_same_labels_do_not_differ(differ):
    episodes = [episode((0.1, 0.5), won=True), episode((0.9, 0.3), texts="axc")]
    found = differ(episodes, episodes)

    assert (found.score_difference, found.absolute_difference, found.score_flips, found.largest) == (0.0, 0.0, 0.0, ())
    assert found.rank_correlation == pytest.approx(1.0)
    assert found.epic == pytest.approx(0.0, abs=1e-7)
    assert found.starc == pytest.approx(0.0, abs=1e-7)


def test_differences_of_scores_by_hand(differ):
    found = differ([episode((0.2, 0.4)), episode((0.6,))], [episode((0.3, 0.2)), episode((0.9,))])

    assert found.score_difference == pytest.approx((0.1 - 0.2 + 0.3) / 3)
    assert found.absolute_difference == pytest.approx(0.2)
    assert found.rank_correlation == pytest.approx(0.5)
    assert found.rank_correlation_within == pytest.approx(-1.0)


def test_the_largest_differences_come_first_with_their_places(differ):
    found = differ([episode((0.2, 0.4)), episode((0.6,))], [episode((0.3, 0.4)), episode((0.9,))])

    assert [(turn.episode, turn.turn, turn.action) for turn in found.largest] == [(2, 1, "do 0"), (1, 1, "do 0")]
    assert found.largest[0].scores == (0.6, 0.9)


def test_a_flip_is_above_one_mean_and_below_the_other(differ):
    found = differ([episode((0.7, 0.8, 0.9, 1.0))], [episode((0.1, 0.3, 0.2, 0.4))])

    assert found.score_flips == 0.5


def test_a_reward_flip_is_paid_by_one_and_punished_by_the_other(differ):
    first = [episode((0.7, 0.8, 0.9, 1.0), calibrated=(-1.0, 0.0, 1.0, 2.0))]
    second = [episode((0.7, 0.8, 0.9, 1.0), calibrated=(0.5, 1.0, 1.0, 2.0))]

    assert differ(first, second).reward_flips == 0.25


def test_episodes_that_one_judge_failed_on_are_counted_and_left_out(differ):
    found = differ([episode((0.5, 0.6)), episode(None)], [episode((0.5, 0.6)), episode((0.5, 0.6))])

    assert (found.episodes, found.turns, [judge.failed for judge in found.judges]) == (1, 2, [1, 0])


def test_other_episodes_are_refused(differ):
    with pytest.raises(TrajectoryFormatError, match=r"Episode 1 of .* is not the same"):
        differ([episode((0.5, 0.6))], [episode((0.5, 0.6), texts="xyz")])


def test_a_shorter_file_is_refused(differ):
    with pytest.raises(TrajectoryFormatError, match=r"Episode 2 of .* is not the same"):
        differ([episode((0.5, 0.6))] * 2, [episode((0.5, 0.6))])


def test_files_without_a_common_score_are_refused(differ):
    with pytest.raises(TrajectoryFormatError, match="No episode of"):
        differ([episode(None)], [episode((0.5, 0.6))])


def test_rank_correlation_shares_the_ranks_of_ties():
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(0.8660254)


def test_a_constant_has_no_rank_correlation():
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
