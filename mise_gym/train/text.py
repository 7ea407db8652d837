"""How an episode becomes one token sequence, and where its hindsight questions stand.

One episode reads::

    <bos> TASK OBSERVATION_0 > ACTION_0 newline OBSERVATION_1 > ACTION_1 newline ...
    Hindsight: ACTION_0 : ? newline ACTION_1 : ? newline ...

With thinking, an instruction stands before the task, and a turn reads ``> THOUGHT newline Action: ACTION_0 newline``. The
hindsight questions repeat only the actions.

Each ``?`` is a slot: the probability of the word "good" against "bad" there is the belief that this turn was part of a successful
attempt. Nothing is written into the slots, so one forward pass reads all beliefs and none depends on another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.train.trie import TokenTrie
from mise_gym.types import Episode

HINDSIGHT_HEADING: Final = "\nHindsight:\n"
GOOD: Final = " good"
BAD: Final = " bad"
ACTION_LABEL: Final = "Action:"
THINKING_INSTRUCTION: Final = (
    "Before each command think in a few words. Then write it on a line of its own, like this: Action: look"
)
WRITTEN: Final = "written"
"""Key in ``Episode.extra``: ``text``, ``ids`` and ``is_malformed`` of each turn, where the policy wrote more than the action."""


@dataclass(frozen=True, slots=True)
class Hindsight:
    """The questions behind an episode: token ids, and the offset in them of the token before each slot."""

    ids: list[int]
    slots: list[int]


class EpisodeText:
    """Turns observations, actions and hindsight questions into token ids, segment by segment.

    Segments are tokenised on their own, so the ids that the policy generated are the ids that it is trained on.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        max_observation_tokens: Longer observations keep their beginning and their end, half each.
        thinking: Whether thoughts come before each action.

    Raises:
        ConfigError: The tokenizer cannot tell "good" from "bad" by their first token.
    """

    def __init__(self, tokenizer: Any, max_observation_tokens: int = 256, *, thinking: bool = False) -> None:
        self.tokenizer = tokenizer
        self.max_observation_tokens = max_observation_tokens
        self.thinking = thinking
        self.encode = lru_cache(maxsize=50_000)(self._encode)
        self.piece = lru_cache(maxsize=200_000)(lambda token: self.decode([token]))
        self.choices = lru_cache(maxsize=1_000)(self._choices)
        good, bad = self.encode(GOOD), self.encode(BAD)
        if not good or not bad or good[0] == bad[0]:
            raise ConfigError(
                f"The tokenizer does not tell {GOOD!r} from {BAD!r} by their first tokens, so beliefs cannot be read. "
                "Check that the folder of the model holds its whole tokenizer, or use another model."
            )
        self.good_id, self.bad_id = good[0], bad[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made of, without its caches."""
        return partial(EpisodeText, thinking=self.thinking), (self.tokenizer, self.max_observation_tokens)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _command(self, text: str) -> tuple[int, ...]:
        return self.encode(f" {text}\n")

    def _choices(self, commands: tuple[str, ...]) -> TokenTrie:
        """Return the trie of some commands, each closed by a line break."""
        return TokenTrie.of(self._command(command) for command in commands)

    def observation(self, text: str) -> list[int]:
        """Return the ids of one observation and the prompt sign that asks for an action."""
        ids = self.encode(" " + " ".join(text.split()))
        limit = self.max_observation_tokens
        if len(ids) > limit:
            ids = ids[: limit // 2] + ids[len(ids) - (limit - limit // 2) :]
        return [*ids, *self.encode("\n>")]

    def opening(self, task: str, observation: str) -> list[int]:
        """Return the ids before the first action: the goal, unless the observation already says it, and the first observation."""
        bos = self.tokenizer.bos_token_id
        start = [*([] if bos is None else [bos]), *(self.encode(THINKING_INSTRUCTION) if self.thinking else ())]
        said = " ".join(task.split()) in " ".join(observation.split())
        return [*start, *self.observation(observation if said else f"{task} {observation}")]

    @property
    def end_id(self) -> int | None:
        """The token with which the model ends its text; ``None`` if it has none."""
        end: int | None = self.tokenizer.eos_token_id
        return end

    def action(self, text: str) -> list[int]:
        """Return the ids of one action without thoughts, closed by a line break."""
        return [*(self.encode(f" {ACTION_LABEL}") if self.thinking else ()), *self._command(text)]

    def written(self, episode: Episode) -> list[list[int]]:
        """Return the ids of what was written in each turn: thoughts and action where the episode holds them, or the action."""
        turns = episode.transitions
        return [list(turn["ids"]) for turn in episode.extra.get(WRITTEN, ())] or [self.action(turn.action) for turn in turns]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, without special ones."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def hindsight(self, actions: Sequence[str]) -> Hindsight:
        """Return the hindsight questions about an episode's actions."""
        ids = list(self.encode(HINDSIGHT_HEADING))
        slots = []
        for action in actions:
            ids += self.encode(f" {action} :")
            slots.append(len(ids) - 1)
            ids += self.encode("\n")
        return Hindsight(ids, slots)


def corpus(episodes: Sequence[Episode]) -> list[str]:
    """Return the segments of some episodes as a tokenizer trainer wants to see them."""
    texts = [HINDSIGHT_HEADING, GOOD, BAD, " :", "\n>"] * len(episodes)
    for episode in episodes:
        texts.append(" " + " ".join(f"{episode.task} {episode.transitions[0].observation}".split()))
        for turn in episode.transitions:
            texts += [f" {turn.action}\n", " " + " ".join(turn.next_observation.split())]
    return texts
