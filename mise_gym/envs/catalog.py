"""THE TABLE of environment ids, and their registration with Gymnasium."""

from dataclasses import dataclass, field
from typing import Any, Final

import gymnasium as gym

from mise_gym.envs.science.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class EnvRow:
    """One id."""

    id: str
    entry_point: str
    """``"module:Class"``, imported when the first environment is made."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the class that make this id different from others of the same class."""


ENVS: Final = (
    EnvRow(id="mise/TextWorld-v0", entry_point="mise_gym.envs.textworld:TextWorldEnv", kwargs={"challenge": "tw-simple"}),
    EnvRow(id="mise/FTWP-v0", entry_point="mise_gym.envs.ftwp:FTWPEnv", kwargs={"challenge": "tw-cooking"}),
    EnvRow(id="mise/ScienceWorld-v0", entry_point="mise_gym.envs.scienceworld:ScienceWorldEnv"),
    EnvRow(id="mise/WebShop-v0", entry_point="mise_gym.envs.webshop:WebShopEnv"),
    EnvRow(id="mise/WebShopBrowser-v0", entry_point="mise_gym.envs.webshop_browser:WebShopBrowserEnv"),
)
"""Every id of this package but those of ``TASK_ENVS``."""
TASK_ENVS: Final = tuple(
    EnvRow(id=task.env_id, entry_point="mise_gym.envs.scienceworld:ScienceWorldEnv", kwargs={"task": task.name}) for task in TASKS
)
"""One id for each task of ScienceWorld."""


def register_envs() -> None:
    """Register every id that is not registered yet."""
    for row in (*ENVS, *TASK_ENVS):
        if row.id not in gym.registry:
            name = row.id.rpartition("/")[2]
            gym.register(
                id=row.id,
                entry_point=row.entry_point,
                vector_entry_point=f"mise_gym.envs.vector:{name}",
                kwargs=row.kwargs,
            )
