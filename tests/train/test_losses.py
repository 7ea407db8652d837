"""The loss terms against torch's own distributions, vanilla policy gradients and hand-computed numbers."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, kl_divergence

from mise_gym.train.losses import bernoulli_kl, calibration_reward, entropy, policy_loss, reference_kl, value_loss


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


def test_clip_fraction_counts_the_ratios_outside_the_range() -> None:
    old = torch.zeros(4)

    surrogate = policy_loss(torch.tensor([0.0, 0.1, 0.5, -0.5]), old, torch.ones(4), clip_range=0.2)

    assert surrogate.clip_fraction == 0.5


def test_approx_kl_averages_to_the_exact_kl() -> None:
    old, new = (Categorical(logits=row) for row in torch.randn(2, 5, generator=torch.Generator().manual_seed(0)))
    surrogates = [policy_loss(new.logits[[k]], old.logits[[k]], torch.ones(1), clip_range=0.2) for k in range(5)]

    expected = sum(float(p * surrogate.approx_kl) for p, surrogate in zip(old.probs, surrogates, strict=True))

    assert expected == pytest.approx(float(kl_divergence(old, new)), rel=1e-5)


def test_value_loss_is_half_the_mean_squared_error() -> None:
    assert value_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])) == 0.5 * (1 + 4) / 2


def test_entropy_agrees_with_torch_and_ignores_padding() -> None:
    logits = padded_logprobs(0)

    expected = torch.stack([row.entropy() for row in rows(logits)]).mean()

    assert entropy(logits.log_softmax(-1)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_reference_kl_agrees_with_torch_and_ignores_padding() -> None:
    logits, ref_logits = padded_logprobs(0), padded_logprobs(1)

    expected = torch.stack([kl_divergence(p, q) for p, q in zip(rows(logits), rows(ref_logits), strict=True)]).mean()

    assert reference_kl(logits.log_softmax(-1), ref_logits.log_softmax(-1)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_padding_makes_no_gradient_nan() -> None:
    logits, ref_logits = padded_logprobs(0), padded_logprobs(1)

    (entropy(logits.log_softmax(-1)) + reference_kl(logits.log_softmax(-1), ref_logits.log_softmax(-1))).backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, :2] != 0).all()


@pytest.mark.parametrize("success_rate", [0.0, 0.1, 0.37, 0.5, 1.0])
def test_the_calibration_reward_is_highest_for_the_true_success_rate(success_rate: float) -> None:
    beliefs = torch.linspace(0, 1, 101)

    expected = success_rate * calibration_reward(beliefs, torch.ones(101))
    expected += (1 - success_rate) * calibration_reward(beliefs, torch.zeros(101))

    assert beliefs[expected.argmax()].item() == pytest.approx(success_rate)


def test_the_calibration_reward_is_highest_for_the_mean_of_partial_outcomes() -> None:
    beliefs = torch.linspace(0, 1, 101)[:, None]

    expected = calibration_reward(beliefs, torch.tensor([[0.1, 0.2, 0.9]])).mean(1)

    assert beliefs[expected.argmax()].item() == pytest.approx(0.4)


def test_the_calibration_reward_is_between_zero_and_one() -> None:
    beliefs, outcomes = torch.linspace(0, 1, 11)[:, None], torch.linspace(0, 1, 11)[None, :]

    rewards = calibration_reward(beliefs, outcomes)

    assert (rewards.min(), rewards.max()) == (0, 1)


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
