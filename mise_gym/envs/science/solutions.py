"""The simulator's own solutions ("gold paths"), computed on request and kept on disk."""

import json
import os
import tempfile

from mise_gym.envs.science.machine import Machine
from mise_gym.envs.science.overlay import cache_folder
from mise_gym.errors import MiseError


def solution(machine: Machine, task: str, variation: int, simplifications: str) -> list[str]:
    """Return the actions of the simulator's own agent.

    Args:
        machine: Where to compute them if they are not on disk yet.
        task: Name of the task.
        variation: Its number.
        simplifications: As ``tasks.spell_out`` gives them.

    Returns:
        The actions up to the one that completes the task.

    Raises:
        MiseError: That agent does not complete the task.
        SimulatorCrashed: The simulator failed on the way.
    """
    path = cache_folder() / "solutions" / f"{task}-{variation}-{simplifications or 'plain'}.json"
    if path.exists():
        return list(json.loads(path.read_text(encoding="utf-8")))
    actions = _as_far_as_needed(machine, task, variation, simplifications)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(actions, file)
        os.replace(file.name, path)
    except OSError:
        pass  # without a cache it takes as long the next time
    return actions


def _as_far_as_needed(machine: Machine, task: str, variation: int, simplifications: str) -> list[str]:
    """Compute a solution and play it: many go on after the task is done."""
    actions = machine.gold(task, variation, simplifications)
    world = machine.open()
    try:
        machine.load(world, task, variation, simplifications, 0)
        for turn, action in enumerate(actions, start=1):
            if machine.step(world, action, 0).is_done:
                return actions[:turn]
    finally:
        machine.leave(world)
    raise MiseError(f"The simulator's own agent fails in variation {variation} of {task!r}. Choose another variation.")
