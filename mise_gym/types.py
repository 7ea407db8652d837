"""The nouns that every room shares: a transition and a finished episode."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One turn: what the agent saw, what it wrote, what came back."""

    observation: str
    """Text that the agent saw before acting."""
    action: str
    """Text that the agent wrote."""
    reward: float
    """The environment's reward e_t of this turn, before any judge."""
    next_observation: str
    """Text that came back."""
    progress: float = 0.0
    """The simulator's progress after the turn, in [0, 1]."""
    valid_action: bool = True
    """Whether the simulator understood the action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode, or, while it runs, its turns so far."""

    task: str
    """Goal text."""
    transitions: tuple[Transition, ...]
    progress: float
    """The outcome R: the simulator's final progress, in [0, 1]."""
    success: bool
    """Whether progress reached its maximum."""
    terminated: bool
    """Whether the simulator ended the episode (won or lost)."""
    truncated: bool
    """Whether a step limit ended the episode."""
    task_id: str = ""
    split: str = ""
    seed: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Whatever else a recorder wants to keep; must be JSON-serialisable."""

    def __len__(self) -> int:
        """Return the number of turns."""
        return len(self.transitions)
