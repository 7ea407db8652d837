"""Observations as vectors, for learners that take arrays: hashed words, or the user's own embedding."""

import re
import zlib
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import ArrayLike, NDArray

from mise_gym.errors import ConfigError
from mise_gym.registry import Registry

FloatVector = NDArray[np.float32]

_WORD: Final = re.compile(r"\w+")


def hash_text(text: str, size: int, ngrams: int = 2) -> FloatVector:
    """Return the hashed bag of the words and word n-grams of ``text``.

    Args:
        text: Any string; case and punctuation do not matter.
        size: Length of the vector, at least 1.
        ngrams: Longest n-gram in words; 1 ignores word order.

    Returns:
        Shape ``(size,)``, of Euclidean length 1, or all zeros when there is no word. The same in every process and on every
        machine.

    References:
        Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature Hashing for Large Scale Multitask Learning", arXiv
        0902.2206.

    Example:
        >>> bool((hash_text("Take the fork!", 64) == hash_text("take the FORK", 64)).all())
        True
    """
    words = _WORD.findall(text.casefold())
    spans = [(start, start + length) for length in range(1, ngrams + 1) for start in range(len(words) - length + 1)]
    grams = [" ".join(words[start:end]) for start, end in spans]
    codes = np.array([zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams], dtype=np.int64)
    vector = np.bincount((codes >> 1) % size, weights=2 * (codes & 1) - 1, minlength=size).astype(np.float32)
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm > 0 else vector


class HashedText(gym.ObservationWrapper[FloatVector, str, str], RecordConstructorArgs):
    """Text observations become hashed bags of words: a ``Box`` of shape ``(size,)`` in [-1, 1], with no model and no vocabulary.

    Args:
        env: A text environment.
        size: Length of the vector. Small sizes mix up words; 512 to 4096 suits a page of text.
        ngrams: Longest word n-gram; 1 ignores word order.

    Raises:
        ConfigError: ``size`` or ``ngrams`` is below 1.
    """

    def __init__(self, env: gym.Env[str, str], size: int = 512, ngrams: int = 2) -> None:
        RecordConstructorArgs.__init__(self, size=size, ngrams=ngrams)
        super().__init__(env)
        if size < 1 or ngrams < 1:
            raise ConfigError(f"HashedText(size={size!r}, ngrams={ngrams!r}) needs both at least 1.")
        self.observation_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.size = size
        self.ngrams = ngrams

    def observation(self, observation: str) -> FloatVector:
        """Return the hashed text. Shape ``(size,)``."""
        return hash_text(observation, self.size, self.ngrams)


class EmbeddedText(gym.ObservationWrapper[FloatVector, str, str], RecordConstructorArgs):
    """Text observations become vectors through a function of yours, for example a sentence encoder.

    Args:
        env: A text environment.
        embed: ``"module:function"``, or the function itself: one string in, one vector of ``size`` numbers out. Only the name
            survives ``env.spec.to_json()``.
        size: Length of the vector.

    Raises:
        ConfigError: ``size`` is below 1, or, at the first observation, ``embed`` returned another shape.
        UnknownNameError: The name cannot be imported.
    """

    def __init__(self, env: gym.Env[str, str], embed: str | Callable[[str], ArrayLike], size: int) -> None:
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, embed=embed, size=size)
        super().__init__(env)
        if size < 1:
            raise ConfigError(f"EmbeddedText(size={size!r}) needs a size of at least 1.")
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.size = size
        self._embed: Callable[[str], Any] = Registry("embedding", {}).load(embed) if isinstance(embed, str) else embed

    def observation(self, observation: str) -> FloatVector:
        """Return the embedded text. Shape ``(size,)``."""
        vector = np.asarray(self._embed(observation), dtype=np.float32)
        if vector.shape != (self.size,):
            raise ConfigError(f"embed returned shape {vector.shape}, not ({self.size},). Set size={vector.size} or change embed.")
        return vector
