"""Short tasks of ScienceWorld: find something, and bring it into a box."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from itertools import chain, zip_longest
from typing import Any, Final, Literal

import gymnasium as gym

from mise_gym.envs.science.tasks import check_simplifications, find_task, suits
from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.train.demonstrations import LabelledRecorder
from mise_gym.train.rollout import TextEnvironment
from mise_gym.train.task_sets.offers import OfferedCommands
from mise_gym.train.tasks import Split, TaskSet

_ARRIVED: Final = re.compile(r"^(?:You (?:move|teleport) to the|This (?:outside location|room) is called the) ([^.\n]+)\.")


@dataclass(frozen=True, kw_only=True)
class ScienceWorldConfig:
    """Which tasks ``--env scienceworld`` plays, and with which commands."""

    tasks: tuple[str, ...] = ("find-living-thing", "find-non-living-thing", "find-plant", "find-animal")
    """Their names; the trainer takes their variations in turn."""
    simplifications: tuple[str, ...] = ("easy",)
    """As in ``mise/ScienceWorld-v0``."""
    commands: tuple[str, ...] = (
        "focus on *",
        "go to *",
        "inventory",
        "look around",
        "move * to * box",
        "pick up *",
        "teleport to *",
    )
    """Only admissible commands of these forms, in which * stands for any words, are offered to the policy; none means all, which
    are up to 3,000 per turn."""

    def __post_init__(self) -> None:
        """Check the names."""
        check_simplifications(self.simplifications)
        if not self.tasks:
            raise ConfigError("The setting 'scienceworld.tasks' is empty. Name at least one task, such as find-plant.")
        for task in map(find_task, self.tasks):
            if not suits(task, self.simplifications):
                raise ConfigError(f"The task {task.name!r} needs electrical actions. Drop 'noElectricalAction'.")


class PathRecorder(LabelledRecorder):
    """The plan is the simulator's own solution; who leaves its way is led back to the room in which it goes on.

    The solution is written down before the episode and not asked again. Its commands are spelt as the environment lists them, and
    what it does only to open doors that stand open is left out.
    """

    def __init__(self, env: TextEnvironment, options: Mapping[str, Any], seed: int | None = None) -> None:
        super().__init__(env, options, seed)
        self._room = _room_in(self.observation)
        self._held = ""
        self._left = _steps(env.unwrapped.expert_actions(), self._room)  # type: ignore[attr-defined]  # part of every TextEnv

    @property
    def plan(self) -> list[str]:
        """What the expert would still do; empty when the episode is over or the way is blocked."""
        if self.is_done or not self._left:
            return []
        room, action = self._left[0]
        back = [] if room == self._room else [f"teleport to {room}"]
        plan = [*back, *(action for _, action in self._left)]
        plan[len(back)] = action if back else self._spelt(action)
        return plan if plan[0] in self.commands else []

    def follow(self, action: str, plan: list[str]) -> None:
        """Note where the agent is now, and what of the way is behind it."""
        room = _room_in(self.observation)
        if room:
            self._room = room
            self._left = _beyond(self._left, room)
        if plan and action == plan[0] and not _is_movement(action):
            self._held = action.partition(" on ")[2] or action.removeprefix("pick up ")
            self._left = self._left[1:]

    def _spelt(self, action: str) -> str:
        """Return the listed command that does the same: solutions put things into boxes under other names."""
        wanted = re.fullmatch(r"move (.+) to (.+)", action)
        if action in self.commands or not wanted:
            return action
        box = wanted[2]
        words = set(self._held.split())
        likeness = {
            command: _overlap(words, set(command.removeprefix("move ").removesuffix(f" to {box}").split()))
            for command in self.commands
            if command.startswith("move ") and command.endswith(f" to {box}")
        }
        best = max(likeness, key=lambda command: (likeness[command], command), default=action)
        return best if likeness.get(best) else action


class ScienceTasks(TaskSet):
    """Variations of the tasks that ``scienceworld`` names, in the simulator's own splits."""

    recorder_class = PathRecorder

    def prepare(self, *, progress: bool) -> None:
        """Have the solutions of the held-out tasks computed, which takes a second each the first time."""
        env = self.make_env("sparse")
        for options in require("tqdm").tqdm(self.options("valid"), desc="solutions", unit="task", disable=not progress):
            env.reset(options=options)
            env.unwrapped.expert_actions()  # type: ignore[attr-defined]  # part of every TextEnv
        env.close()

    def make_env(self, reward_mode: Literal["sparse", "dense"], *, labelled: bool = False) -> TextEnvironment:  # noqa: ARG002
        """Return a new environment; it needs nothing more to label."""
        env = gym.make(
            "mise/ScienceWorld-v0",
            simplifications=self.config.scienceworld.simplifications,
            max_turns=self.config.games.max_turns,
            reward_mode=reward_mode,
            infos=("admissible_commands",),
        )
        return OfferedCommands(env, self._offered)

    def _offered(self, commands: Sequence[str], _task: str) -> list[str]:
        """Return the commands of the chosen forms; where the simulator asks which of several things is meant, its numbers."""
        forms = self.config.scienceworld.commands
        is_chosen = re.compile("|".join(map(translate, forms))).match if forms else bool
        return [command for command in commands if is_chosen(command)] or list(commands)

    def _options(self, split: Split, count: int) -> list[dict[str, Any]]:
        tasks = [find_task(name) for name in self.config.scienceworld.tasks]
        columns = [[{"task": task.name, "variation": number} for number in task.variations_of(split)] for task in tasks]
        return [options for options in chain.from_iterable(zip_longest(*columns)) if options][:count]


def _steps(solution: Sequence[str], room: str) -> list[tuple[str, str]]:
    """Return the actions of a solution, each with the room in which it is done."""
    steps = []
    for action in solution:
        if not action.startswith("open door"):
            steps.append((room, action))
        if _is_movement(action):
            room = action.partition(" to ")[2]
    return steps


def _beyond(steps: list[tuple[str, str]], room: str) -> list[tuple[str, str]]:
    """Leave out the movements at the beginning that have become needless in a room that lies on the way."""
    for place, (here, action) in enumerate(steps):
        if here == room:
            return steps[place:]
        if not _is_movement(action):
            break
    return steps


def _is_movement(action: str) -> bool:
    return action.startswith(("go to ", "teleport to "))


def _room_in(observation: str) -> str:
    """Return the room that the agent has come to, or that it looks at; empty if the text names none."""
    found = _ARRIVED.match(observation)
    return found[1] if found else ""


def _overlap(ours: set[str], theirs: set[str]) -> float:
    return len(ours & theirs) / len(ours | theirs)
