"""A key-value cache with room to grow: reading a token writes its keys in place, where transformers' own copies all before it."""

from typing import Any, Final

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM: Final = 64
"""Least number of places that are made when a cache is full; a quarter of what it holds, if that is more."""


def growing_cache() -> Any:
    """Return an empty cache for a transformers model."""
    return Cache(layer_class_to_replicate=GrowingLayer)


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """Keys and values of one layer, at the beginning of buffers that are longer."""

    def __init__(self, *settings: Any, **more: Any) -> None:
        super().__init__(*settings, **more)
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append to the cache.

        Args:
            key_states: Shape ``(B, H, N, D)``.
            value_states: Shape ``(B, H, N, D)``.

        Returns:
            All keys and values, as views. Shape ``(B, H, S + N, D)`` each.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        old, new = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self._buffers is None or self._buffers[0].shape[2] < new:
            self._buffers = _with_room(self.keys, new), _with_room(self.values, new)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, old:new] = states
        self.keys, self.values = (buffer[:, :, :new] for buffer in self._buffers)
        return self.keys, self.values

    def keep(self, rows: Tensor, columns: Tensor | None) -> None:
        """Keep some rows and, of each of them, some places.

        Args:
            rows: Which rows. Shape ``(R,)``.
            columns: Which places of each, in their new order; ``None`` keeps all. Shape ``(R, S)``.
        """
        if columns is None:
            self.keys, self.values = self.keys[rows], self.values[rows]
        else:
            self.keys, self.values = (part[rows[:, None], :, columns].transpose(1, 2) for part in (self.keys, self.values))
        self._buffers = None


def _with_room(states: Tensor, needed: int) -> Tensor:
    """Return a copy at the beginning of a longer buffer. Shape ``(B, H, S, D)`` -> ``(B, H, needed + room, D)``."""
    batch, heads, length, width = states.shape
    buffer = torch.empty((batch, heads, needed + max(ROOM, needed // 4), width), dtype=states.dtype, device=states.device)
    buffer[:, :, :length] = states
    return buffer
