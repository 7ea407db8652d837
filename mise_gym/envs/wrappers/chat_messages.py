"""ChatMessages: the episode as the message list that chat models take."""

from typing import Any, Final, SupportsFloat

import gymnasium as gym
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from mise_gym.errors import ConfigError
from mise_gym.spaces import FreeText

Message = dict[str, str]

DEFAULT_SYSTEM: Final = "You are playing a text game. Your task: {task} Answer each message with one command."
"""System message of ``ChatMessages``; ``{task}`` becomes the goal text of the episode."""


class ChatMessages(gym.Wrapper[tuple[Message, ...], str, str, str], RecordConstructorArgs):
    """Observations become chat messages: ``system`` gives the task, then ``user`` (what was seen) and ``assistant`` alternate.

    The result fits ``tokenizer.apply_chat_template(list(observation), add_generation_prompt=True)``.

    Args:
        env: A text environment.
        system: The system message, in which ``{task}`` becomes ``info["task"]``; ``""`` leaves it out.
        turns: How many past turns to keep; ``None`` keeps all of them. The system message always stays.

    Raises:
        ConfigError: ``turns`` is negative.

    Note:
        Outside an ``ActionParser`` the assistant messages hold the model's whole text, reasoning included; inside one they hold
        the bare command.
    """

    def __init__(self, env: gym.Env[str, str], system: str = DEFAULT_SYSTEM, turns: int | None = None) -> None:
        RecordConstructorArgs.__init__(self, system=system, turns=turns)
        super().__init__(env)  # type: ignore[arg-type]  # gymnasium's hint names the outer types for the inner environment
        if turns is not None and turns < 0:
            raise ConfigError(f"ChatMessages(turns={turns!r}) is negative. Use None to keep all turns, or 0 or more.")
        message = spaces.Dict({"role": FreeText(samples=("user",)), "content": FreeText()})
        self.observation_space = spaces.Sequence(message)
        self.system = system
        self.turns = turns
        self._system: tuple[Message, ...] = ()
        self._dialogue: list[Message] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[Message, ...], dict[str, Any]]:
        """Start an episode; the messages are the task and the first observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        text = self.system.replace("{task}", str(info.get("task", "")))
        self._system = (_message("system", text),) if text else ()
        self._dialogue = [_message("user", observation)]
        return self._messages(), info

    def step(self, action: str) -> tuple[tuple[Message, ...], SupportsFloat, bool, bool, dict[str, Any]]:
        """Act, and return the dialogue with the action and its answer added."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._dialogue += [_message("assistant", action), _message("user", observation)]
        if self.turns is not None:
            self._dialogue = self._dialogue[-(2 * self.turns + 1) :]
        return self._messages(), reward, terminated, truncated, info

    def _messages(self) -> tuple[Message, ...]:
        return tuple(dict(message) for message in (*self._system, *self._dialogue))


def _message(role: str, content: object) -> Message:
    return {"role": role, "content": str(content)}
