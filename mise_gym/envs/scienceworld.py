"""ScienceWorldEnv: thirty tasks of elementary school science in a simulated house with a workshop and a greenhouse."""

import operator
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from mise_gym.envs.base import RewardMode, Scene, Task, TextEnv
from mise_gym.envs.science.machine import Machine, shared_machine
from mise_gym.envs.science.server import EXTRAS, Reply
from mise_gym.envs.science.solutions import solution
from mise_gym.envs.science.tasks import SPLITS, TASKS, ScienceTask, check_simplifications, find_task, spell_out, suits
from mise_gym.errors import ConfigError, MiseError, SimulatorCrashed
from mise_gym.registry import unknown_name

_UNREADABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and lone surrogates; the simulator would drop some and choke on others."""
_NOT_UNDERSTOOD: Final = ("No known action matches that input.", "Unknown action.")
_MAX_SCORE: Final = 100.0


class ScienceWorldEnv(TextEnv):
    """Thirty tasks of elementary school science: boil water, build a circuit, grow a fruit, cross peas.

    ## Description
    The agent walks through a house with ten rooms and a garden, uses instruments and devices, and so does an experiment or finds
    something. There are 30 tasks with 10 to 1386 variations each, 7207 in all: other substances, other rooms, other things.
    The simulator is ScienceWorld; it runs in Java, in one machine for all environments of a Python process.

    ## Observation
    What the simulator says, as one string. The first one is what the agent sees around it; the task is in ``info["task"]``.

    ## Actions
    Any string. The simulator knows 25 actions ("open door to kitchen", "focus on thermometer", "pour cup into sink", "wait").
    If an input can be read in several ways it asks for a number, and ``info["ambiguous"]`` is ``True``: the next action is the
    answer ("0", "1", ...), and everything else cancels the request and does nothing. What is not understood costs a turn and
    sets ``info["valid_action"]`` to ``False``.

    ## Rewards
    ``reward_mode="sparse"``: the final progress (score divided by 100, 0 if failed) when the episode ends, also when it is
    truncated. ``reward_mode="dense"``: the progress made in each turn.

    ## Episode end
    Terminated when the task is done (score 100) or failed, mostly by focusing on the wrong thing. Truncated after ``max_turns``
    turns.

    ## Information
    Always ``progress``, ``success`` (score 100, nothing less), ``failed``, ``ambiguous``, ``score`` (-100 if failed),
    ``max_score``, ``turn``, ``task``, ``split``, ``task_id`` ("boil/3") and ``valid_action``. On request (``infos=``):
    ``admissible_commands`` (sorted; up to 3000, which takes a few milliseconds), ``look``, ``inventory`` and ``moves`` (the
    simulator's clock: looking costs nothing, "wait" ten moves). Asking for them does not change the episode.

    ## Arguments
    - ``task``: play only this task, by name ("boil") or number ("1-1"); ``None`` draws one at every reset.
    - ``split``: the split that ``reset`` draws variations from.
    - ``simplifications``: out of "teleportAction", "openDoors", "openContainers", "selfWateringFlowerPots", "noElectricalAction";
      "easy" stands for all but "openContainers". Without electrical actions the tasks about circuits are not drawn.
    - ``max_turns``, ``reward_mode``, ``infos``, ``render_mode``: as in every text environment. 100 turns are what most papers
      allow; some tasks take the expert longer.

    ## Options
    ``reset(options=...)`` knows ``task`` (as above, or a ``task_id``), ``variation`` (a number) and ``split``. Every task
    has an id of its own as well: ``mise/ScienceWorld-Boil-v0`` is ``mise/ScienceWorld-v0`` with ``task="boil"``.

    ## Splits
    Upstream's own: the first half of a task's variations is ``train``, the next quarter ``valid`` (called "dev" there) and the
    last ``test``. Every task is in every split; what is varied differs.

    ## Seeding
    The seed decides which task and variation are drawn. The same seed, or the same task and variation, and the same actions give
    the same transcript, in every process, whatever other environments do. (The simulator alone does not: it orders things by
    their address in memory, and shares one source of chance among all environments.)

    ## Differences from upstream
    - Gymnasium's interface. Upstream's ``isCompleted`` is ``True`` for a task done, a task failed and a step limit alike; here
      they are ``success``, ``failed`` and ``truncated``.
    - The same actions give the same transcript in every process, and one Java machine serves all environments.
    - What ``infos`` does not ask for is not computed.
    - A failure ends with progress 0, so that rewards are never below -1; the simulator's score, -100, is in ``score``.

    ## Version history
    - v0: first version, with ScienceWorld 1.2.

    ## References
    - Wang, Jansen, Côté and Ammanabrolu, "ScienceWorld: Is your Agent Smarter than a 5th Grader?", arXiv:2203.07540.
    """

    available_infos: ClassVar[tuple[str, ...]] = ("admissible_commands", "look", "inventory", "moves")
    known_options: ClassVar[tuple[str, ...]] = ("task", "variation", "split")

    def __init__(  # noqa: PLR0913  # every argument is a keyword of gym.make
        self,
        *,
        task: str | None = None,
        split: str = "train",
        simplifications: Sequence[str] = (),
        max_turns: int | None = 100,
        reward_mode: RewardMode = "sparse",
        infos: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        super().__init__(max_turns=max_turns, reward_mode=reward_mode, infos=infos, render_mode=render_mode)
        self.split = _check_split(split)
        self.simplifications = check_simplifications(simplifications)
        self.task = None if task is None else self._check_suits(find_task(task))
        self._wanted = sum(EXTRAS.get(name, 0) for name in self.infos)
        self._world: _World | None = None
        self._reply: Reply | None = None
        self._chosen: tuple[str, int, str] | None = None

    def expert_actions(self) -> list[str]:
        """Return the simulator's own solution of the current episode; it takes up to 20 seconds the first time.

        Raises:
            MiseError: There is no episode, or the simulator's own agent fails in this one.
            SimulatorCrashed: The simulator died.
        """
        if self._chosen is None:
            raise MiseError("There is no episode. Call reset() first.")
        return solution(self._entered().machine, *self._chosen)

    def close(self) -> None:
        """Leave the simulator, which ends with its last environment; a second call does nothing."""
        super().close()
        self._leave()
        self._chosen, self._reply = None, None

    def _start(self, options: Mapping[str, Any]) -> tuple[Task, Scene]:
        task, variation = self._choose(options)
        self._chosen = (task.name, variation, spell_out(task, self.simplifications))
        self._reply = self._ask("load", *self._chosen, self._wanted | EXTRAS["task"])
        goal = self._reply.extras["task"]
        return Task(goal=goal, task_id=f"{task.name}/{variation}", split=task.split_of(variation)), self._scene_of(self._reply)

    def _act(self, action: str) -> Scene:
        readable = _UNREADABLE.sub("\ufffd", action)
        if self._reply is not None and self._reply.is_ambiguous:
            readable = readable.strip()  # the simulator takes " 1" for no number
        self._reply = self._ask("step", readable, self._wanted)
        return self._scene_of(self._reply)

    def _extra(self, name: str) -> Any:
        assert self._reply is not None
        if name == "moves":
            return self._reply.moves
        text = self._reply.extras[name]
        return sorted(dict.fromkeys(text.split("\n"))) if name == "admissible_commands" else text

    def _info(self, scene: Scene) -> dict[str, Any]:
        assert self._reply is not None
        return {**super()._info(scene), "failed": scene.score < 0, "ambiguous": self._reply.is_ambiguous}

    def _scene_of(self, reply: Reply) -> Scene:
        return Scene(
            text=reply.text,
            score=reply.score,
            max_score=_MAX_SCORE,
            progress=max(reply.score, 0) / _MAX_SCORE,
            terminated=reply.is_done or reply.score < 0,
            valid_action=not reply.text.startswith(_NOT_UNDERSTOOD),
        )

    def _choose(self, options: Mapping[str, Any]) -> tuple[ScienceTask, int]:
        """Return the task and variation that ``options`` choose, and draw what they leave open."""
        split = None if "split" not in options else _check_split(options["split"])
        name, variation = options.get("task"), options.get("variation")
        if isinstance(name, str) and "/" in name:
            name, _, number = name.partition("/")
            if variation is not None or not number.isdigit():
                raise ConfigError(f"The task is {options['task']!r}; give it as 'boil/3', or as 'boil' with the variation 3.")
            variation = int(number)
        task = self.task if name is None else self._check_suits(find_task(name))
        if variation is None:
            task = task or self._draw_task()
            choices = task.variations_of(split or self.split)
            return task, choices[int(self.np_random.integers(len(choices)))]
        if task is None:
            raise ConfigError(f"The variation is {variation!r}, but of no task. Add the option task.")
        variation = _check_number(variation)
        own = task.split_of(variation)
        if split not in (None, own):
            raise ConfigError(f"Variation {variation} of {task.name!r} is in the split {own!r}, not in {split!r}.")
        return task, variation

    def _draw_task(self) -> ScienceTask:
        tasks = [task for task in TASKS if suits(task, self.simplifications)]
        return tasks[int(self.np_random.integers(len(tasks)))]

    def _check_suits(self, task: ScienceTask) -> ScienceTask:
        if not suits(task, self.simplifications):
            raise ConfigError(f"The task {task.name!r} needs electrical actions. Drop the simplification 'noElectricalAction'.")
        return task

    def _ask(self, what: str, *arguments: Any) -> Reply:
        """Ask the simulator, entering it first if need be."""
        world = self._entered() if what == "step" else self._enter()
        reply: Reply = getattr(world.machine, what)(world.number, *arguments)
        if reply.error:
            self._leave()
            raise SimulatorCrashed(f"ScienceWorld failed: {reply.error}. Call reset() to go on.")
        return reply

    def _entered(self) -> "_World":
        if self._world is None:
            raise SimulatorCrashed("ScienceWorld has failed before. Call reset() to go on.")
        return self._world

    def _enter(self) -> "_World":
        """Return a world in a machine that works."""
        if self._world is None or not self._world.machine.is_usable:
            self._leave()
            self._world = _World(*shared_machine())
        return self._world

    def _leave(self) -> None:
        if self._world is not None:
            self._world.leave()
            self._world = None


class _World:
    """A place in a machine, which is given up at the latest when this object is forgotten."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine, self.number = machine, number
        self.leave = weakref.finalize(self, machine.leave, number)
        self.leave.atexit = False


def _check_split(split: Any) -> str:
    if split not in SPLITS:
        raise unknown_name("split", split, list(SPLITS))
    return str(split)


def _check_number(variation: Any) -> int:
    try:
        if not isinstance(variation, bool):
            return operator.index(variation)
    except TypeError:
        pass
    raise ConfigError(f"The variation is {variation!r}; it must be a number.")
