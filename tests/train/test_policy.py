"""One model that acts, values and judges: reading it in batches is reading it one by one."""

import pytest
import torch

from mise_gym.llm.batching import pad, token_batches
from mise_gym.train.policy import LLMPolicy, Places
from mise_gym.train.rollout import Rollout
from tests.train.conftest import MakePolicy

IDS = torch.tensor([[5, 6, 7]])


def test_self_evaluation_in_a_batch_equals_one_by_one(policy: LLMPolicy, rollout: Rollout) -> None:
    together = policy.self_evaluate(rollout.episodes)

    for episode, said in zip(rollout.episodes, together, strict=True):
        (alone,) = policy.self_evaluate([episode])
        assert said.scores.shape == (len(episode),)
        assert said.scores == pytest.approx(alone.scores, abs=1e-6)
        assert said.belief == pytest.approx(alone.belief, abs=1e-6)


def test_scores_and_belief_are_the_share_of_good_against_bad_at_their_slots(policy: LLMPolicy, rollout: Rollout) -> None:
    episode = rollout.episodes[0]
    ids, slots = policy.with_hindsight(episode)
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([ids])).logits[0, slots]

    pair = logits[:, [policy.text.good_id, policy.text.bad_id]].softmax(-1)

    (said,) = policy.self_evaluate([episode])
    assert [*said.scores, said.belief] == pytest.approx(pair[:, 0].numpy(), abs=1e-6)


def test_an_output_head_with_a_bias_is_read_with_its_bias(policy: LLMPolicy) -> None:
    head = policy.model.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.arange(head.out_features, dtype=torch.float32))
    features = torch.randn(3, head.in_features)

    logits = policy.logits(features)

    assert torch.allclose(
        policy.score_logits(features), logits[:, policy.text.good_id] - logits[:, policy.text.bad_id], atol=1e-4
    )


@pytest.mark.parametrize("critic", ["detached", "separate"])
def test_the_critic_sends_no_gradient_into_the_model(make_policy: MakePolicy, critic: str) -> None:
    policy = make_policy(0, critic=critic)

    policy.values(policy.features(IDS), Places.of([[0, 2]])).sum().backward()

    assert all(weights.grad is None for weights in policy.model.parameters())
    assert all(weights.grad is not None for weights in policy.value_head.parameters())


@pytest.mark.parametrize(("critic", "changes"), [("detached", [False, True]), ("separate", [True, True])])
def test_only_the_separate_critic_looks_at_what_was_before_and_none_ahead(
    make_policy: MakePolicy, critic: str, changes: list[bool]
) -> None:
    policy = make_policy(0, critic=critic)
    features = torch.randn(1, 4, policy.model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    places = Places.of([[2]])
    value = policy.values(features, places)

    def differs_without(token: int) -> bool:
        other = features.clone()
        other[0, token] = 0
        return bool((policy.values(other, places) - value)[0, 0].abs() > 1e-6)

    assert [differs_without(1), differs_without(2)] == changes
    assert not differs_without(3)


@pytest.mark.parametrize("pad_id", [0, 7])
def test_padding_changes_nothing(policy: LLMPolicy, pad_id: int) -> None:
    ids, mask = pad([[5, 6, 7], [5, 6, 7, 8, 9, 10]], pad_id, policy.device)

    padded = policy.features(ids)[0, : int(mask[0].sum())]

    assert torch.allclose(padded, policy.features(torch.tensor([[5, 6, 7]]))[0], atol=1e-5)


def test_padding_is_on_the_right_and_masked() -> None:
    ids, mask = pad([[1], [2, 3]], 9, torch.device("cpu"))

    assert ids.tolist() == [[1, 9], [2, 3]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_token_batches_hold_every_row_once_and_stay_within_their_budget() -> None:
    lengths = [30, 5, 80, 41, 7, 7, 100]

    batches = list(token_batches(lengths, max_tokens=100))

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[row] for row in batch) <= 100 for batch in batches)


def test_a_row_longer_than_the_budget_gets_a_batch_of_its_own() -> None:
    assert list(token_batches([50, 3], max_tokens=10)) == [[1], [0]]
