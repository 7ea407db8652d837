"""A tiny text world that needs no simulator; importing this module registers it."""

from typing import Any, Final

import gymnasium as gym

from mise_gym.spaces import FreeText

CORRIDOR_ID: Final = "tests/Corridor-v0"


class Corridor(gym.Env[str, str]):
    """A corridor of three to five rooms; ``go east`` reaches the exit, ``wait`` does nothing, anything else is not understood."""

    def __init__(self, infos: tuple[str, ...] = ()) -> None:
        self.observation_space = FreeText()
        self.action_space = FreeText(samples=("go east", "wait"))
        self.infos = tuple(infos)
        self.length = 3
        self.room = 0
        self.turn = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.length = (options or {}).get("length") or int(self.np_random.integers(3, 6))
        self.room = self.turn = 0
        return f"Room 0 of {self.length}.", self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.turn += 1
        self.room += action == "go east"
        understood = action in ("go east", "wait")
        text = f"Room {self.room} of {self.length}." if understood else "I beg your pardon?"
        won = self.room == self.length
        return text, float(won), won, False, self._info(understood)

    def _info(self, understood: bool) -> dict[str, Any]:
        info: dict[str, Any] = {
            "progress": self.room / self.length,
            "success": self.room == self.length,
            "score": float(self.room),
            "max_score": float(self.length),
            "turn": self.turn,
            "task": "Reach {the} exit.",
            "split": "train",
            "task_id": f"corridor-{self.length}",
            "valid_action": understood,
        }
        if "admissible_commands" in self.infos:
            info["admissible_commands"] = ["go east", "wait"]
        return info


if CORRIDOR_ID not in gym.registry:
    gym.register(id=CORRIDOR_ID, entry_point="tests.corridor:Corridor", max_episode_steps=12)
