"""LLMPolicy: one causal language model that acts, values states and judges its own episodes in hindsight."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mise_gym.llm.batching import pad, token_batches
from mise_gym.rewards.judges.self_evaluation import SelfEvaluation
from mise_gym.train.adapter import Adapter
from mise_gym.train.choices import OPEN, limit
from mise_gym.train.critic import Critic, CriticKind
from mise_gym.train.frame import ChatTemplate
from mise_gym.train.text import EpisodeText
from mise_gym.types import Episode

MAX_LOGITS: Final = 2**26
"""A quarter of a gigabyte in float32."""


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


class Reader(Protocol):
    """What the update reads from a policy, or from what the policy was before."""

    def features(self, ids: Tensor) -> Tensor:
        """Return the last hidden states of right-padded sequences. Shape ``(B, S)`` -> ``(B, S, D)``."""
        ...

    def allowed_logits(self, features: Tensor, allowed: Tensor) -> Tensor:
        """Return the logits of allowed tokens. Shapes ``(N, D)`` and ``(N, A)`` -> ``(N, A)``, or ``(N, V)`` if any was free."""
        ...

    def score_logits(self, features: Tensor) -> Tensor:
        """Return the log-odds of "good" against "bad" at hindsight slots. Shape ``(N, D)`` -> ``(N,)``."""
        ...


class LLMPolicy(nn.Module):
    """A language model with a critic on its features.

    Args:
        model: Any Hugging Face causal language model.
        tokenizer: Its tokenizer.
        max_observation_tokens: Longest observation that the model is shown.
        critic: Which critic; see ``Critic``.
        computes_in_bfloat16: Whether the transformer computes in bfloat16 where weights are kept in float32. Values, beliefs and
            the logits of actions are float32 in any case.
        max_tokens_per_pass: Most tokens, padding included, that ``self_evaluate`` and the learners read at once.
        thinking: Whether it thinks before it acts.
        chat_template: Whether episodes are conversations, as for ``EpisodeText``.
    """

    def __init__(  # noqa: PLR0913  # the last four are keyword-only
        self,
        model: Any,
        tokenizer: Any,
        max_observation_tokens: int = 256,
        critic: CriticKind = "detached",
        *,
        computes_in_bfloat16: bool = False,
        max_tokens_per_pass: int = 4096,
        thinking: bool = False,
        chat_template: ChatTemplate = "auto",
    ) -> None:
        super().__init__()
        self.model = model
        self.adapter: Adapter | None = None
        """The adapter inside ``model`` that is trained in place of its weights, if there is one."""
        self.is_sharded = False
        """Whether this process holds its part of the model's weights only; see ``sharding.shard``."""
        self.computes_in_bfloat16 = computes_in_bfloat16
        self.max_tokens_per_pass = max_tokens_per_pass
        self.tokenizer = tokenizer
        self.text = EpisodeText(tokenizer, max_observation_tokens, thinking=thinking, chat_template=chat_template)
        self.value_head = Critic(model.get_input_embeddings().embedding_dim, critic).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]  # transformers is untyped

    @property
    def trained_weights(self) -> list[nn.Parameter]:
        """The weights of the language model that are trained: all of them, or the adapter's."""
        return [weights for weights in self.model.parameters() if weights.requires_grad]

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the model can read, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 1_000_000)

    @property
    def rows_of_logits(self) -> int:
        """How many rows of logits of the whole vocabulary may be in memory at a time, by ``MAX_LOGITS``."""
        return max(1, MAX_LOGITS // int(self.model.get_output_embeddings().out_features))

    def features(self, ids: Tensor) -> Tensor:
        """Return the last hidden states of right-padded sequences. Shape ``(B, S)`` -> ``(B, S, D)``.

        Padding on the right needs no mask: attention is causal, and nothing is read at padded places.
        """
        return self.trunk(input_ids=ids, use_cache=False).last_hidden_state  # type: ignore[no-any-return]

    def trunk(self, **inputs: Any) -> Any:
        """Run the transformer without its output layer, with checkpointing where a gradient is wanted.

        Args:
            inputs: What a transformers model takes; its output is returned.
        """
        if self.model.training != torch.is_grad_enabled():  # transformers checkpoints, and forgets its cache, only in training
            self.model.train(torch.is_grad_enabled())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.computes_in_bfloat16):
            return self.model.base_model(**inputs)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of the whole vocabulary. Shape ``(N, D)`` -> ``(N, V)``; computed as the transformer computes."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.computes_in_bfloat16):
            return self._capped(self.model.get_output_embeddings()(features).float())

    def token_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of next tokens in nats, with at most ``MAX_LOGITS`` logits in memory at a time.

        Args:
            features: Shape ``(N, D)``.
            targets: Token ids. Shape ``(N,)``.

        Returns:
            Shape ``(N,)``.
        """
        if len(targets) <= self.rows_of_logits:
            return self._token_losses(features, targets)
        parts = zip(torch.split(features, self.rows_of_logits), torch.split(targets, self.rows_of_logits), strict=True)
        return torch.cat([checkpoint(self._token_losses, *part, use_reentrant=False) for part in parts])

    def _token_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.logits(features), targets, reduction="none")

    def allowed_logits(self, features: Tensor, allowed: Tensor) -> Tensor:
        """Return the logits of allowed tokens, in float32, without those of the rest of the vocabulary if none was free.

        Args:
            features: Shape ``(N, D)``.
            allowed: As ``choices.pack_allowed`` makes it. Shape ``(N, A)``.

        Returns:
            Shape ``(N, A)``, in the order of ``allowed``, if every decision was limited; otherwise ``(N, V)``, in the order of
            the vocabulary. ``-inf`` where nothing could be chosen.
        """
        head = self.model.get_output_embeddings()
        if (allowed[:, 0] == OPEN).any():
            return limit(self._logits_of(features, head.weight, head.bias), allowed)
        tokens, columns = torch.unique(allowed.clamp(min=0), return_inverse=True)
        logits = self._logits_of(features, head.weight[tokens], None if head.bias is None else head.bias[tokens])
        return logits.gather(1, columns).masked_fill(allowed < 0, -torch.inf)

    def score_logits(self, features: Tensor) -> Tensor:
        """Return the log-odds of "good" against "bad" at hindsight slots. Shape ``(N, D)`` -> ``(N,)``."""
        head = self.model.get_output_embeddings()
        pair = torch.tensor([self.text.good_id, self.text.bad_id], device=features.device)
        good, bad = self._logits_of(features, head.weight[pair], None if head.bias is None else head.bias[pair]).unbind(-1)
        return good - bad

    def _logits_of(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply rows of the output layer in float32: rounded to bfloat16, a logit of 20 would be off by up to 0.06."""
        return self._capped(nn.functional.linear(features.float(), weight.float(), None if bias is None else bias.float()))

    def _capped(self, logits: Tensor) -> Tensor:
        """Bend logits to below the cap of a model that has one (Gemma 2), as its own forward pass does."""
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def values(self, features: Tensor, states: Places) -> Tensor:
        """Return the critic's values of some states. Shape ``(B, S, D)`` -> ``(T, 2)``; no gradient reaches the trunk."""
        return self.value_head(features, states.rows, states.columns)  # type: ignore[no-any-return]

    @torch.no_grad()
    def self_evaluate(self, episodes: Sequence[Episode]) -> list[SelfEvaluation]:
        """Return what the policy says in hindsight about its own episodes: P("good") of every turn and of the whole attempt."""
        if not episodes:
            return []
        sequences, slots = zip(*(self.with_hindsight(episode) for episode in episodes), strict=True)
        evaluations = [SelfEvaluation(np.empty(0))] * len(episodes)
        for rows in token_batches([len(sequence) for sequence in sequences], self.max_tokens_per_pass):
            ids, _ = pad([sequences[row] for row in rows], self.tokenizer.pad_token_id or 0, self.device)
            places = Places.of([slots[row] for row in rows])
            probabilities = self.score_logits(self.features(ids)[places.rows, places.columns]).sigmoid().double().cpu().numpy()
            ends = list(accumulate(len(slots[row]) for row in rows))[:-1]
            for row, part in zip(rows, np.split(probabilities, ends), strict=True):
                evaluations[row] = SelfEvaluation(part[:-1], float(part[-1]))
        return evaluations

    def with_hindsight(self, episode: Episode) -> tuple[list[int], list[int]]:
        """Return an episode's token ids with the hindsight questions behind it, and the positions of their slots."""
        turns = episode.transitions
        ids = self.text.opening(episode.task, turns[0].observation)
        for number, (turn, written) in enumerate(zip(turns, self.text.written(episode), strict=True), start=1):
            ids += written
            ids += self.text.observation(turn.next_observation, is_last=number == len(turns))
        questions = self.text.hindsight(turns)
        return ids + questions.ids, [len(ids) + slot for slot in questions.slots]
