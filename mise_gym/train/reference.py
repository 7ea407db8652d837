"""The policy as it was before reinforcement learning: what KL penalties and the anchor of scores compare with."""

import copy

from torch import Tensor

from mise_gym.train.adapter import Adapter
from mise_gym.train.policy import LLMPolicy, Reader


class AdapterOff:
    """Reads a policy without its adapter, from the same weights: a reference that takes no memory.

    Args:
        policy: The policy.
        adapter: Its adapter.
    """

    def __init__(self, policy: LLMPolicy, adapter: Adapter) -> None:
        self.policy = policy
        self.adapter = adapter

    def features(self, ids: Tensor) -> Tensor:
        """Return the last hidden states of right-padded sequences. Shape ``(B, S)`` -> ``(B, S, D)``."""
        with self.adapter.off():
            return self.policy.features(ids)

    def allowed_logits(self, features: Tensor, allowed: Tensor) -> Tensor:
        """Return the logits of allowed tokens. Shapes ``(N, D)`` and ``(N, A)`` -> ``(N, A)``."""
        return self.policy.allowed_logits(features, allowed)

    def score_logits(self, features: Tensor) -> Tensor:
        """Return the log-odds of "good" against "bad" at hindsight slots. Shape ``(N, D)`` -> ``(N,)``."""
        return self.policy.score_logits(features)


def reference_of(policy: LLMPolicy) -> Reader:
    """Return what a policy says now, whatever it learns later: itself without its adapter, or a frozen copy if it has none."""
    if policy.adapter is not None:
        return AdapterOff(policy, policy.adapter)
    return copy.deepcopy(policy).requires_grad_(False)
