"""The trie, and writing actions with a key-value cache against reading everything anew."""

import pytest
import torch
from torch import Tensor

from mise_gym.errors import ConfigError
from mise_gym.train.batch import to_batch, with_hindsight
from mise_gym.train.decoding import TurnDecoder
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.reading import read_logprobs
from mise_gym.train.rollout import Rollout, collect
from mise_gym.train.trace import Decision, TokenTrace
from mise_gym.train.trie import TokenTrie
from tests.corridor import Corridor
from tests.train.conftest import MakePolicy, play
from tests.train.pantry import Pantry


def uncached_logprobs(policy: LLMPolicy, trace: TokenTrace, decision: Decision) -> Tensor:
    """Read the episode up to a decision in one go, without cache and without padding. Shape ``(A,)``."""
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([trace.ids[: decision.position]]), use_cache=False).logits[0, -1]
    return logits[list(decision.allowed)].log_softmax(-1)


def words(trie: TokenTrie) -> list[list[int]]:
    if not trie.children:
        return [[]]
    return [[token, *rest] for token, child in sorted(trie.children.items()) for rest in words(child)]


def test_a_trie_holds_exactly_the_commands_it_was_made_of() -> None:
    commands = [[5, 1], [5, 2, 3], [7], [5, 2, 4]]

    assert words(TokenTrie.of([*commands, [7]])) == sorted(commands)


def test_the_world_exercises_rows_that_finish_at_different_turns_and_choices_of_different_widths(rollout: Rollout) -> None:
    assert len({len(episode) for episode in rollout.episodes[:4]}) > 1
    assert len({len(decision.allowed) for trace in rollout.traces for decision in trace.decisions}) > 1
    assert any(trace.decisions[0].turn > 0 for trace in rollout.traces)  # a first turn without a choice


def test_decoding_with_a_cache_gives_the_logprobs_of_a_full_forward_pass(policy: LLMPolicy, rollout: Rollout) -> None:
    for trace in rollout.traces:
        for decision in trace.decisions:
            expected = uncached_logprobs(policy, trace, decision)[decision.choice]

            assert decision.logprob == pytest.approx(expected.item(), abs=1e-4)


def test_before_any_update_the_learner_reads_the_logprobs_that_were_written_down(policy: LLMPolicy, rollout: Rollout) -> None:
    sequences = [with_hindsight(policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)]
    batch = to_batch(policy, sequences)

    with torch.no_grad():
        logprobs = read_logprobs(policy, batch)

    assert torch.allclose(logprobs, batch.old_logprobs, atol=1e-4)


def test_the_chosen_token_is_the_one_that_stands_in_the_episode(rollout: Rollout) -> None:
    for trace in rollout.traces:
        for decision in trace.decisions:
            assert trace.ids[decision.position] == decision.allowed[decision.choice]


def test_values_are_read_at_the_prompt_sign_before_each_action(policy: LLMPolicy, rollout: Rollout) -> None:
    for episode, trace in zip(rollout.episodes, rollout.traces, strict=True):
        assert len(trace.value_positions) == len(episode)
        for position, turn in zip(trace.value_positions, episode.transitions, strict=True):
            action = policy.text.action(turn.action)
            assert policy.tokenizer.decode(trace.ids[position]) == ">"
            assert trace.ids[position + 1 : position + 1 + len(action)] == action


def test_temperature_zero_takes_the_likeliest_token(make_policy: MakePolicy) -> None:
    policy = make_policy(3)
    greedy = play(policy, temperature=0)

    for trace in greedy.traces:
        for decision in trace.decisions:
            assert decision.choice == uncached_logprobs(policy, trace, decision).argmax()


def test_the_seeds_decide_what_is_sampled_and_nothing_else_does(policy: LLMPolicy) -> None:
    torch.manual_seed(1)
    first = play(policy, seed=5)
    torch.manual_seed(2)

    assert play(policy, seed=5).traces == first.traces
    assert play(policy, seed=6).traces != first.traces


def test_samples_follow_the_policys_probabilities(policy: LLMPolicy) -> None:
    commands = [["wait", "read label"]] * 2000
    opening = policy.text.opening("Take the red apple!", "On the shelf.")
    decoder = TurnDecoder(policy, [opening] * len(commands), range(len(commands)), temperature=1.0)

    actions = decoder.act(commands)

    (decision,) = decoder.traces[0].decisions
    share = actions.count(actions[0]) / len(actions)
    assert share == pytest.approx(torch.tensor(decision.logprob).exp().item(), abs=0.04)


def test_only_admissible_commands_come_out_whatever_they_look_like(policy: LLMPolicy) -> None:
    commands = ["take apple", "take apple pie", "тянуть дверь", "a", "a a", "say 'never mind , friend'"]
    openings = [policy.text.opening("Play.", "A room.")] * 600

    actions = TurnDecoder(policy, openings, range(600), temperature=1.0).act([commands] * 600)

    assert set(actions) == set(commands)


def test_more_episodes_than_environments_come_back_in_order(policy: LLMPolicy) -> None:
    rollout = play(policy, games=5, num_envs=2)

    tasks = [f"Take the {thing}!" for thing in ("red apple", "red apricot", "green apple", "green pear", "red apple")]
    assert [episode.task for episode in rollout.episodes] == tasks


def test_playing_together_and_alone_is_the_same_when_greedy(policy: LLMPolicy) -> None:
    together, alone = play(policy, num_envs=8, temperature=0), play(policy, num_envs=1, temperature=0)

    assert [trace.ids for trace in together.traces] == [trace.ids for trace in alone.traces]


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_the_number_of_environments_changes_nothing_that_is_played(policy: LLMPolicy, num_envs: int) -> None:
    rollout, other = play(policy, num_envs=2), play(policy, num_envs=num_envs)

    assert [trace.ids for trace in other.traces] == [trace.ids for trace in rollout.traces]


def test_an_episode_is_the_same_whichever_others_are_played(policy: LLMPolicy) -> None:
    tasks, seeds = [{"game": game} for game in range(6)], [7, 3, 9, 1, 4, 8]
    whole = collect([Pantry(), Pantry()], tasks, policy, seeds)

    part = collect([Pantry(), Pantry()], tasks[1::2], policy, seeds[1::2])

    assert [trace.ids for trace in part.traces] == [trace.ids for trace in whole.traces[1::2]]
    assert [episode.seed for episode in part.episodes] == seeds[1::2]


def test_an_environment_without_admissible_commands_is_refused(policy: LLMPolicy) -> None:
    with pytest.raises(ConfigError, match="lists no admissible commands"):
        collect([Corridor()], [{}], policy, seeds=[0])


def test_an_episode_too_long_for_the_model_is_refused_with_advice(policy: LLMPolicy) -> None:
    policy.model.config.max_position_embeddings = 64
    envs, tasks = [Pantry(max_turns=200)], [{"game": game} for game in range(20)]

    with pytest.raises(ConfigError, match="the model reads at most 64"):
        collect(envs, tasks, policy, range(20))


def test_the_hindsight_questions_count_towards_the_longest_episode(policy: LLMPolicy, rollout: Rollout) -> None:
    episodes = zip(rollout.episodes, rollout.traces, strict=True)
    without, whole = zip(*((len(t.ids), len(with_hindsight(policy, e, t).ids)) for e, t in episodes), strict=True)
    assert max(without) < max(whole)
    policy.model.config.max_position_embeddings = max(without)

    with pytest.raises(ConfigError, match=f"has grown to .* tokens; the model reads at most {max(without)}"):
        play(policy)

    policy.model.config.max_position_embeddings = max(whole)
    assert len(play(policy).episodes) == len(rollout.episodes)
