"""What is remembered of a game changes nothing but the time it takes, and is bounded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.game_memory import MEMORIES, GameMemories, GameMemory, Node
from mise_gym.envs.games import make_game
from mise_gym.envs.interpreter import Interpreter, InterpreterPool
from mise_gym.envs.levels import game_family
from mise_gym.envs.textworld import TextWorldEnv

pytestmark = pytest.mark.integration

JUNK = ["xyzzy", "take", "wait", "save", "look. look", "open cookbook", "", "\x00"]
Episode = list[tuple[Any, ...]]


def make(game: Path, **kwargs: Any) -> gym.Env[str, str]:
    return gym.make("mise/FTWP-v0", games=game, infos=TextWorldEnv.available_infos, max_turns=25, **kwargs)


def play(env: gym.Env[str, str], choose: Callable[[dict[str, Any]], str]) -> Episode:
    steps: Episode = [env.reset()]
    over = False
    while not over:
        steps.append(env.step(choose(steps[-1][-1])))
        over = steps[-1][2] or steps[-1][3]
    return steps


def at_random(seed: int) -> Callable[[dict[str, Any]], str]:
    rng = np.random.default_rng(seed)
    return lambda info: str(rng.choice(info["admissible_commands"] if rng.random() < 0.8 else JUNK))


def after(opening: Sequence[str], then: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    left = list(opening)
    return lambda info: left.pop(0) if left else then(info)


@pytest.fixture(scope="module", params=["basic", "hard", "tw-coin_collector"])
def game(request: pytest.FixtureRequest) -> Path:
    name = request.param
    return make_game(game_family(name, None, None) if name.startswith("tw-") else name, "train", 0)


def test_random_play_is_the_same_with_and_without_memory(game: Path) -> None:
    remembering, forgetful = make(game), make(game, memoise=False)
    for seed in (1, 2, 1, 2):  # the second time from memory
        assert play(remembering, at_random(seed)) == play(forgetful, at_random(seed))


def test_expert_play_and_detours_are_the_same_with_and_without_memory(game: Path) -> None:
    remembering, forgetful = make(game), make(game, memoise=False)
    remembering.reset()
    expert = remembering.unwrapped.expert_actions()
    for known in (len(expert), len(expert) // 2, 1, len(expert)):  # leaves the way of the expert after so many actions
        one, other = (play(env, after(expert[:known], at_random(known))) for env in (remembering, forgetful))
        assert one == other


def test_two_players_of_one_memory_do_not_disturb_each_other(game: Path) -> None:
    one, other, alone = make(game), make(game), make(game, memoise=False)
    expected = play(alone, at_random(5))
    one.reset()
    other.reset()
    actions = at_random(5)
    info = expected[0][-1]
    for number, step in enumerate(expected[1:]):
        action = actions(info)
        if number < 20:
            other.step(JUNK[number % 3])
        observed = one.step(action)
        assert observed == step
        info = observed[-1]


def test_without_memory_every_exchange_is_played(game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remembering, env = make(game), make(game, memoise=False)
    for one in (remembering, env):
        one.reset()
        one.step("wait")
    env.reset()
    monkeypatch.setattr(Interpreter, "send", None)
    with pytest.raises(RuntimeError, match="died on the command 'wait'"):
        env.step("wait")


def test_without_memory_nothing_is_kept(game: Path) -> None:
    env = make(game, memoise=False)
    before = MEMORIES.of(game).size
    play(env, at_random(77))
    assert MEMORIES.of(game).size == before


def test_the_number_of_moments_stays_below_the_bound_within_one_episode(game: Path) -> None:
    memories = GameMemories(300, GameMemory)
    memory = memories.of(game)
    node = memory.root
    for number in range(1000):
        child = Node(node.exchange)
        memories.grow(memory, node, str(number), child)
        node = child
    assert memory.size <= 300


def test_the_number_of_games_is_bounded_too(game: Path) -> None:
    memories = GameMemories(600, GameMemory)
    others = [make_game("basic", "train", number) for number in range(2)]
    first = memories.of(game)
    for other in others:
        memories.of(other)
    assert memories.of(others[1]) is memories.of(others[1])
    assert memories.of(game) is not first or game in others


def test_a_game_that_was_forgotten_meanwhile_is_not_grown(game: Path) -> None:
    memories = GameMemories(300, GameMemory)
    memory = memories.of(game)
    memories.of(make_game("basic", "train", 1))
    memories.grow(memory, memory.root, "wait", Node(memory.root.exchange))
    assert memory.root.children == {}


def test_several_environments_of_one_story_get_their_interpreters_back(game: Path) -> None:
    pool = InterpreterPool(2)
    stories = [pool.take(game) for _ in range(3)]
    for story in stories:
        pool.give_back(story)

    assert [pool.take(game), pool.take(game)] == [stories[2], stories[1]]


def test_an_idle_interpreter_of_a_file_that_changed_is_not_used(game: Path, tmp_path: Path) -> None:
    copy = tmp_path / "game.z8"
    copy.write_bytes(game.read_bytes())
    pool = InterpreterPool(1)
    idle = pool.take(copy)
    pool.give_back(idle)
    copy.write_bytes(game.read_bytes() + b"\x00")
    assert pool.take(copy) is not idle
