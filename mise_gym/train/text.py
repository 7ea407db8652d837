"""How an episode becomes one token sequence, and where its hindsight questions stand.

One episode reads::

    <bos> TASK OBSERVATION_0 > ACTION_0 newline OBSERVATION_1 > ACTION_1 newline ...
    Hindsight: ACTION_0 : ? newline ACTION_1 : ? newline ...

Each ``?`` is a slot: the probability of the word "good" against "bad" there is the belief that this turn was part of a successful
attempt. Nothing is written into the slots, so one forward pass reads all beliefs and none depends on another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.types import Episode

HINDSIGHT_HEADING: Final = "\nHindsight:\n"
GOOD: Final = " good"
BAD: Final = " bad"


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

    Raises:
        ConfigError: The tokenizer cannot tell "good" from "bad" by their first token.
    """

    def __init__(self, tokenizer: Any, max_observation_tokens: int = 256) -> None:
        self.tokenizer = tokenizer
        self.max_observation_tokens = max_observation_tokens
        self.encode = lru_cache(maxsize=50_000)(self._encode)
        good, bad = self.encode(GOOD), self.encode(BAD)
        if not good or not bad or good[0] == bad[0]:
            raise ConfigError(
                f"The tokenizer does not tell {GOOD!r} from {BAD!r} by their first tokens, so beliefs cannot be read. "
                "Check that the folder of the model holds its whole tokenizer, or use another model."
            )
        self.good_id, self.bad_id = good[0], bad[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made of, without its cache."""
        return EpisodeText, (self.tokenizer, self.max_observation_tokens)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

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
        said = " ".join(task.split()) in " ".join(observation.split())
        return [*([] if bos is None else [bos]), *self.observation(observation if said else f"{task} {observation}")]

    def action(self, text: str) -> list[int]:
        """Return the ids of one action, closed by a line break."""
        return list(self.encode(f" {text}\n"))

    def decode_action(self, ids: Sequence[int]) -> str:
        """Return the action that ``action`` would have encoded as ``ids``."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

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
