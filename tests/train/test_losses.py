"""The loss terms against torch's own distributions, vanilla policy gradients and hand-computed numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.nn.functional import binary_cross_entropy

from mise_gym.train.losses import bernoulli_kl, calibration_reward, entropy, mean, policy_loss, reference_kl, value_loss

NO_CHOICE = torch.zeros(3, dtype=torch.long)
"""For estimators that do not look at it."""
SCORES = ["brier", "log"]


def padded_logprobs(seed: int) -> Tensor:
    """Three decisions of two, three and four options; the rest is padding. Shape ``(3, 4)``."""
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))
    padding = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=torch.bool)
    return logits.masked_fill(padding, -torch.inf).requires_grad_()


def rows(logits: Tensor) -> list[Categorical]:
    return [Categorical(logits=row[row.isfinite()].detach()) for row in logits]


def gradient_at(log_ratio: float, advantage: float) -> float:
    logprobs = torch.tensor([-1.0 + log_ratio], requires_grad=True)
    policy_loss(logprobs, torch.tensor([-1.0]), torch.tensor([advantage]), clip_range=0.2).loss.backward()
    assert logprobs.grad is not None
    return float(logprobs.grad)


@pytest.mark.parametrize(("log_ratio", "advantage"), [(0.2, 1.0), (1.0, 3.0), (-0.3, -1.0), (-2.0, -0.5)])
def test_the_gradient_stops_once_the_ratio_has_left_the_clip_range_the_right_way(log_ratio: float, advantage: float) -> None:
    assert gradient_at(log_ratio, advantage) == 0


@pytest.mark.parametrize(("log_ratio", "advantage"), [(0.5, -1.0), (-0.5, 1.0), (0.1, 1.0), (-0.1, -1.0)])
def test_the_gradient_goes_on_where_the_policy_got_worse_or_is_inside_the_clip_range(log_ratio: float, advantage: float) -> None:
    ratio = torch.tensor(log_ratio).exp()

    assert gradient_at(log_ratio, advantage) == pytest.approx(float(-ratio * advantage))


def test_at_ratio_one_it_is_the_vanilla_policy_gradient() -> None:
    logprobs = torch.tensor([-0.5, -1.0, -2.0], requires_grad=True)
    advantages = torch.tensor([1.0, -2.0, 0.5])

    policy_loss(logprobs, logprobs.detach(), advantages, clip_range=0.2).loss.backward()

    assert logprobs.grad is not None
    assert torch.allclose(logprobs.grad, -advantages / 3)


@pytest.mark.parametrize(("log_ratio", "moves"), [(0.25, True), (0.5, False), (-0.25, True)])
def test_a_higher_upper_clip_lets_good_choices_grow_further(log_ratio: float, moves: bool) -> None:
    logprobs = torch.tensor([log_ratio], requires_grad=True)

    policy_loss(logprobs, torch.zeros(1), torch.ones(1), clip_range=0.2, clip_range_high=0.5).loss.backward()

    assert logprobs.grad is not None
    assert bool(logprobs.grad != 0) == moves


def test_the_gradient_over_all_actions_is_the_closed_form_of_a_softmax_policy() -> None:
    """d/dlogit_k of -E[A] is -pi_k (A_k - E_pi[A]), whatever policy played, as long as no ratio is clipped."""
    logits = torch.tensor([0.1, -0.4, 0.7, 0.2], requires_grad=True)
    old = torch.tensor([0.15, -0.35, 0.6, 0.2]).log_softmax(-1)
    advantages = torch.tensor([1.0, -2.0, 0.5, 0.0])
    weighted = 4 * old.exp() * advantages  # every action once, for the mean over old's samples

    policy_loss(logits.log_softmax(-1), old, weighted, clip_range=0.2).loss.backward()

    probs = logits.detach().softmax(-1)
    assert torch.allclose(logits.grad, -probs * (advantages - probs @ advantages), atol=1e-6)


def test_clip_fraction_counts_the_ratios_outside_the_range() -> None:
    old = torch.zeros(4)

    surrogate = policy_loss(torch.tensor([0.0, 0.1, 0.5, -0.5]), old, torch.ones(4), clip_range=0.2)

    assert surrogate.clip_fraction == 0.5


def test_approx_kl_averages_to_the_exact_kl() -> None:
    old, new = (Categorical(logits=row) for row in torch.randn(2, 5, generator=torch.Generator().manual_seed(0)))
    surrogates = [policy_loss(new.logits[[k]], old.logits[[k]], torch.ones(1), clip_range=0.2) for k in range(5)]

    expected = sum(float(p * surrogate.approx_kl) for p, surrogate in zip(old.probs, surrogates, strict=True))

    assert expected == pytest.approx(float(kl_divergence(old, new)), rel=1e-5)


def test_value_loss_is_half_the_mean_squared_error_of_both_predictions() -> None:
    values, value_targets = torch.tensor([[1.0, 0.5], [2.0, 3.0]]), torch.tensor([[0.0, 0.5], [4.0, 0.0]])

    assert value_loss(values, value_targets) == 0.5 * (1 + 4 + 9) / 2


def test_entropy_agrees_with_torch_and_ignores_padding() -> None:
    logits = padded_logprobs(0)

    expected = torch.stack([row.entropy() for row in rows(logits)])

    assert entropy(logits.log_softmax(-1)).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_reference_kl_agrees_with_torch_and_ignores_padding() -> None:
    logits, ref_logits = padded_logprobs(0), padded_logprobs(1)

    expected = [kl_divergence(p, q).item() for p, q in zip(rows(logits), rows(ref_logits), strict=True)]

    kl = reference_kl(logits.log_softmax(-1), ref_logits.log_softmax(-1), NO_CHOICE, estimator="exact")
    assert kl.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def sampled_kls(logits: Tensor, ref_logits: Tensor, estimator: Any) -> Tensor:
    """Return the estimate for every possible choice of one decision. Shape ``(A,)``."""
    options = len(logits)
    logprobs, ref_logprobs = (each.log_softmax(-1).expand(options, options) for each in (logits, ref_logits))
    return reference_kl(logprobs, ref_logprobs, torch.arange(options), estimator=estimator)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_sampled_estimates_average_to_the_exact_kl(estimator: str) -> None:
    logits, ref_logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))

    expected = logits.softmax(-1) @ sampled_kls(logits, ref_logits, estimator)

    assert expected.item() == pytest.approx(kl_divergence(Categorical(logits=logits), Categorical(logits=ref_logits)).item())


def test_k1_may_be_negative_and_k3_never_is() -> None:
    logits, ref_logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))

    assert sampled_kls(logits, ref_logits, "k1").min() < 0
    assert sampled_kls(logits, ref_logits, "k3").min() >= 0


def test_as_a_loss_k1_pulls_nowhere_and_k3_to_the_reference() -> None:
    logits, ref_logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    played = logits.detach().softmax(-1)

    gradients = {
        estimator: torch.autograd.grad(played @ sampled_kls(logits, ref_logits, estimator), logits)[0]
        for estimator in ("k1", "k3")
    }

    assert gradients["k1"].abs().max() < 1e-6
    assert torch.allclose(gradients["k3"], played - ref_logits.softmax(-1), atol=1e-6)  # that of KL(reference || policy)


def test_a_batch_without_a_decision_has_no_loss_and_not_nan() -> None:
    assert mean(torch.zeros(0)) == 0
    assert policy_loss(torch.zeros(0), torch.zeros(0), torch.zeros(0), clip_range=0.2).loss == 0


@pytest.mark.parametrize("estimator", ["exact", "k1", "k3"])
def test_padding_makes_no_gradient_nan(estimator: Any) -> None:
    logits, ref_logits = padded_logprobs(0), padded_logprobs(1)

    kl = reference_kl(logits.log_softmax(-1), ref_logits.log_softmax(-1), NO_CHOICE, estimator=estimator)
    (entropy(logits.log_softmax(-1)) + kl).mean().backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, :2] != 0).all()


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("success_rate", [0.0, 0.02, 0.1, 0.37, 0.5, 0.98, 1.0])
def test_the_calibration_reward_is_highest_for_the_true_success_rate_and_nowhere_else(success_rate: float, score: Any) -> None:
    beliefs = torch.linspace(0, 1, 1001, dtype=torch.float64)

    expected = success_rate * calibration_reward(beliefs, torch.ones(1001), score=score)
    expected += (1 - success_rate) * calibration_reward(beliefs, torch.zeros(1001), score=score)

    assert beliefs[expected.argmax()].item() == pytest.approx(success_rate)
    falls_on_both_sides = torch.diff(expected).sign() == torch.where(beliefs[1:] <= success_rate + 1e-9, 1, -1)
    assert falls_on_both_sides.all()


@pytest.mark.parametrize("score", SCORES)
def test_the_calibration_reward_is_highest_for_the_mean_of_partial_outcomes(score: Any) -> None:
    beliefs = torch.linspace(0, 1, 101)[:, None]

    expected = calibration_reward(beliefs, torch.tensor([[0.1, 0.2, 0.9]]), score=score).mean(1)

    assert beliefs[expected.argmax()].item() == pytest.approx(0.4)


@pytest.mark.parametrize("score", SCORES)
def test_the_calibration_reward_is_between_zero_and_one(score: Any) -> None:
    beliefs, outcomes = torch.linspace(0, 1, 11)[:, None], torch.linspace(0, 1, 11)[None, :]

    rewards = calibration_reward(beliefs, outcomes, score=score)

    assert (rewards.min().item(), rewards.max().item()) == pytest.approx((0, 1), abs=1e-6)


def test_the_logarithm_is_the_cross_entropy_inside_its_bounds() -> None:
    beliefs, outcomes = torch.tensor([0.02, 0.3, 0.98]), torch.tensor([0.0, 0.6, 1.0])
    gains = calibration_reward(beliefs, outcomes, score="log") - calibration_reward(torch.full((3,), 0.5), outcomes, score="log")

    expected = binary_cross_entropy(torch.full((3,), 0.5), outcomes, reduction="none")
    expected = expected - binary_cross_entropy(beliefs, outcomes, reduction="none")

    assert torch.allclose(gains / gains[0], expected / expected[0])


@pytest.mark.parametrize("score", SCORES)
def test_a_judge_who_was_sure_and_wrong_is_led_back(score: Any) -> None:
    belief = torch.tensor([0.999], requires_grad=True)

    calibration_reward(belief, torch.zeros(1), score=score).sum().backward()

    assert belief.grad is not None
    assert belief.grad < -1


def test_bernoulli_kl_agrees_with_torch() -> None:
    logits, ref_logits = torch.tensor([-3.0, 0.0, 2.0, 5.0]), torch.tensor([1.0, 0.0, -2.0, 4.0])

    expected = kl_divergence(Bernoulli(logits=logits), Bernoulli(logits=ref_logits))

    assert torch.allclose(bernoulli_kl(logits, ref_logits), expected, atol=1e-6)


def test_bernoulli_kl_stays_finite_for_certain_beliefs() -> None:
    logits = torch.tensor([100.0, -100.0], requires_grad=True)

    kl = bernoulli_kl(logits, torch.tensor([-100.0, -100.0]))
    kl.sum().backward()

    assert kl.tolist() == pytest.approx([100, 0])
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
