"""Expert episodes win, mistaken ones are labelled turn by turn, and the warm start learns from both."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from mise_gym.errors import ConfigError
from mise_gym.train.demonstrations import GOOD_TURNS, LabelledRecorder, demonstrate
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout
from mise_gym.train.task_sets.textworld import GameRecorder
from mise_gym.train.warm_start import WarmStartConfig, warm_start
from mise_gym.types import Episode
from tests.train.pantry import Pantry

LEVEL = "recipe1+take1+cook+cut+open+mixed"
TASKS = [{"split": "train", "game": game} for game in range(4)]


@pytest.fixture(scope="module")
def env() -> Iterator[gym.Env[str, str]]:
    env = gym.make(
        "mise_gym:mise/FTWP-v0", level=LEVEL, num_games=6, max_turns=20, infos=("admissible_commands", "policy_commands")
    )
    yield env
    env.close()


def labels(episode: Episode) -> list[int]:
    return list(episode.extra[GOOD_TURNS])


@pytest.mark.integration
def test_an_expert_without_mistakes_wins_and_every_turn_is_good(env: gym.Env[str, str]) -> None:
    episodes = demonstrate(GameRecorder, env, TASKS, np.random.default_rng(0), max_mistake_rate=0)

    assert all(episode.success for episode in episodes)
    assert [set(labels(episode)) for episode in episodes] == [{1}] * len(TASKS)


@pytest.mark.integration
def test_mistakes_are_labelled_and_some_episodes_are_lost(env: gym.Env[str, str]) -> None:
    episodes = demonstrate(GameRecorder, env, TASKS * 2, np.random.default_rng(0), max_mistake_rate=1)

    assert {label for episode in episodes for label in labels(episode)} == {0, 1}
    assert {episode.success for episode in episodes} == {True, False}
    assert all(len(labels(episode)) == len(episode) for episode in episodes)


@pytest.mark.integration
def test_the_same_generator_makes_the_same_mistakes(env: gym.Env[str, str]) -> None:
    first, second = (demonstrate(GameRecorder, env, TASKS, np.random.default_rng(7), max_mistake_rate=1) for _ in range(2))

    assert first == second


def repeats(episodes: Sequence[Episode]) -> float:
    """Return the share of turns that do what was done before in their episode."""
    again = [turn.action in [t.action for t in e.transitions[:n]] for e in episodes for n, turn in enumerate(e.transitions)]
    return float(np.mean(again))


@pytest.mark.integration
def test_mistakes_can_be_made_to_repeat_what_was_done_before(env: gym.Env[str, str]) -> None:
    at_random, again = (
        demonstrate(GameRecorder, env, TASKS * 4, np.random.default_rng(0), max_mistake_rate=1, repeated_mistakes=share)
        for share in (0, 1)
    )

    assert repeats(again) > 2 * repeats(at_random)


@pytest.mark.integration
def test_a_turn_without_effect_is_no_good_turn(env: gym.Env[str, str]) -> None:
    recorder = GameRecorder(env, TASKS[0])
    for action in ("look", recorder.plan[0], "inventory"):
        recorder.step(action)

    assert labels(recorder.episode()) == [0, 1, 0]


@pytest.mark.integration
def test_nothing_is_good_once_the_game_is_lost(env: gym.Env[str, str]) -> None:
    recorder = GameRecorder(env, TASKS[0])
    for action in recorder.plan[:-2]:
        recorder.step(action)
    assert recorder.plan == ["prepare meal", "eat meal"]
    ingredient = next(command for command in recorder.commands if command.startswith("eat "))

    recorder.step(ingredient)

    assert labels(recorder.episode())[-1] == 0
    assert recorder.plan == []


class ShelfRecorder(LabelledRecorder):
    """Its expert knows one way only: the corridor, and then the key."""

    @property
    def plan(self) -> list[str]:
        return [] if self.is_done else ["walk", "unlock"]

    def follow(self, action: str, plan: list[str]) -> None:
        pass


class Shelf(Pantry):
    """Every action brings as much progress as it says, and 0.9 or more ends the game."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.progress = float(action)
        return "", 0.0, self.progress >= 0.9, False, self._info()


def test_a_turn_is_good_if_the_simulator_sees_progress_whatever_the_expert_would_have_done() -> None:
    recorder = ShelfRecorder(Shelf(), {})

    for action in ("0.25", "0.25", "0.125", "0.5", "1"):
        recorder.step(action)

    assert labels(recorder.episode()) == [1, 0, 0, 1, 1]


def test_a_turn_that_ends_an_episode_short_of_the_goal_is_not_good_however_much_it_is_paid() -> None:
    recorder = ShelfRecorder(Shelf(), {})

    recorder.step("0.95")

    assert recorder.is_done
    assert labels(recorder.episode()) == [0]


def distance_of_beliefs(policy: LLMPolicy, episodes: list[Episode]) -> float:
    """Return how far the policy's beliefs are from the outcomes."""
    pairs = zip(policy.self_evaluate(episodes), episodes, strict=True)
    return float(np.mean([abs((said.belief or 0.0) - episode.progress) for said, episode in pairs]))


@pytest.mark.parametrize("muon", [None, 3e-2])
def test_the_warm_start_learns_to_act_and_to_judge(policy: LLMPolicy, rollout: Rollout, muon: float | None) -> None:
    episodes = [
        replace(e, extra={GOOD_TURNS: [turn.action.startswith("take") for turn in e.transitions]}) for e in rollout.episodes
    ]
    losses: list[dict[str, float]] = []
    before = distance_of_beliefs(policy, episodes)
    config = WarmStartConfig(epochs=30, learning_rate=1e-2, muon_learning_rate=muon, batch_episodes=1000)

    warm_start(policy, episodes, config, np.random.default_rng(0), lambda done, total, loss: losses.append(loss))

    assert len(losses) == 30
    assert all(losses[-1][name] < 0.7 * losses[0][name] for name in losses[0])
    scores = np.concatenate([said.scores for said in policy.self_evaluate(episodes)])
    good = np.concatenate([episode.extra[GOOD_TURNS] for episode in episodes])
    assert scores[good].mean() > scores[~good].mean() + 0.5
    assert distance_of_beliefs(policy, episodes) < 0.9 * before


@pytest.mark.parametrize("only_judged", [True, False])
def test_episodes_that_are_only_judged_teach_neither_acting_nor_the_outcome(
    policy: LLMPolicy, rollout: Rollout, only_judged: bool
) -> None:
    episodes = [replace(e, extra={GOOD_TURNS: [1] * len(e)}) for e in rollout.episodes]

    def losses_with(episodes: list[Episode]) -> list[dict[str, float]]:
        losses: list[dict[str, float]] = []
        parts = ([], episodes) if only_judged else (episodes, [])
        config = WarmStartConfig(epochs=2, batch_episodes=1000)
        learner, rng = copy.deepcopy(policy), np.random.default_rng(0)
        warm_start(learner, parts[0], config, rng, lambda done, total, loss: losses.append(loss), only_judged=parts[1])
        return losses

    losses = losses_with(episodes)

    assert [loss["warm_start/act_loss"] == 0 for loss in losses] == [only_judged] * 2
    assert (losses == losses_with([replace(e, progress=0.25) for e in episodes])) == only_judged


def test_muon_moves_the_matrices_inside_the_blocks_and_nothing_else(policy: LLMPolicy, rollout: Rollout) -> None:
    episodes = [replace(e, extra={GOOD_TURNS: [1] * len(e)}) for e in rollout.episodes]
    before = {name: weights.detach().clone() for name, weights in policy.model.named_parameters()}
    config = WarmStartConfig(epochs=1, learning_rate=0.0, muon_learning_rate=1e-2, batch_episodes=1000)

    warm_start(policy, episodes, config, np.random.default_rng(0), lambda *_: None)

    moved = {name for name, weights in policy.model.named_parameters() if not torch.equal(weights, before[name])}
    assert moved == {name for name, weights in before.items() if ".layers." in name and weights.ndim == 2}


def test_an_old_torch_without_muon_is_said(policy: LLMPolicy, rollout: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    episodes = [replace(e, extra={GOOD_TURNS: [1] * len(e)}) for e in rollout.episodes]

    with pytest.raises(ConfigError, match=r"muon_learning_rate needs torch 2\.9"):
        warm_start(policy, episodes, WarmStartConfig(muon_learning_rate=0.01), np.random.default_rng(0), lambda *_: None)


def test_no_epochs_leave_the_model_as_it_is(policy: LLMPolicy, rollout: Rollout) -> None:
    episodes = [replace(e, extra={GOOD_TURNS: [1] * len(e)}) for e in rollout.episodes]
    before = policy.model.get_input_embeddings().weight.clone()

    warm_start(policy, episodes, WarmStartConfig(epochs=0), np.random.default_rng(0), lambda *_: None)

    assert policy.model.get_input_embeddings().weight.equal(before)
