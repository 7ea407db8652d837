"""LLMPolicy: one causal language model that acts, values states and judges its own episodes in hindsight."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mise_gym.llm.batching import pad, token_batches
from mise_gym.train.critic import Critic, CriticKind
from mise_gym.train.text import EpisodeText
from mise_gym.types import Episode


@dataclass(frozen=True, slots=True)
class Places:
    """Positions in a padded batch of sequences: ``(rows[i], columns[i])``. Shape ``(N,)`` each."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, columns: Sequence[Sequence[int]]) -> "Places":
        """Flatten one list of columns per row."""
        rows = [row for row, places in enumerate(columns) for _ in places]
        return cls(
            torch.tensor(rows, dtype=torch.long), torch.tensor([c for places in columns for c in places], dtype=torch.long)
        )


class LLMPolicy(nn.Module):
    """A language model with a critic on its features.

    Args:
        model: Any Hugging Face causal language model.
        tokenizer: Its tokenizer.
        max_observation_tokens: Longest observation that the model is shown.
        critic: Which critic; see ``Critic``.
    """

    def __init__(self, model: Any, tokenizer: Any, max_observation_tokens: int = 256, critic: CriticKind = "detached") -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.text = EpisodeText(tokenizer, max_observation_tokens)
        self.value_head = Critic(model.get_input_embeddings().embedding_dim, critic)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]  # transformers is untyped

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the model can read, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 1_000_000)

    def features(self, ids: Tensor) -> Tensor:
        """Return the last hidden states of right-padded sequences. Shape ``(B, S)`` -> ``(B, S, D)``.

        Padding on the right needs no mask: attention is causal, and nothing is read at padded places.
        """
        return self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state  # type: ignore[no-any-return]

    def logits(self, features: Tensor) -> Tensor:
        """Return next-token logits, in float32. Shape ``(N, D)`` -> ``(N, V)``."""
        return self.model.get_output_embeddings()(features).float()  # type: ignore[no-any-return]

    def score_logits(self, features: Tensor) -> Tensor:
        """Return the log-odds of "good" against "bad" at hindsight slots. Shape ``(N, D)`` -> ``(N,)``."""
        head = self.model.get_output_embeddings()
        pair = torch.tensor([self.text.good_id, self.text.bad_id], device=features.device)
        bias = None if head.bias is None else head.bias[pair]
        good, bad = nn.functional.linear(features, head.weight[pair], bias).float().unbind(-1)
        return good - bad

    def values(self, features: Tensor, states: Places) -> Tensor:
        """Return the critic's values of some states. Shape ``(B, S, D)`` -> ``(T,)``; no gradient reaches the trunk."""
        return self.value_head(features, states.rows, states.columns)  # type: ignore[no-any-return]

    @torch.no_grad()
    def self_evaluate(self, episodes: Sequence[Episode]) -> list[NDArray[np.float64]]:
        """Return the policy's hindsight beliefs about its own episodes.

        Returns:
            One array of P("good") per episode. Shape ``(T,)``, in [0, 1].
        """
        if not episodes:
            return []
        sequences, slots = zip(*(self.with_hindsight(episode) for episode in episodes), strict=True)
        beliefs: list[NDArray[np.float64]] = [np.empty(0)] * len(episodes)
        for rows in token_batches([len(sequence) for sequence in sequences]):
            ids, _ = pad([sequences[row] for row in rows], self.tokenizer.pad_token_id or 0, self.device)
            places = Places.of([slots[row] for row in rows])
            scores = self.score_logits(self.features(ids)[places.rows, places.columns]).sigmoid().double().cpu().numpy()
            for row, part in zip(rows, np.split(scores, list(accumulate(len(slots[row]) for row in rows))[:-1]), strict=True):
                beliefs[row] = part
        return beliefs

    def with_hindsight(self, episode: Episode) -> tuple[list[int], list[int]]:
        """Return an episode's token ids with the hindsight questions behind it, and the positions of their slots."""
        turns = episode.transitions
        ids = self.text.opening(episode.task, turns[0].observation)
        for turn in turns:
            ids += self.text.action(turn.action)
            ids += self.text.observation(turn.next_observation)
        questions = self.text.hindsight([turn.action for turn in turns])
        return ids + questions.ids, [len(ids) + slot for slot in questions.slots]
