"""How a local language model answers questions about turns: read from its probabilities, or written by it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.rewards.judges.turn_prompt import labels_of

if TYPE_CHECKING:
    from mise_gym.llm.branches import Memory, Tree


@dataclass(frozen=True, slots=True)
class Job:
    """Questions about the turns of one window."""

    trunk: list[int]
    window_start: int
    turns: range
    starts: list[int]
    questions: list[list[int]]
    memory: "Memory | None"
    remember: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said to one job."""

    scores: tuple[float, ...] = ()
    memory: "Memory | None" = None
    calls: int = 1
    tokens: int = 0
    message: str = ""


class TurnReader:
    """Reads scores from the probabilities of "good" and "bad"."""

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int) -> None:
        from mise_gym.llm.branches import BranchReader

        self._good, self._bad = labels_of(tokenizer, "good", "bad")
        if not self._good or not self._bad:
            raise ConfigError(
                "The tokenizer does not tell 'good' from 'bad' by their first tokens, so scores cannot be read. "
                "Check that the folder of the model holds its whole tokenizer, or use mode='write'."
            )
        self._reader = BranchReader(model, batch_tokens)

    def ask(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answer all jobs, in as few batches as fit."""
        trees = [self._tree(job) for job in jobs]
        logits, memories = self._reader.read(trees, [*self._good, *self._bad])
        answers = []
        for tree, values, memory in zip(trees, logits, memories, strict=True):
            good, bad = values.double()[:, : len(self._good)].logsumexp(1), values.double()[:, len(self._good) :].logsumexp(1)
            answers.append(Answer(scores=tuple((good - bad).sigmoid().tolist()), memory=memory, tokens=tree.num_new))
        return answers

    def _tree(self, job: Job) -> "Tree":
        from mise_gym.llm.branches import Branch, Tree

        branches = [Branch(start, ids) for start, ids in zip(job.starts, job.questions, strict=True)]
        return Tree(job.trunk, branches, job.memory, job.remember)


class TurnWriter:
    """Has the model write one line of JSON for every turn."""

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int, max_new_tokens: int) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._batch_tokens, self._max_new_tokens = batch_tokens, max_new_tokens

    def ask(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answer all jobs, with as many prompts at a time as fit."""
        from mise_gym.llm.batching import token_batches

        prompts = [job.trunk[:start] + ids for job in jobs for start, ids in zip(job.starts, job.questions, strict=True)]
        replies: list[tuple[str, int]] = [("", 0)] * len(prompts)
        for rows in token_batches([len(prompt) for prompt in prompts], self._batch_tokens):
            for row, reply in zip(rows, self._generate([prompts[row] for row in rows]), strict=True):
                replies[row] = reply
        ends = np.cumsum([0, *(len(job.turns) for job in jobs)]).tolist()
        sizes = [len(prompt) for prompt in prompts]
        return [_parsed(job.turns, replies[a:b], sum(sizes[a:b])) for job, (a, b) in zip(jobs, pairwise(ends), strict=True)]

    def _generate(self, prompts: Sequence[list[int]]) -> list[tuple[str, int]]:
        """Return the reply to each prompt and how many tokens it has."""
        torch = require("torch")
        width = max(len(prompt) for prompt in prompts)
        fill = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[fill] * (width - len(prompt)) + prompt for prompt in prompts], device=self._model.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self._model.device)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=self._max_new_tokens, do_sample=False, pad_token_id=fill
            )
        replies = [row[width:].tolist() for row in output]
        return [(self._tokenizer.decode(reply, skip_special_tokens=True), sum(t != fill for t in reply)) for reply in replies]


def _parsed(turns: range, replies: Sequence[tuple[str, int]], prompt_tokens: int) -> Answer:
    """Return the scores of a job's replies, or why there are none."""
    tokens = prompt_tokens + sum(count for _, count in replies)
    scores = []
    for turn, (reply, _) in zip(turns, replies, strict=True):
        score = parse_reply(reply, turn + 1)
        if score is None:
            message = f'The reply about turn {turn + 1} is {reply!r:.200}, not a line like {{"turn": {turn + 1}, "score": 0.5}}.'
            return Answer(calls=len(replies), tokens=tokens, message=message)
        scores.append(score)
    return Answer(scores=tuple(scores), calls=len(replies), tokens=tokens)


def parse_reply(reply: str, turn: int) -> float | None:
    """Return the score in a reply, or ``None`` when the reply is anything but the line that was asked for.

    Args:
        reply: What the model wrote; text after the first line is left out.
        turn: The turn that was asked about, counted from 1; it has to be echoed.

    Example:
        >>> parse_reply('{"turn": 3, "score": 0.25}', turn=3), parse_reply("I would say 0.25", turn=3)
        (0.25, None)
    """
    try:
        record = json.loads(reply.strip().partition("\n")[0])
    except ValueError:
        return None
    if not isinstance(record, dict) or record.keys() != {"turn", "score"}:
        return None
    echo, score = record["turn"], record["score"]
    if isinstance(echo, bool) or echo != turn or isinstance(score, bool) or not isinstance(score, int | float):
        return None
    return float(score) if 0 <= score <= 1 else None
