"""Choosing tokens: the same log-probabilities for whoever writes an episode and for whoever learns from it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

OPEN = -1
"""Padding of the table of allowed tokens. A row of nothing else allows every token."""


def pack_allowed(allowed: Sequence[tuple[int, ...] | None]) -> Tensor:
    """Return a table of allowed tokens, padded with ``OPEN``; a row that allows everything takes no room.

    Args:
        allowed: The allowed token ids of each of N decisions, or ``None`` where all are.

    Returns:
        Shape ``(N, A)``, A being the largest number of allowed ids, at least 1.

    Example:
        >>> pack_allowed([(3, 5), None, (7,)]).tolist()
        [[3, 5], [-1, -1], [7, -1]]
    """
    rows = [list(row or ()) for row in allowed]
    width = max((len(row) for row in rows), default=0) or 1
    return torch.tensor([row + [OPEN] * (width - len(row)) for row in rows], dtype=torch.long).reshape(-1, width)


def limit(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return the logits of a whole vocabulary with ``-inf`` where a token is not allowed.

    Args:
        logits: Shape ``(N, V)``.
        allowed: As ``pack_allowed`` makes it. Shape ``(N, A)``.

    Returns:
        Shape ``(N, V)``.

    Example:
        >>> limit(torch.zeros(2, 4), pack_allowed([(3, 1), None])).tolist()
        [[-inf, 0.0, -inf, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    is_open = allowed[:, 0] == OPEN
    if is_open.all():
        return logits
    rows, columns = (allowed != OPEN).nonzero(as_tuple=True)
    is_allowed = is_open[:, None].repeat(1, logits.shape[1])
    is_allowed[rows, allowed[rows, columns]] = True
    return logits.masked_fill(~is_allowed, -torch.inf)


def sample(logprobs: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Draw one column per row.

    Args:
        logprobs: ``-inf`` where nothing may be chosen. Shape ``(N, A)``.
        uniforms: One number in [0, 1) per row, in float64, which decides what is drawn. Shape ``(N,)``.
        temperature: 1 draws from the probabilities as they are, 0 takes the largest.

    Returns:
        Columns. Shape ``(N,)``.
    """
    if temperature == 0:
        return logprobs.argmax(-1)
    cumulated = (logprobs.double() / temperature).softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(cumulated, uniforms[:, None].to(cumulated.device) * cumulated[:, -1:], right=True)
    return drawn.squeeze(1).clamp(max=logprobs.shape[1] - 1)


def in_parts(
    function: Callable[..., tuple[Tensor, ...]], most_open: int, allowed: Tensor, *columns: Tensor
) -> tuple[Tensor, ...]:
    """Apply a function to a table of decisions: to the limited ones together, to the open ones a few at a time.

    What a part of the open ones computes in between is not kept for the backward pass, but computed again: logits of a whole
    vocabulary, for every decision of a batch, would fill the memory.

    Args:
        function: Maps rows of ``allowed`` and of ``columns`` to tensors with one entry per row.
        most_open: How many open decisions it may see at once.
        allowed: As ``pack_allowed`` makes it. Shape ``(N, A)``.
        columns: What else it needs of each decision. Shape of each ``(N, ...)``.

    Returns:
        What ``function`` returns, for all rows in their order. Shape of each ``(N,)``.

    Example:
        >>> sizes = lambda allowed, names: (names + 10 * len(names),)
        >>> in_parts(sizes, 2, pack_allowed([None, (3, 1), None, None]), torch.arange(4))
        (tensor([20, 11, 22, 13]),)
    """
    is_open = allowed[:, 0] == OPEN
    if not is_open.any():
        return function(allowed, *columns)
    limited, *open_parts = (~is_open).nonzero().squeeze(1), *torch.split(is_open.nonzero().squeeze(1), most_open)
    results = [function(allowed[limited], *(column[limited] for column in columns))]
    for rows in open_parts:
        results.append(checkpoint(function, allowed[rows], *(column[rows] for column in columns), use_reentrant=False))
    order = torch.cat([limited, *open_parts]).argsort()
    return tuple(torch.cat(parts)[order] for parts in zip(*results, strict=True))
