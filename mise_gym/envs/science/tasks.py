"""The 30 tasks of ScienceWorld, their variations and their splits: known without starting the simulator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name

SPLITS: Final = ("train", "valid", "test")
SIMPLIFICATIONS: Final = ("teleportAction", "openDoors", "openContainers", "selfWateringFlowerPots", "noElectricalAction")
_EASY: Final = ("teleportAction", "openDoors", "selfWateringFlowerPots", "noElectricalAction")
"""What "easy" stands for; the tasks with circuits keep the electrical actions."""


@dataclass(frozen=True, kw_only=True)
class ScienceTask:
    """One task."""

    id: str
    """The number in the paper, such as "1-1"."""
    name: str
    variations: int
    """How many there are, numbered from 0."""
    expert_lengths: tuple[int | None, ...]
    """How many actions the simulator's own agent takes in the first variation of each of ``SPLITS``; ``None`` if it fails."""

    @property
    def env_id(self) -> str:
        """The id of the environment with this task only, such as "mise/ScienceWorld-FindPlant-v0"."""
        return f"mise/ScienceWorld-{''.join(word.capitalize() for word in self.name.split('-'))}-v0"

    @property
    def has_circuits(self) -> bool:
        """Whether the task cannot be done without electrical actions."""
        return "power-component" in self.name or "conductivity" in self.name

    def variations_of(self, split: str) -> range:
        """Return the variations of a split: the first half for training, the next quarter for validation, the rest for tests."""
        quarter = self.variations // 4
        starts = dict(zip(SPLITS, (0, 2 * quarter, 3 * quarter), strict=True))
        ends = dict(zip(SPLITS, (2 * quarter, 3 * quarter, self.variations), strict=True))
        return range(starts[split], ends[split])

    def split_of(self, variation: int) -> str:
        """Return the split of a variation.

        Raises:
            ConfigError: There is no such variation.
        """
        for split in SPLITS:
            if variation in self.variations_of(split):
                return split
        raise ConfigError(f"The variation of {self.name!r} is {variation}; it must be a number from 0 to {self.variations - 1}.")


TASKS: Final = tuple(
    ScienceTask(id=number, name=name, variations=variations, expert_lengths=lengths)
    for number, name, variations, lengths in (
        ("1-1", "boil", 30, (36, 41, 87)),
        ("1-2", "melt", 30, (32, 19, 66)),
        ("1-3", "freeze", 30, (22, 36, 81)),
        ("1-4", "change-the-state-of-matter-of", 30, (22, 19, 66)),
        ("2-1", "use-thermometer", 540, (21, 13, 13)),
        ("2-2", "measure-melting-point-known-substance", 436, (24, 73, 30)),
        ("2-3", "measure-melting-point-unknown-substance", 300, (31, 15, 95)),
        ("3-1", "power-component", 20, (8, 10, 6)),
        ("3-2", "power-component-renewable-vs-nonrenewable-energy", 20, (24, 25, 9)),
        ("3-3", "test-conductivity", 900, (24, 22, 14)),
        ("3-4", "test-conductivity-of-unknown-substances", 600, (24, 28, 22)),
        ("4-1", "find-living-thing", 300, (10, 8, 16)),
        ("4-2", "find-non-living-thing", 300, (5, 3, 7)),
        ("4-3", "find-plant", 300, (10, 12, 12)),
        ("4-4", "find-animal", 300, (10, 8, 16)),
        ("5-1", "grow-plant", 126, (35, 47, 41)),
        ("5-2", "grow-fruit", 126, (70, 96, 76)),
        ("6-1", "chemistry-mix", 32, (19, 15, 18)),
        ("6-2", "chemistry-mix-paint-secondary-color", 36, (8, 8, 6)),
        ("6-3", "chemistry-mix-paint-tertiary-color", 36, (15, 15, 13)),
        ("7-1", "lifespan-longest-lived", 125, (5, 5, 3)),
        ("7-2", "lifespan-shortest-lived", 125, (5, 5, 3)),
        ("7-3", "lifespan-longest-lived-then-shortest-lived", 125, (6, 6, 4)),
        ("8-1", "identify-life-stages-1", 14, (39, 38, 40)),
        ("8-2", "identify-life-stages-2", 10, (14, 14, 10)),
        ("9-1", "inclined-plane-determine-angle", 168, (54, 55, 75)),
        ("9-2", "inclined-plane-friction-named-surfaces", 1386, (50, 58, 110)),
        ("9-3", "inclined-plane-friction-unnamed-surfaces", 162, (177, 107, 191)),
        ("10-1", "mendelian-genetics-known-plant", 120, (142, 145, None)),
        ("10-2", "mendelian-genetics-unknown-plant", 480, (141, 146, 147)),
    )
)
"""Every task."""


def find_task(name: str) -> ScienceTask:
    """Return the task with this name or id.

    Raises:
        UnknownNameError: There is none.
    """
    for task in TASKS:
        if name in (task.name, task.id):
            return task
    raise unknown_name("task", name, [task.name for task in TASKS])


def check_simplifications(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names if every one is known.

    Raises:
        ConfigError: This is a string instead of a sequence of names.
        UnknownNameError: A name is not known.
    """
    if isinstance(names, str):
        raise ConfigError(f"simplifications is the string {names!r}; it must be a sequence of names: ({names!r},).")
    for name in names:
        if name not in (*SIMPLIFICATIONS, "easy"):
            raise unknown_name("simplification", name, [*SIMPLIFICATIONS, "easy"])
    return tuple(names)


def suits(task: ScienceTask, simplifications: Sequence[str]) -> bool:
    """Return whether the task can be done with these simplifications."""
    return not (task.has_circuits and "noElectricalAction" in simplifications)


def spell_out(task: ScienceTask, simplifications: Sequence[str]) -> str:
    """Return the simplifications as the simulator reads them, "easy" replaced by what it means for the task.

    Example:
        >>> spell_out(find_task("boil"), ["easy"])
        'teleportAction,openDoors,selfWateringFlowerPots,noElectricalAction'
    """
    easy = [name for name in _EASY if suits(task, [name])] if "easy" in simplifications else []
    chosen = {*simplifications, *easy} - {"easy"}
    return ",".join(name for name in SIMPLIFICATIONS if name in chosen)
