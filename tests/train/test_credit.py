"""Steps of hand-made episodes, where rewards land among them, and credit worked out by hand."""

import numpy as np
import pytest

from mise_gym.train.advantages import gae
from mise_gym.train.credit import Steps, critic_credit, explained_variance, group_credit
from mise_gym.train.decoding import Decision, TokenTrace


def trace_of(*places: list[int]) -> TokenTrace:
    """An episode whose turns begin at tokens 10, 20, 30, ... and choose the tokens at some places in them."""
    decisions = [
        Decision(position=10 * (turn + 1) + place, turn=turn, allowed=(1, 2), choice=0, logprob=-0.7)
        for turn, chosen in enumerate(places)
        for place in chosen
    ]
    return TokenTrace(list(range(10 * len(places) + 10)), decisions, [10 * (turn + 1) - 1 for turn in range(len(places))])


TWO_NONE_ONE = trace_of([0, 3], [], [2])
"""Two choices, then a forced turn, then one choice."""


def test_turns_are_steps_that_share_what_their_tokens_did() -> None:
    assert Steps.of(TWO_NONE_ONE, "turn") == Steps(positions=[9, 19, 29], turns=[0, 1, 2], of_decisions=[0, 0, 2])


def test_every_chosen_token_is_a_step_and_so_is_a_turn_without_a_choice() -> None:
    assert Steps.of(TWO_NONE_ONE, "token") == Steps(positions=[9, 12, 19, 31], turns=[0, 0, 1, 2], of_decisions=[0, 1, 3])


def test_a_turns_reward_lands_on_its_last_token() -> None:
    steps = Steps.of(TWO_NONE_ONE, "token")

    assert steps.rewards(np.array([0.5, 0.25, 1.0])).tolist() == [0.0, 0.5, 0.25, 1.0]


def test_what_follows_is_discounted_between_turns_only() -> None:
    assert Steps.of(TWO_NONE_ONE, "token").discounts(0.9).tolist() == [1.0, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(("level", "sums"), [("turn", [3.0, 0.0, 4.0]), ("token", [1.0, 2.0, 0.0, 4.0])])
def test_what_decisions_cost_is_added_up_in_their_step(level: str, sums: list[float]) -> None:
    assert Steps.of(TWO_NONE_ONE, level).sums(np.array([1.0, 2.0, 4.0])).tolist() == sums


def test_an_episode_without_a_choice_has_steps_all_the_same() -> None:
    steps = Steps.of(trace_of([], []), "token")

    assert steps == Steps(positions=[9, 19], turns=[0, 1], of_decisions=[])
    assert steps.sums(np.array([])).tolist() == [0.0, 0.0]


def test_tokens_and_turns_are_the_same_steps_where_every_turn_has_one_token() -> None:
    single = trace_of([0], [0], [0])

    assert Steps.of(single, "token") == Steps.of(single, "turn")


def test_token_advantages_worked_out_by_hand() -> None:
    steps = Steps.of(TWO_NONE_ONE, "token")
    values = np.array([1.0, 2.0, 0.0, 4.0])

    advantages, value_targets = gae(steps.rewards(np.array([1.0, 0.0, 2.0])), values, gamma=steps.discounts(0.5), gae_lambda=0.5)

    # TD errors: 0 + 2 - 1 = 1;  1 + 0.5 * 0 - 2 = -1;  0 + 0.5 * 4 - 0 = 2;  2 - 4 = -2
    # carried back with 0.5 * 0.5 between turns and with 0.5 within the first
    assert advantages.tolist() == [1 + 0.5 * -0.625, -1 + 0.25 * 1.5, 2 - 0.25 * 2, -2]
    assert value_targets.tolist() == (advantages + values).tolist()


def test_a_critics_credit_is_gae_normalised_over_all_episodes() -> None:
    steps = [Steps.of(trace_of([0], [0]), "turn"), Steps.of(trace_of([0]), "turn")]
    rewards, values = [np.array([0.0, 1.0]), np.array([0.5])], [np.array([[0.2, 0.1], [0.4, -0.2]]), np.array([[0.3, 0.6]])]
    known = [np.array([0.0, -0.25]), np.array([0.5])]

    credit = critic_credit(rewards, values, known, steps, gamma=0.9, gae_lambda=0.8)

    own = [np.array([-0.1, -0.05]), np.array([-0.1])]  # known less what was expected of it
    raw = np.concatenate(
        [gae(r, v[:, 0], gamma=0.9, gae_lambda=0.8)[0] + k for r, v, k in zip(rewards, values, own, strict=True)]
    )
    assert np.concatenate(credit.advantages) == pytest.approx((raw - raw.mean()) / raw.std(), abs=1e-6)
    assert credit.value_targets[1].tolist() == [[0.5, 0.5]]


def test_groups_are_formed_in_a_row_and_do_not_see_each_other() -> None:
    rewards = [np.array([1.0]), np.array([0.0]), np.array([30.0]), np.array([10.0])]

    credit = group_credit(rewards, [np.zeros(1)] * 4, group_size=2, baseline="rloo", gamma=1.0)

    assert np.concatenate(credit.advantages).tolist() == [1.0, -1.0, 20.0, -20.0]


def test_per_turn_rewards_make_per_turn_credit_in_a_group() -> None:
    rewards, known = [np.array([1.0, 0.5]), np.array([0.0, 0.5])], [np.array([0.0, 0.25]), np.zeros(2)]

    credit = group_credit(rewards, known, group_size=2, baseline="rloo", gamma=1.0)

    assert [part.tolist() for part in credit.advantages] == [[1.0, 0.25], [-1.0, 0.0]]
    assert [part.tolist() for part in credit.value_targets] == [[[1.5, 0.0], [0.5, 0.25]], [[0.5, 0.0], [0.5, 0.0]]]


def test_all_steps_of_a_turn_can_be_given_what_the_turn_has() -> None:
    steps = Steps.of(TWO_NONE_ONE, "token")

    assert steps.spread(np.array([3.0, 5.0, 7.0])).tolist() == [3.0, 3.0, 5.0, 7.0]


@pytest.mark.parametrize(("values", "share"), [([1.0, 3.0], 1.0), ([2.0, 2.0], 0.0), ([3.0, 1.0], -3.0)])
def test_explained_variance_is_one_for_a_perfect_critic_and_negative_for_a_misleading_one(
    values: list[float], share: float
) -> None:
    told = [np.stack([values, [5.0, -5.0]], -1)]  # what it says of a step's own credit does not count
    assert explained_variance(told, [np.array([[1.0, 0.0], [3.0, 0.0]])]) == pytest.approx(share)


def test_explained_variance_of_returns_that_are_all_equal_is_zero() -> None:
    assert explained_variance([np.array([[1.0, 0.0], [2.0, 0.0]])], [np.array([[0.5, 0.0], [0.5, 0.0]])]) == 0.0
