"""The exceptions that mise-gym raises.

MiseError
├── ConfigError (ValueError)          a setting is wrong or contradicts another
│   └── UnknownNameError              no such judge, calibrator, split, ... (with a suggestion)
├── MissingExtraError (ImportError)   an optional package is not installed
├── GameFileError                     a file is not a playable game
│   └── GameGenerationError           the generator or compiler failed
├── SimulatorCrashed (RuntimeError)   the simulator died; ``reset`` starts a new one
├── TrajectoryFormatError             a recorded-episodes file cannot be read
├── CheckpointError                   a checkpoint is missing, truncated or from another run
├── JudgeError                        a judge gave no usable scores
└── ChatError                         a language model behind an endpoint gave no reply
"""

from typing import Literal

ChatErrorKind = Literal["refused", "timeout", "rate_limited", "budget", "error"]


class MiseError(Exception):
    """Base of every error raised on purpose by mise-gym."""


class ConfigError(MiseError, ValueError):
    """A setting is out of range or contradicts another one."""


class UnknownNameError(ConfigError):
    """A name is not in the table it was looked up in."""


class MissingExtraError(MiseError, ImportError):
    """An optional package is needed and not installed."""


class GameFileError(MiseError):
    """A file that was given as a game cannot be played."""


class GameGenerationError(GameFileError):
    """A game could not be generated or compiled."""


class SimulatorCrashed(MiseError, RuntimeError):
    """The simulator behind an environment died; call ``reset`` to start a new one."""


class TrajectoryFormatError(MiseError):
    """A file of recorded episodes cannot be read."""


class CheckpointError(MiseError):
    """A checkpoint is missing, truncated or does not belong to this run."""


class JudgeError(MiseError):
    """A judge gave no usable scores and the caller asked for an error."""


class ChatError(MiseError):
    """A language model behind an endpoint gave no reply.

    Args:
        message: What happened.
        kind: Why there is no reply; the values are those of ``mise_gym.rewards.JudgeStatus``.
        is_passing: Whether the same request may succeed a little later.
        retry_after_seconds: How long the endpoint asked to wait; ``None`` when it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ChatErrorKind = "error",
        is_passing: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.is_passing = is_passing
        self.retry_after_seconds = retry_after_seconds
