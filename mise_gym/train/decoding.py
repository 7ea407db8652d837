"""Writing actions in this process, for a batch of running episodes, with a key-value cache kept across turns.

Only tokens that are chosen among several cost a forward pass; the forced ones are read together with the next text.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mise_gym.llm.batching import pad
from mise_gym.train.choices import pack_allowed, sample
from mise_gym.train.forms import CommandForm, Form, FormOf
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.trace import Decision, TokenTrace

MOST_WASTE: Final = 1.25
"""The cache is compacted when it has become so many times as wide as its longest row."""


class TurnDecoder:
    """Decodes one action per row and turn.

    Args:
        policy: The model.
        openings: Token ids before the first action, one list per row.
        seeds: One per row; a row's samples depend on its own seed alone, not on who plays beside it.
        temperature: 1 samples from the policy, 0 takes the likeliest token.
        form_of: Starts the form of a turn: what may be written in it.
    """

    def __init__(
        self,
        policy: LLMPolicy,
        openings: Sequence[list[int]],
        seeds: Sequence[int],
        temperature: float,
        form_of: FormOf = CommandForm,
    ) -> None:
        from mise_gym.train.cache import growing_cache  # brings transformers, which takes seconds to load

        self.policy = policy
        self.temperature = temperature
        self.traces = [TokenTrace(list(opening)) for opening in openings]
        self._form_of = form_of
        self._rngs = [np.random.default_rng(seed) for seed in seeds]  # on the CPU: runs repeat on any device
        self._running = list(range(len(openings)))
        self._unread = [list(opening) for opening in openings]
        self._cache = growing_cache()
        self._cached = torch.zeros((len(openings), 0), dtype=torch.bool, device=policy.device)
        self._features: Tensor | None = None

    @torch.no_grad()
    def act(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Write the next action of every running row.

        Args:
            commands: Admissible commands of each running row, in row order; empty where the environment lists none.

        Returns:
            One action per running row.

        Raises:
            ConfigError: The form needs commands and there are none.
        """
        forms = [self._form_of(self.policy.text, choices) for choices in commands]
        for row in self._running:
            self.traces[row].value_positions.append(len(self.traces[row].ids) - 1)
        while choosing := {place: form for place, form in enumerate(forms) if self._follow_forced(place, form)}:
            self._read()
            self._choose(choosing)
        writings = [form.writing() for form in forms]
        for row, writing in zip(self._running, writings, strict=True):
            self.traces[row].writings.append(writing)
        return [writing.action for writing in writings]

    def observe(self, keep: Sequence[int], observations: Sequence[list[int]]) -> None:
        """Append what came back, and drop finished rows.

        Args:
            keep: Places, among the running rows, of those that go on.
            observations: Token ids of what each running row saw, in row order; finished ones included.
        """
        for row, observation in zip(self._running, observations, strict=True):
            self.traces[row].ids += observation
        if self._features is not None and keep:
            self._shrink(keep)
        self._unread = [self._unread[place] + observations[place] for place in keep]
        self._running = [self._running[place] for place in keep]

    def _append(self, place: int, form: Form, token: int) -> None:
        self.traces[self._running[place]].ids.append(token)
        self._unread[place].append(token)
        form.take(token)

    def _follow_forced(self, place: int, form: Form) -> bool:
        """Write while there is one way on; return whether a choice has to be made."""
        while (allowed := form.allowed()) is not None and len(allowed) == 1:
            self._append(place, form, allowed[0])
        return allowed is None or bool(allowed)

    def _choose(self, choosing: dict[int, Form]) -> None:
        """Draw the next token of the rows at these places."""
        assert self._features is not None
        places = list(choosing)
        allowed = [form.allowed() for form in choosing.values()]
        features = self._features if len(places) == len(self._running) else self._features[places]
        logprobs = self.policy.allowed_logits(features, pack_allowed(allowed).to(features.device)).log_softmax(-1)
        uniforms = torch.tensor([self._rngs[self._running[place]].random() for place in places], dtype=torch.float64)
        columns = sample(logprobs, uniforms, self.temperature)
        chosen = logprobs.gather(1, columns[:, None]).squeeze(1).tolist()
        is_table_of_all = any(row is None for row in allowed)
        for place, form, row, column, logprob in zip(places, choosing.values(), allowed, columns.tolist(), chosen, strict=True):
            token = column if is_table_of_all or row is None else row[column]
            choice = token if row is None else row.index(token)
            trace = self.traces[self._running[place]]
            trace.decisions.append(Decision(len(trace.ids), len(trace.value_positions) - 1, row, choice, logprob))
            self._append(place, form, token)

    def _read(self) -> None:
        """Feed the unread tokens of every row and keep the features of each row's last one."""
        device = self.policy.device
        new, new_mask = pad(self._unread, 0, device)
        lengths = self._cached.sum(1, keepdim=True)
        positions = (lengths + new_mask.cumsum(1) - 1).clamp(min=0)
        mask = torch.cat([self._cached, new_mask.bool()], dim=1)
        output = self.policy.trunk(
            input_ids=new, attention_mask=mask.long(), position_ids=positions, past_key_values=self._cache, use_cache=True
        )
        counts = new_mask.sum(1)
        last = output.last_hidden_state[torch.arange(len(counts), device=device), (counts - 1).clamp(min=0)]
        self._features = last if self._features is None else torch.where(counts[:, None] > 0, last, self._features)
        self._cached = mask
        self._unread = [[] for _ in self._unread]

    def _shrink(self, keep: Sequence[int]) -> None:
        """Drop the rows that are not kept, and columns of the cache when too many places in them are unused."""
        assert self._features is not None
        index = torch.tensor(list(keep), dtype=torch.long, device=self.policy.device)
        cached = self._cached[index]
        width = int(cached.sum(1).max())
        order = None
        if cached.shape[1] > MOST_WASTE * width:
            order = (~cached).long().argsort(dim=1, stable=True)[:, :width]  # each row's used places come first
            cached = cached.gather(1, order)
        if order is not None or len(keep) < len(self._running):
            for layer in self._cache.layers:
                layer.keep(index, order)
        self._cached, self._features = cached, self._features[index]
