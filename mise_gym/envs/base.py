"""TextEnv: what every environment of this suite promises, and the parts of it that do not depend on the simulator."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

import gymnasium as gym

from mise_gym.errors import ConfigError, MiseError
from mise_gym.registry import unknown_name
from mise_gym.spaces import FreeText

RewardMode = Literal["sparse", "dense"]
REWARD_MODES: Final = ("sparse", "dense")
_OF_VECTORS: Final = ("autoreset_mode", "context", "processes", "slots")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a simulator says after a start or an action."""

    text: str
    """The observation."""
    score: float
    """The simulator's own score so far."""
    max_score: float
    """The score of a perfect episode."""
    progress: float
    """The share of the task that is done, in [0, 1]; 1 means success."""
    terminated: bool = False
    """Whether the simulator says that the task is over, won or lost."""
    valid_action: bool = True
    """Whether the simulator understood the action."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an episode is about."""

    goal: str
    """The task in words, as the agent is told."""
    task_id: str
    """A name that ``reset(options=...)`` understands."""
    split: str
    """"train", "valid" or "test"."""


class TextEnv(gym.Env[str, str], ABC):
    """An environment in which both observation and action are text.

    A subclass says how an episode starts (``_start``), what an action does (``_act``), what else it can tell (``_extra``) and how
    the task is solved (``expert_actions``); rewards, limits, checks and the information dictionary are the same for all.

    Args:
        max_turns: Step limit; the episode is truncated there. ``None`` means none.
        reward_mode: "sparse" gives the progress made at the end of the episode, truncated or not, and 0 before; "dense" gives the
            progress made in each turn. Both sum to the same number.
        infos: Names of additional entries of the information dictionary, out of ``available_infos``.
        render_mode: ``None`` or "ansi" (``render`` returns the last exchange as text).

    Raises:
        ConfigError: A value is out of range.
        UnknownNameError: A name in ``infos`` is not in ``available_infos``, or an argument is not one of the class.

    Note:
        Set the step limit with ``max_turns``. The limit of ``gym.make(..., max_episode_steps=N)`` lies in a wrapper of Gymnasium
        that this class cannot see: it truncates all the same, but a sparse reward for partial progress is not paid there.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  # declared like this by Gymnasium
    available_infos: ClassVar[tuple[str, ...]] = ()
    """What ``infos`` may ask for."""
    known_options: ClassVar[tuple[str, ...]] = ()
    """What ``reset(options=...)`` may choose."""

    def __new__(cls, *_: Any, **arguments: Any) -> Self:
        """Refuse arguments that the class does not have, with the nearest one that it has."""
        check_arguments(cls, list(arguments))
        return super().__new__(cls)

    def __init__(
        self,
        *,
        max_turns: int | None,
        reward_mode: RewardMode,
        infos: Sequence[str],
        render_mode: str | None,
    ) -> None:
        if max_turns is not None and max_turns < 1:
            raise ConfigError(f"max_turns is {max_turns!r}; it must be at least 1, or None for no limit.")
        if reward_mode not in REWARD_MODES:
            raise unknown_name("reward mode", reward_mode, list(REWARD_MODES))
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise unknown_name("render mode", str(render_mode), self.metadata["render_modes"])
        if isinstance(infos, str):
            raise ConfigError(f"infos is the string {infos!r}; it must be a sequence of names: infos=({infos!r},).")
        for name in infos:
            if name not in self.available_infos:
                raise unknown_name("info", name, list(self.available_infos))
        self.observation_space = FreeText()
        self.action_space = FreeText()
        self.render_mode = render_mode
        self.max_turns = max_turns
        self.reward_mode = reward_mode
        self.infos = tuple(infos)
        self._task: Task | None = None
        self._scene: Scene | None = None
        self._turn = 0
        self._start_progress = 0.0
        self._is_over = False
        self._last_action: str | None = None

    @abstractmethod
    def _start(self, options: Mapping[str, Any]) -> tuple[Task, Scene]:
        """Begin the episode that ``options`` choose, or draw what they leave open from ``self.np_random``."""

    @abstractmethod
    def _act(self, action: str) -> Scene:
        """Apply an action, which may be any string."""

    @abstractmethod
    def expert_actions(self) -> list[str]:
        """Return actions that solve the current episode from its start.

        Raises:
            MiseError: There is no episode, or the simulator knows no solution.
        """

    def _extra(self, name: str) -> Any:
        """Return the value of one of ``available_infos`` for the current state."""
        raise NotImplementedError(name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seeds the choice of everything that ``options`` leave open.
            options: Which episode to begin; see ``known_options``.

        Returns:
            The first observation and the information dictionary.

        Raises:
            UnknownNameError: An option is not in ``known_options``.
        """
        super().reset(seed=seed)
        chosen = {key: value for key, value in (options or {}).items() if value is not None}
        for name in chosen:
            if name not in self.known_options:
                raise unknown_name("reset option", name, list(self.known_options))
        self._task, self._scene = None, None
        self._task, scene = self._start(chosen)
        self._turn, self._is_over, self._last_action = 0, False, None
        self._start_progress = scene.progress
        self._scene = scene
        return scene.text, self._info(scene)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply one action.

        Args:
            action: Any string. What the simulator does not understand costs a turn.

        Returns:
            Observation, reward, terminated, truncated and the information dictionary.

        Raises:
            ConfigError: The action is not a string.
            SimulatorCrashed: The simulator died; ``reset`` starts a new one.
            MiseError: There is no episode, or it is over.
        """
        before = self._running()
        if not isinstance(action, str):
            raise ConfigError(f"The action is {action!r} of type {type(action).__name__}; it must be a string.")
        scene = self._act(action)
        self._turn += 1
        truncated = not scene.terminated and self.max_turns is not None and self._turn >= self.max_turns
        self._is_over = scene.terminated or truncated
        self._scene, self._last_action = scene, action
        return scene.text, self._reward(before, scene), scene.terminated, truncated, self._info(scene)

    def render(self) -> str | None:
        """Return the last action and the text that followed, or ``None`` without a render mode."""
        if self.render_mode is None or self._scene is None:
            return None
        action = "" if self._last_action is None else f"> {self._last_action}\n\n"
        return action + self._scene.text

    def close(self) -> None:
        """Forget the episode; a second call does nothing."""
        self._task, self._scene = None, None

    def _running(self) -> Scene:
        if self._scene is None:
            raise MiseError("There is no episode. Call reset() before step().")
        if self._is_over:
            raise MiseError("The episode is over. Call reset() to begin the next one.")
        return self._scene

    def _reward(self, before: Scene, after: Scene) -> float:
        if self.reward_mode == "dense":
            return after.progress - before.progress
        return after.progress - self._start_progress if self._is_over else 0.0

    def _info(self, scene: Scene) -> dict[str, Any]:
        assert self._task is not None
        return {
            "progress": float(scene.progress),
            "success": bool(scene.progress >= 1.0),
            "score": float(scene.score),
            "max_score": float(scene.max_score),
            "turn": self._turn,
            "task": self._task.goal,
            "split": self._task.split,
            "task_id": self._task.task_id,
            "valid_action": bool(scene.valid_action),
            **{name: self._extra(name) for name in self.infos},
        }


def check_arguments(env_class: type[TextEnv], names: Sequence[str]) -> None:
    """Check the names of keyword arguments before the class is called with them.

    Raises:
        UnknownNameError: One of them is not an argument of the class.
        ConfigError: One of them belongs to a vector of environments.
    """
    parameters = inspect.signature(env_class.__init__).parameters
    known = [name for name in parameters if name != "self"]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in names:
        if name in _OF_VECTORS:
            elsewhere = "" if name == "slots" else f" With vectorization_mode, write vector_kwargs={{{name!r}: ...}}."
            raise ConfigError(
                f"{name!r} is an argument of a vector, not of {env_class.__name__}. Leave vectorization_mode out: "
                f"gym.make_vec(id, num_envs=N, vectorization='async', {name}=...).{elsewhere}"
            )
        if name not in known:
            raise unknown_name(f"argument of {env_class.__name__}", name, known)
