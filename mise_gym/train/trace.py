"""TokenTrace: an episode in tokens, with every choice that the policy made in it; and what writes one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mise_gym.train.policy import LLMPolicy


@dataclass(frozen=True, slots=True)
class Decision:
    """One token that the policy chose among several."""

    position: int
    """Where the chosen token stands in the episode's ids."""
    turn: int
    allowed: tuple[int, ...] | None
    """Token ids that could have been chosen; ``None`` is all of the vocabulary."""
    choice: int
    """Index of the chosen one in ``allowed``, or the token id itself where all were allowed."""
    logprob: float
    """Its log-probability among those allowed when it was chosen, at temperature 1."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What the policy wrote in one turn."""

    action: str
    """What goes to the environment."""
    text: str
    """All that was written, thoughts included, without the blanks around it."""
    ids: list[int]
    """The same in tokens, as it stands in the episode."""
    is_malformed: bool = False
    """Whether no command could be found in the text, or the policy had to be led to one."""


@dataclass(slots=True)
class TokenTrace:
    """An episode as the policy saw and wrote it, in tokens."""

    ids: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    value_positions: list[int] = field(default_factory=list)
    """For each turn, the position of the last token before its action."""
    writings: list[Writing] = field(default_factory=list)
    """For each turn, what the policy wrote."""


class ActionWriter(Protocol):
    """Writes the actions of a batch of running episodes, turn by turn: ``act``, ``observe``, ``act``, ..."""

    traces: list[TokenTrace]
    """One per row, finished ones included."""

    def act(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Write the next action of every running row.

        Args:
            commands: Admissible commands of each running row, in row order; empty where the environment lists none.

        Returns:
            One action per running row.
        """
        ...

    def observe(self, keep: Sequence[int], observations: Sequence[list[int]]) -> None:
        """Append what came back, and drop finished rows.

        Args:
            keep: Places, among the running rows, of those that go on.
            observations: Token ids of what each running row saw, in row order; finished ones included.
        """
        ...


class BeginWriting(Protocol):
    """Starts a batch of episodes."""

    def __call__(
        self, policy: LLMPolicy, openings: Sequence[list[int]], seeds: Sequence[int], temperature: float
    ) -> ActionWriter:
        """Return the writer of a batch.

        Args:
            policy: The model, or the learner's copy of it.
            openings: Token ids before the first action, one list per row.
            seeds: One per row; a row's samples depend on its own seed alone.
            temperature: 1 samples from the policy, 0 takes the likeliest token.
        """
        ...
