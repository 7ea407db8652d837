"""TaskSet: what a training run has to know about an environment, and THE TABLE of environments that one can train on.

A new environment is one file in ``task_sets/`` with a subclass of ``TaskSet``, and a row here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from mise_gym.errors import ConfigError
from mise_gym.registry import Registry, unknown_name
from mise_gym.train.demonstrations import LabelledRecorder
from mise_gym.train.rollout import TextEnvironment

if TYPE_CHECKING:
    from mise_gym.train.config import TrainConfig

TASK_SETS: Final = Registry(
    "environment",
    {
        "ftwp": "mise_gym.train.task_sets.textworld:CookingTasks",
        "textworld": "mise_gym.train.task_sets.textworld:TextWorldTasks",
        "scienceworld": "mise_gym.train.task_sets.scienceworld:ScienceTasks",
        "webshop": "mise_gym.train.task_sets.webshop:ShoppingTasks",
    },
)
"""Value of ``--env`` -> its tasks."""
ENV_IDS: Final = {
    "mise/FTWP-v0": "ftwp",
    "mise/TextWorld-v0": "textworld",
    "mise/ScienceWorld-v0": "scienceworld",
    "mise/WebShop-v0": "webshop",
}
"""Registered id -> the same."""

Split = Literal["train", "valid"]


class TaskSet(ABC):
    """The tasks of one environment: those to train on, and those held out for evaluation.

    Args:
        config: The run's settings.

    Raises:
        MiseError: A setting of the environment is wrong.
    """

    recorder_class: ClassVar[type[LabelledRecorder]]
    """Plays an episode and labels its turns; works on environments that were made with ``labelled``."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def options(self, split: Split) -> list[dict[str, Any]]:
        """Return the options of ``reset`` for ``games.train`` training tasks, or ``games.heldout`` tasks of the valid split.

        Raises:
            ConfigError: There are not so many.
        """
        name, count = ("train", self.config.games.train) if split == "train" else ("heldout", self.config.games.heldout)
        found = self._options(split, count)
        if len(found) < count:
            raise ConfigError(
                f"The setting 'games.{name}' is {count}, but {self.config.env} has only {len(found)} such tasks. Lower it."
            )
        return found

    def prepare(self, *, progress: bool) -> None:  # noqa: B027  # most have nothing to prepare
        """Make what takes long and is kept for the next run.

        Args:
            progress: Whether to show a progress bar.
        """

    @abstractmethod
    def make_env(self, reward_mode: Literal["sparse", "dense"], *, labelled: bool = False) -> TextEnvironment:
        """Return a new environment that lists admissible commands.

        Args:
            reward_mode: What it pays.
            labelled: Whether it shall tell what ``recorder_class`` needs, which may take time.
        """

    @abstractmethod
    def _options(self, split: Split, count: int) -> list[dict[str, Any]]:
        """Return at most ``count`` options of ``reset``, always the same."""


def check_env(name: str) -> str:
    """Return the row of ``TASK_SETS`` for one of its names or for a registered id.

    Raises:
        UnknownNameError: It is neither.
    """
    row = ENV_IDS.get(name, name)
    if row not in TASK_SETS:
        raise unknown_name("environment to train on", name, [*TASK_SETS, *ENV_IDS])
    return row


def task_set(config: TrainConfig) -> TaskSet:
    """Return the tasks that a run is about; errors as ``TaskSet`` and ``check_env``."""
    tasks: TaskSet = TASK_SETS.load(check_env(config.env))(config)
    return tasks
