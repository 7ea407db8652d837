"""How an episode becomes one token sequence, and where its hindsight questions stand.

One episode reads::

    <bos> TASK OBSERVATION_0 > ACTION_0 newline OBSERVATION_1 > ACTION_1 newline ...
    Hindsight: ACTION_0 : OBSERVATION_1 : ? newline ACTION_1 : OBSERVATION_2 : ? newline ... the whole attempt was ?

The hindsight questions repeat each action and the beginning of what came back, so that what a turn did stands beside its
question; a turn that did what an earlier one had done, and got the same answer, is marked: ``ACTION : OBSERVATION again : ?``.
With thinking, an instruction stands before the task, and a turn reads ``> THOUGHT newline Action: ACTION_0 newline``;
the questions do not repeat thoughts.

For a model with a chat template the same is a conversation: an instruction, the task and the first observation are a message of
the user, an action is one of the assistant, and every other observation one of the user. The last of these ends with the
hindsight question; the lines with the slots are the assistant's.

Each ``?`` is a slot. The probability of the word "good" against "bad" there is the score of the turn; in the last slot, behind
the line about the whole attempt, it is the belief that the attempt has succeeded. Nothing is written into the slots, so one
forward pass reads them all and none depends on another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.train.frame import AGAIN, HINDSIGHT_HEADING, WHOLE_ATTEMPT, ChatTemplate, frame_of
from mise_gym.train.trie import TokenTrie
from mise_gym.types import Episode, Transition

GOOD: Final = " good"
BAD: Final = " bad"
ACTION_LABEL: Final = "Action:"
RESULT_TOKENS: Final = 24
"""So many tokens of what came back does a hindsight question repeat."""
WRITTEN: Final = "written"
"""Key in ``Episode.extra``: ``text``, ``ids`` and ``is_malformed`` of each turn, where the policy wrote more than the action."""


@dataclass(frozen=True, slots=True)
class Hindsight:
    """The questions behind an episode: token ids, and the offset in them of the token before each slot.

    There is a slot for every turn, and a last one for the whole attempt.
    """

    ids: list[int]
    slots: list[int]


class EpisodeText:
    """Turns observations, actions and hindsight questions into token ids, segment by segment.

    Segments are tokenised on their own, so the ids that the policy generated are the ids that it is trained on. What looks like a
    special token in an observation or an action is text like any other.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        max_observation_tokens: Longer observations keep their beginning and their end, half each.
        thinking: Whether thoughts come before each action.
        chat_template: "auto" writes a conversation, if the tokenizer has a chat template; "none" plain text.

    Raises:
        ConfigError: The tokenizer cannot tell "good" from "bad" by their first token, or its chat template cannot be followed.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_observation_tokens: int = 256,
        *,
        thinking: bool = False,
        chat_template: ChatTemplate = "auto",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_observation_tokens = max_observation_tokens
        self.thinking = thinking
        self.chat_template = chat_template
        self.frame = frame_of(tokenizer, chat_template, thinking=thinking)
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
        make = partial(EpisodeText, thinking=self.thinking, chat_template=self.chat_template)
        return make, (self.tokenizer, self.max_observation_tokens)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def _command(self, text: str) -> tuple[int, ...]:
        before = " " if self.thinking else self.frame.before_action
        return self.encode(f"{before}{text}{self.frame.behind_command}") + self.frame.close

    def _choices(self, commands: tuple[str, ...]) -> TokenTrie:
        """Return the trie of some commands, each of them closed."""
        return TokenTrie.of(self._command(command) for command in commands)

    def observation(self, text: str, *, is_last: bool = False) -> list[int]:
        """Return the ids of one observation, and of what asks for an action behind it.

        Args:
            text: The observation.
            is_last: Whether the episode is over.
        """
        return [*self.frame.follow, *self._shortened(text), *(self.frame.ask_last if is_last else self.frame.ask)]

    def _shortened(self, text: str) -> tuple[int, ...]:
        ids = self.encode(self.frame.before_observation + " ".join(text.split()))
        limit = self.max_observation_tokens
        return ids if len(ids) <= limit else ids[: limit // 2] + ids[len(ids) - (limit - limit // 2) :]

    def opening(self, task: str, observation: str) -> list[int]:
        """Return the ids before the first action: the goal, unless the observation already says it, and the first observation."""
        said = " ".join(task.split()) in " ".join(observation.split())
        text = observation if said else f"{task} {observation}"
        return [*self.frame.opening, *self._shortened(text), *self.frame.ask]

    def action(self, text: str) -> list[int]:
        """Return the ids of one action without thoughts, closed."""
        label = self.encode(f"{self.frame.before_action}{ACTION_LABEL}") if self.thinking else ()
        return [*label, *self._command(text)]

    def is_end(self, token: int) -> bool:
        """Return whether the model ends its text with this token."""
        return token in self.frame.end_ids

    def closing(self, written: Sequence[int]) -> list[int]:
        """Return the ids that are missing at the end of what was written in a turn, to close it; none if it is closed."""
        if self.frame.close:
            return [] if written[-1] == self.frame.close[-1] else list(self.frame.close)
        return [] if self.decode(written).endswith("\n") else list(self.encode("\n"))

    def written(self, episode: Episode) -> list[list[int]]:
        """Return the ids of what was written in each turn: thoughts and action where the episode holds them, or the action."""
        turns = episode.transitions
        return [list(turn["ids"]) for turn in episode.extra.get(WRITTEN, ())] or [self.action(turn.action) for turn in turns]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, without special ones."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def hindsight(self, turns: Sequence[Transition]) -> Hindsight:
        """Return the hindsight questions about an episode: one per turn, and one about the whole attempt."""
        ids = list(self.frame.hindsight)
        slots = []
        seen = set()
        for turn in turns:
            what_happened = turn.action, turn.next_observation
            ids += self.encode(f"{self.frame.before_action}{turn.action} :")
            ids += self.encode(" " + " ".join(turn.next_observation.split()))[:RESULT_TOKENS]
            ids += self.encode(f" {AGAIN} :" if what_happened in seen else " :")
            slots.append(len(ids) - 1)
            ids += self.encode("\n")
            seen.add(what_happened)
        ids += self.encode(f"{self.frame.before_action}{WHOLE_ATTEMPT}")
        return Hindsight(ids, [*slots, len(ids) - 1])


def corpus(episodes: Sequence[Episode]) -> list[str]:
    """Return the segments of some episodes as a tokenizer trainer wants to see them."""
    texts = [HINDSIGHT_HEADING, f" {WHOLE_ATTEMPT}", f" {AGAIN} :", GOOD, BAD, " :", "\n>"] * len(episodes)
    for episode in episodes:
        texts.append(" " + " ".join(f"{episode.task} {episode.transitions[0].observation}".split()))
        for turn in episode.transitions:
            texts += [f" {turn.action}\n", " " + " ".join(turn.next_observation.split())]
    return texts
