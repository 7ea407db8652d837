"""Writing actions for a batch of running episodes, with a key-value cache kept across turns.

Only tokens at which the command trie branches cost a forward pass; the forced ones are read together with the next text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mise_gym.llm.batching import pad
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.trie import TokenTrie


@dataclass(frozen=True, slots=True)
class Decision:
    """One token that the policy chose among several."""

    position: int
    """Where the chosen token stands in the episode's ids."""
    turn: int
    allowed: tuple[int, ...]
    """Token ids that could have been chosen."""
    choice: int
    """Index of the chosen one in ``allowed``."""
    logprob: float
    """Its log-probability among ``allowed`` when it was chosen."""


@dataclass(slots=True)
class TokenTrace:
    """An episode as the policy saw and wrote it, in tokens."""

    ids: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    value_positions: list[int] = field(default_factory=list)
    """For each turn, the position of the last token before its action."""


class TurnDecoder:
    """Decodes one action per row and turn.

    Args:
        policy: The model.
        openings: Token ids before the first action, one list per row.
        seeds: One per row; a row's samples depend on its own seed alone, not on who plays beside it.
        temperature: 1 samples from the policy, 0 takes the likeliest token.
    """

    def __init__(self, policy: LLMPolicy, openings: Sequence[list[int]], seeds: Sequence[int], temperature: float) -> None:
        from transformers import DynamicCache

        self.policy = policy
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]  # on the CPU: runs repeat on any device
        self.temperature = temperature
        self.traces = [TokenTrace(list(opening)) for opening in openings]
        self._running = list(range(len(openings)))
        self._unread = [list(opening) for opening in openings]
        self._cache = DynamicCache()
        self._cached = torch.zeros((len(openings), 0), dtype=torch.bool, device=policy.device)
        self._features: Tensor | None = None

    @torch.no_grad()
    def act(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Write the next action of every running row.

        Args:
            commands: Admissible commands of each running row, in row order; none may be empty.

        Returns:
            One command per running row.
        """
        text = self.policy.text
        nodes = [TokenTrie.of(text.action(command) for command in choices) for choices in commands]
        starts = []
        for row in self._running:
            trace = self.traces[row]
            trace.value_positions.append(len(trace.ids) - 1)
            starts.append(len(trace.ids))
        while branching := [place for place in range(len(nodes)) if self._follow_forced(place, nodes)]:
            self._read()
            self._choose(branching, nodes)
        rows = zip(self._running, starts, strict=True)
        return [text.decode_action(self.traces[row].ids[start:]) for row, start in rows]

    def observe(self, keep: Sequence[int], observations: Sequence[list[int]]) -> None:
        """Append what came back, and drop finished rows.

        Args:
            keep: Places, among the running rows, of those that go on.
            observations: Token ids of what each running row saw, in row order; finished ones included.
        """
        for row, observation in zip(self._running, observations, strict=True):
            self.traces[row].ids += observation
        if self._features is not None:
            index = torch.tensor(list(keep), dtype=torch.long, device=self.policy.device)
            self._cache.batch_select_indices(index)
            self._cached, self._features = self._cached[index], self._features[index]
            self._compact()
        self._unread = [self._unread[place] + observations[place] for place in keep]
        self._running = [self._running[place] for place in keep]

    def _append(self, place: int, token: int) -> None:
        self.traces[self._running[place]].ids.append(token)
        self._unread[place].append(token)

    def _follow_forced(self, place: int, nodes: list[TokenTrie]) -> bool:
        """Walk down while there is one way on; return whether a choice has to be made."""
        while len(nodes[place].children) == 1:
            ((token, nodes[place]),) = nodes[place].children.items()
            self._append(place, token)
        return bool(nodes[place].children)

    def _choose(self, branching: Sequence[int], nodes: list[TokenTrie]) -> None:
        assert self._features is not None
        logits = self.policy.logits(self._features[torch.tensor(branching, device=self.policy.device)]).cpu()
        for place, row_logits in zip(branching, logits, strict=True):
            allowed = tuple(sorted(nodes[place].children))
            logprobs = row_logits[list(allowed)].log_softmax(-1)
            choice = self._pick(self._running[place], logprobs)
            trace = self.traces[self._running[place]]
            turn = len(trace.value_positions) - 1
            trace.decisions.append(Decision(len(trace.ids), turn, allowed, choice, float(logprobs[choice])))
            self._append(place, allowed[choice])
            nodes[place] = nodes[place].children[allowed[choice]]

    def _pick(self, row: int, logprobs: Tensor) -> int:
        if self.temperature == 0:
            return int(logprobs.argmax())
        probs = (logprobs / self.temperature).softmax(-1)
        return int(torch.multinomial(probs, 1, generator=self.generators[row]))

    def _read(self) -> None:
        """Feed the unread tokens of every row and keep the features of each row's last one."""
        device = self.policy.device
        new, new_mask = pad(self._unread, 0, device)
        lengths = self._cached.sum(1, keepdim=True)
        positions = (lengths + new_mask.cumsum(1) - 1).clamp(min=0)
        mask = torch.cat([self._cached, new_mask.bool()], dim=1)
        output = self.policy.model.base_model(
            input_ids=new, attention_mask=mask.long(), position_ids=positions, past_key_values=self._cache, use_cache=True
        )
        counts = new_mask.sum(1)
        last = output.last_hidden_state[torch.arange(len(counts), device=device), (counts - 1).clamp(min=0)]
        self._features = last if self._features is None else torch.where(counts[:, None] > 0, last, self._features)
        self._cached = mask
        self._unread = [[] for _ in self._unread]

    def _compact(self) -> None:
        """Move each row's cached slots to the left and drop the columns that no row uses."""
        if not len(self._cached):
            return
        width = int(self._cached.sum(1).max())
        order = (~self._cached).long().argsort(dim=1, stable=True)[:, :width]
        self._cached = self._cached.gather(1, order)
        for layer in self._cache.layers:
            index = order[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)
