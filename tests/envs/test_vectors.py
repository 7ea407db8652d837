"""Vectors of every environment id against the same episodes played one after the other."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from mise_gym.errors import ConfigError, UnknownNameError
from tests.envs.test_contract import FEW_GAMES, IDS, THROUGH_A_BROWSER, make

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_java_machine")]

TURNS = 2
LOOK = ("look", "look")


def make_vector(env_id: str, num_envs: int = 2, **arguments: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
    return gym.make_vec(env_id, num_envs=num_envs, **{**FEW_GAMES.get(env_id, {}), "max_turns": TURNS, **arguments})


def first_observations(env_id: str, seed: int, episodes: int = 2) -> list[str]:
    """How the episodes of one environment begin when it is seeded once."""
    env = make(env_id)
    env.reset(seed=seed)
    return [env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(episodes - 1))]


def play_to_the_end(envs: gym.vector.VectorEnv[Any, Any, Any]) -> tuple[Any, ...]:
    for _ in range(TURNS - 1):
        envs.step(LOOK)
    return envs.step(LOOK)


@pytest.fixture(params=[env_id for env_id in IDS if env_id not in THROUGH_A_BROWSER])
def env_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


every_vector = pytest.mark.parametrize(
    ("env_id", "vectorization"),
    [(env_id, "sync") for env_id in IDS] + [(env_id, "async") for env_id in IDS if env_id not in THROUGH_A_BROWSER],
)


@every_vector
def test_by_default_the_step_after_the_end_begins_the_next_episode(env_id: str, vectorization: str) -> None:
    envs = make_vector(env_id, vectorization=vectorization)
    first, _ = envs.reset(seed=[1, 2])
    last, _, terminations, truncations, infos = play_to_the_end(envs)
    following, rewards, *ends, new_infos = envs.step(("ignored", "ignored"))
    envs.close()

    assert list(zip(first, following, strict=True)) == [tuple(first_observations(env_id, seed)) for seed in (1, 2)]
    assert (terminations.tolist(), truncations.tolist(), infos["turn"].tolist()) == ([False] * 2, [True] * 2, [TURNS] * 2)
    assert (rewards.tolist(), np.any(ends), new_infos["turn"].tolist()) == ([0.0, 0.0], False, [0, 0])
    assert last != following


@every_vector
def test_in_same_step_mode_the_end_is_in_the_final_infos(env_id: str, vectorization: str) -> None:
    envs = make_vector(env_id, vectorization=vectorization, autoreset_mode="SameStep")
    envs.reset(seed=[1, 2])
    following, _, _, truncations, infos = play_to_the_end(envs)
    envs.close()

    assert list(following) == [first_observations(env_id, seed)[1] for seed in (1, 2)]
    assert (truncations.tolist(), infos["turn"].tolist()) == ([True, True], [0, 0])
    assert infos["final_info"]["turn"].tolist() == [TURNS, TURNS]
    assert list(infos["final_obs"]) == [last_observation(env_id, seed) for seed in (1, 2)]


def last_observation(env_id: str, seed: int) -> str:
    env = make(env_id)
    env.reset(seed=seed)
    return [env.step("look")[0] for _ in range(TURNS)][-1]


@every_vector
def test_without_autoreset_the_mask_chooses_who_begins_anew(env_id: str, vectorization: str) -> None:
    envs = make_vector(env_id, vectorization=vectorization, autoreset_mode="Disabled", slots=[{}, {"max_turns": 9}])
    envs.reset(seed=[1, 2])
    _, _, _, truncations, _ = play_to_the_end(envs)
    observations, _ = envs.reset(options={"reset_mask": truncations})
    _, _, _, _, infos = envs.step(LOOK)
    envs.close()

    assert truncations.tolist() == [True, False]
    assert observations == (first_observations(env_id, 1)[1], last_observation(env_id, 2))
    assert infos["turn"].tolist() == [1, TURNS + 1]


def test_slots_of_the_same_seed_play_the_same_episodes_whenever_they_end(env_id: str) -> None:
    limits = [{"max_turns": 1}, {"max_turns": 2}]
    envs = make_vector(env_id, slots=limits, autoreset_mode="SameStep")
    begun: list[list[str]] = [[], []]
    envs.reset(seed=[7, 7])
    for _ in range(6):
        _, _, _, truncations, infos = envs.step(LOOK)
        for slot in np.flatnonzero(truncations):
            begun[slot].append(infos["task_id"][slot])
    envs.close()

    assert len(begun[0]) == 6
    assert begun[0][:3] == begun[1]


def test_one_seed_gives_each_slot_its_own(env_id: str) -> None:
    envs = make_vector(env_id, num_envs=3)
    observations, _ = envs.reset(seed=1)
    envs.close()

    assert list(observations) == [first_observations(env_id, seed, 1)[0] for seed in (1, 2, 3)]


def test_equal_options_give_identical_starts_to_all_slots(env_id: str) -> None:
    envs = make_vector(env_id, num_envs=3)
    takes_a_task_id = envs.envs[0].unwrapped.known_options[0]
    _, infos = envs.reset(seed=[1, 2, 3])
    observations, again = envs.reset(options={takes_a_task_id: infos["task_id"][1]})
    envs.close()

    assert len(set(observations)) == 1
    assert list(again["task_id"]) == [infos["task_id"][1]] * 3


def test_each_slot_can_have_options_of_its_own(env_id: str) -> None:
    envs = make_vector(env_id)
    _, infos = envs.reset(options={"slots": [{"split": "valid"}, None], "split": "test"})
    envs.close()

    assert list(infos["split"]) == ["valid", "test"]


def test_options_of_slots_hold_for_one_episode(env_id: str) -> None:
    envs = make_vector(env_id)
    envs.reset(seed=1, options={"slots": [{"split": "valid"}, {"split": "test"}]})
    play_to_the_end(envs)
    *_, infos = envs.step(LOOK)
    envs.close()

    assert list(infos["split"]) == ["train", "train"]


def test_each_slot_can_have_arguments_of_its_own_which_stay(env_id: str) -> None:
    envs = make_vector(env_id, slots=[{"split": "valid"}, {"split": "test"}])
    _, first = envs.reset(seed=1)
    play_to_the_end(envs)
    *_, second = envs.step(LOOK)
    envs.close()

    assert list(first["split"]) == list(second["split"]) == ["valid", "test"]


def test_everything_that_can_be_asked_for_passes_through_a_vector(env_id: str) -> None:
    asked = make(env_id).unwrapped.available_infos
    envs = make_vector(env_id, infos=asked, autoreset_mode="SameStep", slots=[{"max_turns": 1}, {}])
    single = make(env_id, infos=asked)
    expected = [single.reset(seed=seed)[1] for seed in (1, 2)]
    _, infos = envs.reset(seed=1)
    *_, ended = envs.step(LOOK)
    envs.close()

    assert [{name: infos[name][slot] for name in asked if name != "score_parts"} for slot in (0, 1)] == [
        {name: info[name] for name in asked if name != "score_parts"} for info in expected
    ]
    assert set(asked) <= set(ended) & set(ended["final_info"])


@pytest.mark.parametrize("slots", [[{}], {"split": "test"}, [{}, "test"]])
def test_slots_that_do_not_fit_are_refused(env_id: str, slots: Any) -> None:
    with pytest.raises(ConfigError, match="must be a list of 2 dictionaries"):
        make_vector(env_id, slots=slots)
    with pytest.raises(ConfigError, match="must be a list of 2 dictionaries"):
        make_vector(env_id).reset(options={"slots": slots})


def test_a_misspelt_argument_of_a_slot_is_answered_with_the_nearest_one(env_id: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'split'"):
        make_vector(env_id, vectorization="async", slots=[{}, {"splt": "test"}])
