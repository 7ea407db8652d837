"""The critic: predicts, from the features of the policy's trunk, what a state will bring, and teaches the trunk nothing."""

from typing import Literal

import torch
from torch import Tensor, nn

CriticKind = Literal["detached", "separate"]


class Critic(nn.Module):
    """A small network on *detached* features, with two answers: the return, and the credit that a step will have for itself.

    The second begins at 0, and stays there exactly where no step has credit of its own.

    Through a shared trunk the early, wild gradients of a critic destroy the policy (``docs/decisions/0003-trainer.md``).

    Args:
        width: Size D of the features.
        kind: "detached" looks at the features of one token, which say what the policy needed there; "separate" first sends those
            of the whole episode through a transformer block of its own, so that it can look for what it needs.
    """

    def __init__(self, width: int, kind: CriticKind = "detached") -> None:
        super().__init__()
        self.trunk = CriticTrunk(width) if kind == "separate" else None
        inner = width if self.trunk is None else self.trunk.width
        self.head = nn.Sequential(nn.Linear(inner, inner), nn.Tanh(), nn.Linear(inner, 2))
        with torch.no_grad():
            for weights in self.head[-1].parameters():
                weights[1].zero_()

    def forward(self, features: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the values of some states.

        Args:
            features: Of right-padded sequences. Shape ``(B, S, D)``.
            rows: Which sequence each state is in. Shape ``(T,)``.
            columns: Which token of it. Shape ``(T,)``.

        Returns:
            The return from there on, and the credit that the step there will have for itself. Shape ``(T, 2)``.
        """
        features = features.detach()
        if self.trunk is not None:
            features = self.trunk(features.float())
        return self.head(features[rows, columns].float())  # type: ignore[no-any-return]  # nn.Module is untyped


class CriticTrunk(nn.Module):
    """One causal transformer block, at most 256 wide whatever the policy's width.

    Args:
        width: Size D of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = min(256, 4 * -(-width // 4))
        self.enter = nn.Linear(width, self.width)
        self.block = nn.TransformerEncoderLayer(
            self.width, nhead=4, dim_feedforward=4 * self.width, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features that know the tokens before them. Shape ``(B, S, D)`` -> ``(B, S, W)``."""
        mask = nn.Transformer.generate_square_subsequent_mask(features.shape[1], device=features.device)
        return self.block(self.enter(features), src_mask=mask, is_causal=True)  # type: ignore[no-any-return]  # nn.Module is untyped
