"""Many questions about one text, of which every token is read once.

The text is the *trunk*; each question is a *branch* that sees a part of the trunk and itself, and nothing of the other
questions. So every branch reads exactly as if it stood alone behind its part of the trunk. The trunk comes first, with the plain
causal attention that kernels are fastest at; then all branches together, each token with the part of the trunk that it may see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mise_gym.errors import ConfigError
from mise_gym.llm.batching import pad, token_batches


@dataclass(frozen=True, slots=True)
class Branch:
    """A question."""

    start: int
    """How many tokens of the trunk it sees."""
    ids: Sequence[int]
    """Its own tokens, at least one."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Keys and values of the first tokens of a trunk."""

    layers: list[tuple[Tensor, Tensor]]
    """Of each layer. Shapes ``(heads, length, width)``."""

    @property
    def length(self) -> int:
        """Tokens of the trunk that need not be read again."""
        return int(self.layers[0][0].shape[1]) if self.layers else 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A trunk with its branches, and perhaps what is remembered of the trunk."""

    trunk: Sequence[int]
    branches: Sequence[Branch]
    memory: Memory | None = None
    """Of a beginning of this trunk."""
    remember: bool = False
    """Whether to return the memory of the whole trunk."""

    @property
    def read(self) -> int:
        """Tokens of the trunk that are remembered."""
        return 0 if self.memory is None else self.memory.length

    @property
    def num_new(self) -> int:
        """Tokens that have to be read."""
        return len(self.trunk) - self.read + sum(len(branch.ids) for branch in self.branches)


class BranchReader:
    """Reads trees with a causal language model.

    Args:
        model: A Hugging Face causal language model whose attention follows a mask of four dimensions ("sdpa" or "eager").
        max_batch_tokens: Largest number of tokens in a padded batch, remembered ones included.

    Raises:
        ConfigError: The model does not follow such a mask, or changes its logits behind the output layer; found out by reading a
            few tokens both ways.
    """

    def __init__(self, model: Any, max_batch_tokens: int = 16_384) -> None:
        self.model = model
        self.max_batch_tokens = max_batch_tokens
        self._check()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]  # transformers is untyped

    @torch.inference_mode()
    def read(self, trees: Sequence[Tree], token_ids: Sequence[int]) -> tuple[list[Tensor], list[Memory | None]]:
        """Return, for every tree, the logits of some tokens after each branch, and the memory of its trunk.

        Args:
            trees: Read in as few batches as fit.
            token_ids: Which K next tokens to look at.

        Returns:
            Logits of each tree, in float32 on the CPU, shape ``(branches, K)``; and memories where they were asked for.
        """
        logits: list[Tensor] = [torch.empty(0)] * len(trees)
        memories: list[Memory | None] = [None] * len(trees)
        for rows in token_batches([tree.read + tree.num_new for tree in trees], self.max_batch_tokens):
            for row, answer, memory in zip(rows, *self._read_batch([trees[row] for row in rows], token_ids), strict=True):
                logits[row], memories[row] = answer, memory
        return logits, memories

    def _read_batch(self, trees: Sequence[Tree], token_ids: Sequence[int]) -> tuple[list[Tensor], list[Memory | None]]:
        cache, reads = self._beginnings(trees)
        layout = _Layout.of(trees, reads, self.device)
        dtype = self.model.get_input_embeddings().weight.dtype
        hidden = self.model.base_model(
            input_ids=layout.ids,
            attention_mask=layout.mask(dtype),
            position_ids=layout.positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        answers, memories = [], []
        for row, (tree, read) in enumerate(zip(trees, reads, strict=True)):
            ends = torch.tensor([len(branch.ids) for branch in tree.branches], dtype=torch.long).cumsum(0)
            ends = (ends + len(tree.trunk) - read - 1).to(self.device)
            answers.append(self._logits(hidden[row, ends], token_ids))
            memories.append(_memory(cache, row, len(tree.trunk), read, layout.num_read) if tree.remember else None)
        return answers, memories

    def _beginnings(self, trees: Sequence[Tree]) -> tuple[Any, list[int]]:
        """Return a cache with the beginning of every trunk, padded on the right, and how many tokens of it that are.

        It holds what is remembered; where nothing is, it holds the whole trunks, which are read here.
        """
        from transformers import DynamicCache

        cache = DynamicCache()
        reads = [tree.read for tree in trees]
        if any(reads):
            self._recall(trees, cache)
            return cache, reads
        ids, _ = pad([tree.trunk for tree in trees], 0, self.device)
        self.model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        return cache, [len(tree.trunk) for tree in trees]

    def _logits(self, features: Tensor, token_ids: Sequence[int]) -> Tensor:
        head = self.model.get_output_embeddings()
        chosen = torch.tensor(list(token_ids), device=features.device)
        bias = None if getattr(head, "bias", None) is None else head.bias[chosen]
        return nn.functional.linear(features, head.weight[chosen], bias).float().cpu()

    @staticmethod
    def _recall(trees: Sequence[Tree], cache: Any) -> None:
        """Put what is remembered of the trunks into an empty cache."""
        longest = max((tree.memory for tree in trees if tree.memory is not None), key=lambda memory: memory.length)
        for layer in range(len(longest.layers)):
            for_rows = [_padded(tree.memory, longest, layer) for tree in trees]
            keys, values = (torch.stack(parts) for parts in zip(*for_rows, strict=True))
            cache.update(keys, values, layer)

    @torch.inference_mode()
    def _check(self) -> None:
        size = int(self.model.get_input_embeddings().weight.shape[0])
        trunk, branches = [3 % size, 5 % size, 7 % size, 2 % size], [[4 % size, 6 % size], [1 % size, 8 % size, 9 % size]]
        tree = Tree(trunk, [Branch(3, branches[0]), Branch(4, branches[1])])
        expected = [
            self.model(input_ids=torch.tensor([trunk[: branch.start] + list(branch.ids)], device=self.device)).logits[0, -1]
            for branch in tree.branches
        ]
        wanted = torch.stack(expected).float().cpu()[:, :size]
        try:
            (found,), _ = self.read([tree], range(size))
            reads_apart = bool((found - wanted).std() < 0.1 * wanted.std())  # rounding in bfloat16 stays below
        except (TypeError, ValueError, RuntimeError):  # not a transformer
            reads_apart = False
        if not reads_apart:
            raise ConfigError(
                f"{type(self.model).__name__} with {self.model.config._attn_implementation!r} attention does not read questions "
                "apart from each other, or changes its logits behind the output layer, so scores cannot be read from one pass. "
                "Load it with attn_implementation='sdpa', let it write its scores (mode='write'), or use another model."
            )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where every token of a batch stands. B rows, Q tokens to read, K = M + Q with the M that were read before."""

    ids: Tensor
    """Shape ``(B, Q)``."""
    positions: Tensor
    """Shape ``(B, Q)``."""
    limits: Tensor
    """How much of the trunk each token sees. Shape ``(B, Q)``."""
    groups: Tensor
    """0 in the trunk, n in branch n, -1 where padded. Shape ``(B, Q)``."""
    reads: Tensor
    """Tokens of each row that were read before. Shape ``(B,)``."""
    num_read: int
    """M."""

    @classmethod
    def of(cls, trees: Sequence[Tree], reads: Sequence[int], device: torch.device) -> "_Layout":
        rows: list[list[list[int]]] = [[], [], [], []]
        for tree, read in zip(trees, reads, strict=True):
            trunk = range(read, len(tree.trunk))
            row = list(tree.trunk[read:]), list(trunk), [place + 1 for place in trunk], [0] * len(trunk)
            for number, branch in enumerate(tree.branches, start=1):
                row[0].extend(branch.ids)
                row[1].extend(range(branch.start, branch.start + len(branch.ids)))
                row[2].extend([branch.start] * len(branch.ids))
                row[3].extend([number] * len(branch.ids))
            for column, values in zip(rows, row, strict=True):
                column.append(values)
        fills = (0, 0, 0, -1)
        ids, positions, limits, groups = (pad(column, fill, device)[0] for column, fill in zip(rows, fills, strict=True))
        return cls(ids, positions, limits, groups, torch.tensor(reads, device=device), max(reads))

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Return what is added to attention: 0 where a token may look, the lowest number elsewhere. Shape ``(B, 1, Q, K)``."""
        length = self.ids.shape[1]
        order = torch.arange(length, device=self.ids.device)
        in_trunk = (self.groups == 0)[:, None, :] & (self.positions[:, None, :] < self.limits[:, :, None])  # (B, Q, Q)
        same = (self.groups[:, None, :] == self.groups[:, :, None]) & (self.groups > 0)[:, :, None]
        seen = in_trunk | (same & (order[None, :] <= order[:, None]))
        past = torch.arange(self.num_read, device=self.ids.device)
        remembered = (past < self.reads[:, None])[:, None, :] & (past < self.limits[:, :, None])  # (B, Q, M)
        seen = torch.cat([remembered, seen], dim=2)
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _padded(memory: Memory | None, longest: Memory, layer: int) -> tuple[Tensor, Tensor]:
    """Return the keys and values of one row, with zeros behind them. Shapes ``(heads, longest.length, width)``."""
    pair = memory.layers[layer] if memory is not None else tuple(part[:, :0] for part in longest.layers[layer])
    keys, values = (nn.functional.pad(part, (0, 0, 0, longest.length - part.shape[1])) for part in pair)
    return keys, values


def _memory(cache: Any, row: int, length: int, read: int, num_read: int) -> Memory:
    """Return the keys and values of the whole trunk of one row: those that it began with and those just read."""
    fresh = slice(num_read, num_read + length - read)
    return Memory(
        [
            (
                torch.cat([layer.keys[row, :, :read], layer.keys[row, :, fresh]], dim=1),
                torch.cat([layer.values[row, :, :read], layer.values[row, :, fresh]], dim=1),
            )
            for layer in cache.layers
        ]
    )
