"""PerTaskCalibrator: one calibrator per kind of task, leaning on a common one while data are few."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.rewards.base import Calibrator, FloatArray, ReadsEpisodes
from mise_gym.rewards.catalog import make_calibrator
from mise_gym.types import Episode

TaskKey = Literal["kind", "task_id"]

_NUMBER_AT_THE_END: Final = re.compile(r"[-/_]?\d+$")


class PerTaskCalibrator:
    """Calibrates every kind of task by itself: a judge may be right about boiling and wrong about painting.

    c(s) = w c_kind(s) + (1 - w) c_all(s), w = n / (n + pooling), where n episodes of the kind were seen. So a new kind of task
    starts from what was learnt of all, and a frequent one relies on its own episodes.

    Args:
        by: What counts as one kind: ``"kind"`` is the episode's ``task_id`` without the number at its end ("boil/3" and "boil/7"
            are of one kind), ``"task_id"`` is every single task.
        pooling: Episodes of a kind after which it counts as much as all together. 0 uses nothing but the kind's own episodes.
        calibrator: Name of the calibrator that is made for every kind, or ``"module:Class"``.
        calibrator_kwargs: Its keyword arguments.

    Raises:
        ConfigError: An argument is out of range, ``calibrator`` is not a name, or it reads whole episodes itself.
        UnknownNameError: No such calibrator.
    """

    def __init__(
        self,
        by: TaskKey = "kind",
        pooling: float = 50.0,
        calibrator: str = "outcome",
        calibrator_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if by not in get_args(TaskKey) or pooling < 0:
            raise ConfigError(
                f"The per-task calibrator got by={by!r}, pooling={pooling!r}. "
                f"Give by as one of {', '.join(get_args(TaskKey))}, and pooling >= 0."
            )
        if not isinstance(calibrator, str):
            raise ConfigError(f"The per-task calibrator makes many calibrators and needs a name, not {calibrator!r}.")
        self.by = by
        self.pooling = pooling
        self._spec = calibrator, dict(calibrator_kwargs or {})
        self.pooled = self._make()
        """Learns from all episodes; used where the task is not known."""
        if isinstance(self.pooled, ReadsEpisodes):
            raise ConfigError(
                f"The calibrator {calibrator!r} reads whole episodes itself. Put 'per-task' inside it, not around it."
            )
        self._kinds: dict[str, _Kind] = {}

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return what the common calibrator says. Shape ``(T,)`` -> ``(T,)``."""
        return self.pooled(scores)

    def for_episode(self, episode: Episode) -> Calibrator:
        """Return the calibrator of an episode's kind of task."""
        key = episode.task_id if self.by == "task_id" else _NUMBER_AT_THE_END.sub("", episode.task_id)
        return self._kinds.get(key) or _Kind(self, key, self._make())

    def update(self, scores: Sequence[float], outcome: float) -> None:
        """Let the common calibrator learn from an episode of an unknown task."""
        self.pooled.update(scores, outcome)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the common calibrator and of every kind."""
        kinds = {key: {"own": kind.own.state_dict(), "episodes": kind.episodes} for key, kind in self._kinds.items()}
        return {"pooled": self.pooled.state_dict(), "kinds": kinds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            CheckpointError: The state is not that of a per-task calibrator.
        """
        try:
            kinds = {key: (dict(kind["own"]), int(kind["episodes"])) for key, kind in state["kinds"].items()}
            self.pooled.load_state_dict(state["pooled"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"The state of the per-task calibrator needs pooled and kinds; it has the keys {sorted(state)!r}. "
                "Load the state of the calibrator that the run used."
            ) from error
        self._kinds.clear()
        for key, (own, episodes) in kinds.items():
            self._kinds[key] = _Kind(self, key, self._make(), episodes)
            self._kinds[key].own.load_state_dict(own)

    def _make(self) -> Calibrator:
        return make_calibrator(*self._spec)

    def _learn(self, kind: "_Kind", scores: Sequence[float], outcome: float) -> None:
        self._kinds[kind.key] = kind
        self.pooled.update(scores, outcome)


@dataclass(slots=True)
class _Kind:
    """The calibrator of one kind of task; its state belongs to the whole."""

    whole: PerTaskCalibrator
    key: str
    own: Calibrator
    episodes: int = 0

    def __call__(self, scores: FloatArray) -> FloatArray:
        pooled = self.whole.pooled(scores)
        if not self.episodes:
            return pooled
        weight = self.episodes / (self.episodes + self.whole.pooling)
        return weight * self.own(scores) + (1 - weight) * pooled

    def update(self, scores: Sequence[float], outcome: float) -> None:
        self.whole._learn(self, scores, outcome)
        self.own.update(scores, outcome)
        self.episodes += 1

    def state_dict(self) -> dict[str, Any]:
        return self.whole.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.whole.load_state_dict(state)
