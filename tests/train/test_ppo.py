"""One update: what it reads, what it moves, and what it leaves alone."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import JudgeStatus, RewardBreakdown
from mise_gym.train.batch import Batch, to_batch, with_hindsight
from mise_gym.train.credit import Steps
from mise_gym.train.critic import CriticKind
from mise_gym.train.losses import reference_kl
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ppo import JudgeRole, PPOConfig, PPOLearner
from mise_gym.train.reading import read, read_anchor, read_logprobs
from mise_gym.train.rollout import Rollout, collect
from tests.train.conftest import MakePolicy, play
from tests.train.pantry import Pantry

ONLY_POLICY = PPOConfig(
    num_epochs=1,
    minibatch_episodes=1000,
    learning_rate=1e-3,
    critic_learning_rate=1e-3,
    gamma=1.0,
    gae_lambda=1.0,
    clip_range=0.2,
    vf_coef=0.0,
    ent_coef=0.0,
    kl_coef=0.0,
    target_kl=1e9,
    max_grad_norm=1.0,
    calibration_coef=0.0,
    anchor_coef=0.0,
)
"""Every term but the surrogate is off."""


def pay(*step_rewards: list[float]) -> list[RewardBreakdown]:
    return [
        RewardBreakdown(
            env_rewards=tuple(rewards), scores=None, calibrated=None, step_rewards=tuple(rewards), status=JudgeStatus.OK, judge={}
        )
        for rewards in step_rewards
    ]


def pay_nothing(rollout: Rollout) -> list[RewardBreakdown]:
    return pay(*([0.0] * len(episode) for episode in rollout.episodes))


def expect_nothing(policy: LLMPolicy) -> None:
    """Make the critic say 0, so that without rewards all advantages are 0."""
    torch.nn.init.zeros_(policy.value_head.head[-1].weight)
    torch.nn.init.zeros_(policy.value_head.head[-1].bias)


def update(
    policy: LLMPolicy, rollout: Rollout, rewards: list[RewardBreakdown], judge: JudgeRole = "measured", **knobs: Any
) -> Any:
    learner = PPOLearner(policy, copy.deepcopy(policy), replace(ONLY_POLICY, **knobs), judge=judge)
    return learner.update(rollout, rewards, np.random.default_rng(0))


def whole_batch(policy: LLMPolicy, rollout: Rollout) -> Batch:
    return to_batch(policy, [with_hindsight(policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)])


@torch.no_grad()
def logprob_of(policy: LLMPolicy, rollout: Rollout, row: int) -> float:
    batch = whole_batch(policy, Rollout(rollout.episodes[row : row + 1], rollout.traces[row : row + 1]))
    return float(read_logprobs(policy, batch).sum())


def table_of(policy: LLMPolicy, batch: Batch) -> Tensor:
    """Return the log-probabilities of all allowed tokens. Shape ``(N, A)``."""
    features = policy.features(batch.ids)[batch.decisions.rows, batch.decisions.columns]
    return policy.allowed_logits(features, batch.allowed).log_softmax(-1)


@torch.no_grad()
def scores_and_beliefs(policy: LLMPolicy, rollout: Rollout) -> tuple[Tensor, Tensor]:
    batch = whole_batch(policy, rollout)
    reading = read(policy, batch, read_anchor(policy, batch), "exact")
    return reading.score_logits.sigmoid(), reading.belief_logits.sigmoid()


def scores_of(policy: LLMPolicy, rollout: Rollout) -> Tensor:
    return scores_and_beliefs(policy, rollout)[0]


def test_probabilities_sum_to_one_over_the_allowed_tokens_only(policy: LLMPolicy, rollout: Rollout) -> None:
    batch = whole_batch(policy, rollout)

    probs = table_of(policy, batch).exp()

    assert torch.allclose(probs.sum(-1), torch.ones(len(probs)))
    assert (probs[batch.allowed < 0] == 0).all()
    assert (batch.allowed < 0).any()


def test_the_learner_reads_what_the_policy_says_about_itself(policy: LLMPolicy, rollout: Rollout) -> None:
    said = policy.self_evaluate(rollout.episodes)

    scores, beliefs = scores_and_beliefs(policy, rollout)

    assert scores.tolist() == pytest.approx(np.concatenate([each.scores for each in said]), abs=1e-5)
    assert beliefs.tolist() == pytest.approx([each.belief for each in said], abs=1e-5)


@pytest.mark.parametrize("row", [1, 2])
def test_an_episode_that_paid_more_than_the_others_becomes_likelier(policy: LLMPolicy, rollout: Rollout, row: int) -> None:
    expect_nothing(policy)
    rewards = pay_nothing(rollout)
    rewards[row] = pay([1.0] * len(rollout.episodes[row]))[0]
    before = logprob_of(policy, rollout, row)

    update(policy, rollout, rewards)

    assert logprob_of(policy, rollout, row) > before + 0.01


def turn_logprobs(policy: LLMPolicy, rollout: Rollout, row: int) -> list[float]:
    """Return, turn by turn, the log-probability of what was chosen in an episode."""
    batch = whole_batch(policy, Rollout(rollout.episodes[row : row + 1], rollout.traces[row : row + 1]))
    with torch.no_grad():
        logprobs = read_logprobs(policy, batch).double().numpy()
    return np.bincount(batch.decision_steps.numpy(), logprobs, len(rollout.episodes[row])).tolist()


@pytest.mark.parametrize(("credit", "earlier_turns_too"), [("turn", False), ("return", True)])
def test_a_hindsight_reward_is_credit_for_its_own_turn_or_a_reward_like_any_other(
    policy: LLMPolicy, rollout: Rollout, credit: str, earlier_turns_too: bool
) -> None:
    expect_nothing(policy)
    rewards = pay_nothing(rollout)
    turns = len(rollout.episodes[1])
    rewards[1] = replace(rewards[1], step_rewards=(*[0.0] * (turns - 1), 1.0))  # the environment paid nothing
    before = turn_logprobs(policy, rollout, 1)

    losses = update(policy, rollout, rewards, learning_rate=1e-4, hindsight_credit=credit, vf_coef=1.0)

    gains = np.subtract(turn_logprobs(policy, rollout, 1), before)
    assert gains[-1] > 0
    assert (gains[:-1].sum() > 0) == earlier_turns_too
    targets = [1.0] * turns if earlier_turns_too else [1.0]  # of the return, or of the last turn's own credit
    assert losses["train/value_loss"] == pytest.approx(0.5 * sum(targets) / sum(map(len, rollout.episodes)))


@pytest.mark.parametrize("critic", ["detached", "separate"])
def test_where_no_step_has_credit_of_its_own_the_critic_expects_exactly_none(
    make_policy: MakePolicy, rollout: Rollout, critic: CriticKind
) -> None:
    policy = make_policy(0, critic=critic)
    batch = whole_batch(policy, rollout)

    def expected() -> torch.Tensor:
        with torch.no_grad():
            return policy.values(policy.features(batch.ids), batch.states).T

    _, before = expected()
    update(policy, rollout, pay(*([0.5] * len(episode) for episode in rollout.episodes)), vf_coef=1.0, num_epochs=3)
    returns, after = expected()

    assert not before.any()
    assert not after.any()
    assert returns.std() > 0


def test_credit_that_the_critic_expected_changes_nothing(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    policy.value_head.head[-1].bias.data[1] = 1.0
    rewards = [replace(r, step_rewards=(1.0,) * len(r.step_rewards)) for r in pay_nothing(rollout)]
    before = turn_logprobs(policy, rollout, 1)

    losses = update(policy, rollout, rewards, learning_rate=1e-3)

    assert turn_logprobs(policy, rollout, 1) == pytest.approx(before, abs=1e-5)
    assert losses["train/value_loss"] == pytest.approx(0, abs=1e-12)


def test_an_episode_that_paid_less_than_the_others_becomes_less_likely(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    rewards = pay_nothing(rollout)
    rewards[1] = pay([-1.0] * len(rollout.episodes[1]))[0]
    before = logprob_of(policy, rollout, 1)

    update(policy, rollout, rewards)

    assert logprob_of(policy, rollout, 1) < before - 0.01


def test_the_critic_moves_towards_the_returns(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    rewards = pay(*([0.5] * len(episode) for episode in rollout.episodes))

    losses = [update(policy, rollout, rewards, vf_coef=1.0, learning_rate=0.0)["train/value_loss"] for _ in range(5)]

    assert losses == sorted(losses, reverse=True)


def test_the_reference_stays_as_it_is(policy: LLMPolicy, rollout: Rollout) -> None:
    reference = copy.deepcopy(policy)
    frozen = copy.deepcopy(reference.state_dict())

    PPOLearner(policy, reference, ONLY_POLICY, judge="trained").update(rollout, pay_nothing(rollout), np.random.default_rng(0))

    assert all(torch.equal(weights, frozen[name]) for name, weights in reference.state_dict().items())
    assert not torch.equal(policy.state_dict()["model.model.norm.weight"], frozen["model.model.norm.weight"])


def test_a_strong_pull_keeps_the_policy_near_the_reference(policy: LLMPolicy, rollout: Rollout, make_policy: Any) -> None:
    rewards = pay(*([float(row % 2)] * len(episode) for row, episode in enumerate(rollout.episodes)))
    free, held = make_policy(0), make_policy(0)
    for one in (free, held):
        expect_nothing(one)

    drift = update(free, rollout, rewards, num_epochs=10)["train/reference_kl"]
    held_drift = update(held, rollout, rewards, num_epochs=10, kl_coef=100.0)["train/reference_kl"]

    assert held_drift < 0.3 * drift


def test_the_entropy_bonus_alone_makes_the_policy_less_decided(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)

    entropies = [update(policy, rollout, pay_nothing(rollout), ent_coef=1.0)["train/entropy"] for _ in range(4)]

    assert entropies == sorted(entropies)
    assert entropies[-1] > entropies[0] + 0.01


def test_the_calibration_reward_alone_moves_beliefs_towards_outcomes(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    outcomes = torch.tensor([episode.progress for episode in rollout.episodes])
    _, before = scores_and_beliefs(policy, rollout)

    update(policy, rollout, pay_nothing(rollout), judge="trained", calibration_coef=1.0, num_epochs=5)

    _, after = scores_and_beliefs(policy, rollout)
    assert ((after - outcomes) ** 2).mean() < 0.9 * ((before - outcomes) ** 2).mean()


def test_an_untrained_judge_has_no_part_in_the_loss(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    frozen = copy.deepcopy(policy.model.state_dict())

    losses = update(policy, rollout, pay_nothing(rollout), judge="measured", calibration_coef=5.0, anchor_coef=5.0)

    assert losses["train/gradient_norm"] == 0
    assert all(torch.equal(weights, frozen[name]) for name, weights in policy.model.state_dict().items())


def test_a_judge_that_pays_is_held_near_the_warm_start_while_the_policy_moves(rollout: Rollout, make_policy: Any) -> None:
    rewards = pay(*([float(row % 2)] * len(episode) for row, episode in enumerate(rollout.episodes)))
    drift = {}
    for judge in ("measured", "used"):
        policy = make_policy(0)
        expect_nothing(policy)
        before = scores_of(policy, rollout)
        update(policy, rollout, rewards, judge=judge, anchor_coef=1000.0, calibration_coef=5.0, num_epochs=30)
        drift[judge] = float((scores_of(policy, rollout) - before).square().mean())

    assert drift["used"] < 0.3 * drift["measured"]


def test_a_strong_anchor_keeps_scores_near_the_warm_start(rollout: Rollout, make_policy: Any) -> None:
    free, held = make_policy(0), make_policy(0)
    for one in (free, held):
        expect_nothing(one)
    scores = scores_of(free, rollout)
    knobs = {"judge": "trained", "calibration_coef": 1.0, "num_epochs": 10}

    update(free, rollout, pay_nothing(rollout), **knobs)
    update(held, rollout, pay_nothing(rollout), anchor_coef=1000.0, **knobs)

    drift, held_drift = ((scores_of(one, rollout) - scores).abs().max() for one in (free, held))
    assert held_drift < 0.3 * drift


def test_epochs_stop_once_the_policy_has_moved_far_enough(policy: LLMPolicy, rollout: Rollout) -> None:
    rewards = pay(*([float(row % 2)] * len(episode) for row, episode in enumerate(rollout.episodes)))

    losses = update(policy, rollout, rewards, num_epochs=50, learning_rate=1e-2, target_kl=0.01)

    assert 1 < losses["train/updates"] < 50


def test_small_minibatches_make_more_updates_of_the_same_episodes(policy: LLMPolicy, rollout: Rollout) -> None:
    assert update(policy, rollout, pay_nothing(rollout), minibatch_episodes=1)["train/updates"] == len(rollout.episodes)


def test_advantages_are_normalised_over_the_whole_rollout_and_not_per_minibatch(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    rewards = pay(*([float(row)] * len(episode) for row, episode in enumerate(rollout.episodes)))
    returns = [[row * (len(episode) - turn) for turn in range(len(episode))] for row, episode in enumerate(rollout.episodes)]
    mean, spread = np.mean(np.concatenate(returns)), np.std(np.concatenate(returns))
    per_episode = [
        -np.mean([(returns[row][decision.turn] - mean) / spread for decision in trace.decisions])
        for row, trace in enumerate(rollout.traces)
    ]

    losses = update(policy, rollout, rewards, minibatch_episodes=1, learning_rate=0.0)

    assert losses["train/policy_loss"] == pytest.approx(np.mean(per_episode), rel=1e-4)


OPTIONS: dict[str, dict[str, Any]] = {
    "token advantages": {"advantages": "token"},
    "separate critic": {"critic": "separate"},
    "token advantages and separate critic": {"advantages": "token", "critic": "separate"},
    "rloo": {"baseline": "rloo", "group_size": 4},
    "grpo": {"baseline": "grpo", "group_size": 4},
    "k1 in the reward": {"kl_estimator": "k1", "kl_penalty": "reward", "kl_coef": 0.1},
    "k3 in the loss": {"kl_estimator": "k3", "kl_coef": 0.1},
    "adaptive KL": {"kl_coef": 0.1, "reference_kl_target": 0.01},
    "scaled rewards": {"reward_scale": "running"},
    "clip higher": {"clip_range_high": 0.28},
    "rising and falling learning rate": {"warmup_iterations": 2, "learning_rate_schedule": "linear"},
    "log score": {"calibration_score": "log"},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_with_every_option_what_paid_becomes_likelier(make_policy: Any, option: str) -> None:
    knobs = {"gamma": 0.99, "gae_lambda": 0.95, "vf_coef": 0.5, "ent_coef": 0.01, **OPTIONS[option]}
    policy = make_policy(0, critic=knobs.get("critic", "detached"))
    rollout = play_groups(policy)
    rewards = pay(*([float(row % 4 == 1)] * len(episode) for row, episode in enumerate(rollout.episodes)))
    before = lead(policy, rollout)

    losses = update(policy, rollout, rewards, judge="trained", num_epochs=4, learning_rate=3e-3, **knobs)

    assert np.isfinite(list(losses.values())).all()
    assert lead(policy, rollout) > before + 0.01


def lead(policy: LLMPolicy, rollout: Rollout) -> float:
    """Return how much likelier the second of every four episodes is than the others, in nats."""
    logprobs = [logprob_of(policy, rollout, row) for row in range(len(rollout.episodes))]
    return float(np.mean(logprobs[1::4]) - np.mean([logprob for row, logprob in enumerate(logprobs) if row % 4 != 1]))


def play_groups(policy: LLMPolicy) -> Rollout:
    """Play two games four times each."""
    envs = [Pantry() for _ in range(8)]
    return collect(envs, [{"game": row // 4} for row in range(8)], policy, range(8))


def test_token_advantages_read_the_critic_at_every_choice(policy: LLMPolicy, rollout: Rollout) -> None:
    rewards = pay(*([0.5] * len(episode) for episode in rollout.episodes))
    batch = to_batch(
        policy, [with_hindsight(policy, e, t, "token") for e, t in zip(rollout.episodes, rollout.traces, strict=True)]
    )
    with torch.no_grad():
        values = policy.values(policy.features(batch.ids), batch.states)
    left_to_pay = [
        0.5 * (len(episode) - turn)
        for episode, trace in zip(rollout.episodes, rollout.traces, strict=True)
        for turn in Steps.of(trace, "token").turns
    ]

    losses = update(policy, rollout, rewards, advantages="token")

    assert len(values) > sum(len(episode) for episode in rollout.episodes)
    errors = values.numpy() - np.stack([left_to_pay, np.zeros(len(values))], -1)
    assert losses["train/value_loss"] == pytest.approx(0.5 * np.mean((errors**2).sum(-1)), rel=1e-4)


def test_a_group_baseline_weighs_every_choice_by_what_its_episode_paid_beyond_the_others(policy: LLMPolicy) -> None:
    rollout = play_groups(policy)
    rewards = pay(*([0.0] * (len(episode) - 1) + [float(row)] for row, episode in enumerate(rollout.episodes)))
    advantages = [row - (sum(range(row - row % 4, row - row % 4 + 4)) - row) / 3 for row in range(8)]
    weighed = [-advantages[row] for row, trace in enumerate(rollout.traces) for _ in trace.decisions]

    losses = update(policy, rollout, rewards, baseline="rloo", group_size=4)

    assert losses["train/policy_loss"] == pytest.approx(np.mean(weighed), rel=1e-4)


@pytest.mark.parametrize("baseline", ["rloo", "grpo"])
def test_a_group_baseline_trains_no_critic(policy: LLMPolicy, baseline: str) -> None:
    rollout = play_groups(policy)
    before = copy.deepcopy(policy.value_head.state_dict())

    update(policy, rollout, pay_nothing(rollout), baseline=baseline, group_size=4, vf_coef=1.0)

    assert all(torch.equal(weights, before[name]) for name, weights in policy.value_head.state_dict().items())


@pytest.mark.parametrize("group_size", [2, 3])
def test_a_group_of_episodes_that_did_not_start_alike_is_refused(policy: LLMPolicy, group_size: int) -> None:
    rollout = play(policy, games=8)  # every one another

    with pytest.raises(ConfigError, match=f"groups of {group_size} episodes, and these did not start alike"):
        update(policy, rollout, pay_nothing(rollout), baseline="rloo", group_size=group_size, episodes_per_iteration=6)


def test_a_kl_penalty_in_the_reward_is_paid_by_the_turn_that_strayed(
    policy: LLMPolicy, rollout: Rollout, make_policy: Any
) -> None:
    """With a critic that expects nothing, and nothing else paid, the returns are the penalties still to come."""
    expect_nothing(policy)
    reference = make_policy(1)
    batch = whole_batch(policy, rollout)
    with torch.no_grad():
        logprobs, ref_logprobs = (table_of(each, batch) for each in (policy, reference))
    penalties = 0.3 * reference_kl(logprobs, ref_logprobs, batch.choices, estimator="exact")
    of_turns = np.split(
        np.bincount(batch.decision_steps, penalties), np.cumsum([len(episode) for episode in rollout.episodes])[:-1]
    )
    to_come = np.concatenate([-np.cumsum(turns[::-1])[::-1] for turns in of_turns])
    config = replace(ONLY_POLICY, kl_coef=0.3, kl_penalty="reward")

    losses = PPOLearner(policy, reference, config, judge="measured").update(
        rollout, pay_nothing(rollout), np.random.default_rng(0)
    )

    advantages = (to_come - to_come.mean()) / to_come.std()
    assert losses["train/value_loss"] == pytest.approx(0.5 * np.mean(to_come**2), rel=1e-4)
    assert losses["train/policy_loss"] == pytest.approx(-advantages[batch.decision_steps].mean(), rel=1e-3)


def test_the_adapted_kl_coefficient_grows_while_the_policy_is_too_far_away(policy: LLMPolicy, make_policy: Any) -> None:
    rollout = play(policy)
    config = replace(ONLY_POLICY, kl_coef=0.5, reference_kl_target=1e-3)
    learner = PPOLearner(policy, make_policy(1), config, judge="measured")

    kl_coefs = [learner.update(rollout, pay_nothing(rollout), np.random.default_rng(0))["train/kl_coef"] for _ in range(2)]

    assert kl_coefs == pytest.approx([0.5 * 1.02, 0.5 * 1.02**2])


def test_scaled_rewards_give_returns_of_unit_size(policy: LLMPolicy, rollout: Rollout) -> None:
    expect_nothing(policy)
    rewards = pay(*([100.0 * (row % 2)] + [0.0] * (len(episode) - 1) for row, episode in enumerate(rollout.episodes)))
    returns = np.concatenate([np.cumsum(reward.step_rewards[::-1])[::-1] for reward in rewards])

    losses = update(policy, rollout, rewards, reward_scale="running")

    assert losses["train/reward_scale"] == pytest.approx(returns.std())
    assert losses["train/value_loss"] == pytest.approx(0.5 * np.mean((returns / returns.std()) ** 2))


def test_an_upper_clip_of_its_own_leaves_alone_what_became_likelier(rollout: Rollout, make_policy: Any) -> None:
    """Another policy than the one that played makes some choices likelier and some less likely."""
    narrow = {"clip_range": 0.0, "learning_rate": 0.0}

    on_both_sides = update(make_policy(1), rollout, pay_nothing(rollout), **narrow)["train/clip_fraction"]
    below = update(make_policy(1), rollout, pay_nothing(rollout), clip_range_high=1e9, **narrow)["train/clip_fraction"]

    assert 0 < below < on_both_sides


def test_the_learning_rate_follows_its_schedule(policy: LLMPolicy, rollout: Rollout) -> None:
    config = replace(ONLY_POLICY, iterations=4, warmup_iterations=1, learning_rate_schedule="linear")
    learner = PPOLearner(policy, copy.deepcopy(policy), config, judge="measured")

    rates = [learner.update(rollout, pay_nothing(rollout), np.random.default_rng(0))["train/learning_rate"] for _ in range(4)]

    assert rates == pytest.approx([0.5e-3, 0.75e-3, 0.5e-3, 0.25e-3])
