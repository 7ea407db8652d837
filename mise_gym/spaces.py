"""FreeText: the space of all strings.

``gymnasium.spaces.Text`` holds only strings over a fixed alphabet, so a blank or an accent fails the checker, and the
asynchronous vector environment corrupts it silently through shared memory, which ``FreeText`` refuses.
See ``docs/decisions/0002-free-text-space.md``.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import create_shared_memory

from mise_gym.errors import ConfigError


class FreeText(gym.Space[str]):
    """Every string up to ``max_length`` characters.

    Args:
        max_length: Longest string that the space contains, in characters.
        samples: Harmless strings that ``sample`` draws from.
        seed: Seed of the sampler.

    Example:
        >>> space = FreeText(samples=("look",))
        >>> "öffne die Tür" in space, space.sample()
        (True, 'look')
    """

    def __init__(
        self,
        max_length: int = 1_000_000,
        samples: Sequence[str] = ("look", "inventory"),
        seed: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)
        self.max_length = max_length
        self.samples = tuple(samples)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no flat array form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw one of ``samples``; masks make no sense for text and are refused."""
        if mask is not None or probability is not None:
            raise ValueError("FreeText cannot be sampled with a mask. Choose among admissible commands yourself.")
        return self.samples[int(self.np_random.integers(len(self.samples)))]

    def contains(self, x: Any) -> bool:
        """Return whether ``x`` is a string that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Return the samples as a list."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """Return the samples as a list of strings."""
        return [str(sample) for sample in sample_n]

    def __eq__(self, other: object) -> bool:
        """Spaces are equal when they contain the same strings."""
        return isinstance(other, FreeText) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]  # mutable generator inside, as in every gymnasium space

    def __repr__(self) -> str:
        """Return a constructor call."""
        return f"FreeText(max_length={self.max_length})"


@create_shared_memory.register(FreeText)
def _refuse_shared_memory(*_: Any, **__: Any) -> NoReturn:
    """Say what to write instead; Gymnasium's asynchronous vector asks for shared memory by default."""
    raise ConfigError(
        "Shared memory cannot hold text. Make the vector with gym.make_vec(id, num_envs=N, vectorization='async'), "
        "or with vectorization_mode='async' and vector_kwargs={'shared_memory': False}."
    )


def require_text(who: str, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
    """Check that an environment is one of text.

    Args:
        who: What needs text, for the message.
        observation_space: Of the environment.
        action_space: Of the environment.

    Raises:
        ConfigError: One of the spaces does not hold text.
    """
    for what, space in (("observation", observation_space), ("action", action_space)):
        is_text = space.shape is None and (isinstance(space, gym.spaces.Text) or "look" in space)  # numbers have a shape
        if not is_text:
            raise ConfigError(
                f"{who} needs text, but the {what} space is {space!r}. Put it inside the wrappers that turn text into numbers."
            )
