"""The plain way to train a language model on episodes of many turns, for benchmarks to compare with.

What one writes with Hugging Face in an afternoon, and batched with care: ``generate`` reads the whole prompt again in every
turn; every turn is a training sample of its own, with the whole episode before it; the language model's head runs at all
tokens; a second copy of the model is the reference. Samples are sorted by length and passes bounded in tokens, so that little
padding is read.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mise_gym.llm.batching import pad, token_batches
from mise_gym.train.advantages import gae
from mise_gym.train.rollout import LiveRecorder, TextEnvironment
from mise_gym.train.text import EpisodeText
from mise_gym.types import Episode


@dataclass(slots=True)
class Sample:
    """One turn: everything before its action, and the action."""

    ids: list[int]
    start: int
    """Where the action begins."""
    reward: float
    advantage: float = 0.0
    value_target: float = 0.0


class PlainTrainer:
    """Plays and updates the plain way.

    Args:
        model: A causal language model; copied, and copied again as the reference.
        text: How episodes are written in tokens.
        num_epochs: Passes over all turns.
        minibatch_episodes: Episodes whose turns make one step of the optimiser.
        max_tokens_per_pass: Bound of B times S of one forward pass; gradients are added up over passes.
    """

    def __init__(
        self,
        model: Any,
        text: EpisodeText,
        *,
        num_epochs: int = 2,
        minibatch_episodes: int = 16,
        max_tokens_per_pass: int = 16_384,
    ) -> None:
        self.model = copy.deepcopy(model)
        self.reference = copy.deepcopy(model).requires_grad_(False)
        self.text = text
        self.num_epochs, self.minibatch_episodes, self.max_tokens = num_epochs, minibatch_episodes, max_tokens_per_pass
        self.device = next(self.model.parameters()).device
        self.value_head = nn.Linear(model.get_input_embeddings().embedding_dim, 1).to(self.device)
        self.optimizer = torch.optim.AdamW([*self.model.parameters(), *self.value_head.parameters()], lr=1e-5)

    @torch.no_grad()
    def play(self, envs: Sequence[TextEnvironment], tasks: Sequence[Mapping[str, Any]]) -> list[Episode]:
        """Play every task once, as many at a time as there are environments."""
        episodes = []
        for first in range(0, len(tasks), len(envs)):
            wave = [LiveRecorder(env, options) for env, options in zip(envs, tasks[first : first + len(envs)], strict=False)]
            prompts = {recorder: self.text.opening(recorder.info["task"], recorder.observation) for recorder in wave}
            while running := [recorder for recorder in wave if not recorder.is_done]:
                actions = self._generate([prompts[recorder] for recorder in running], [recorder.commands for recorder in running])
                for recorder, action in zip(running, actions, strict=True):
                    recorder.step(action)
                    prompts[recorder] += self.text.action(action) + self.text.observation(recorder.observation)
            episodes += [recorder.episode() for recorder in wave]
        return episodes

    def _generate(self, prompts: Sequence[list[int]], commands: Sequence[Sequence[str]]) -> list[str]:
        """Write one admissible command per prompt, with ``generate``."""
        width = max(len(prompt) for prompt in prompts)
        end = self.text.tokenizer.eos_token_id
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self.device)
        spelt = [[self.text.action(command) for command in choices] for choices in commands]

        def allowed(row: int, so_far: Tensor) -> list[int]:
            written = so_far[width:].tolist()
            left = [each[len(written) :] for each in spelt[row] if each[: len(written)] == written]
            return list({rest[0] for rest in left if rest}) or [end]

        output = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            prefix_allowed_tokens_fn=allowed,
            do_sample=True,
            top_k=0,
            eos_token_id=end,
            pad_token_id=end,
            max_new_tokens=1 + max(len(each) for choices in spelt for each in choices),
        )
        written = [[token for token in row if token != end] for row in output[:, width:].tolist()]
        return [choices[known.index(ids)] for choices, known, ids in zip(commands, spelt, written, strict=True)]

    def update(self, episodes: Sequence[Episode]) -> float:
        """Do one PPO update over all turns, each a sample of its own; return the last loss."""
        samples = [self._samples(episode) for episode in episodes]
        for episode in samples:
            self._estimate(episode)
        order = np.random.default_rng(0).permutation(len(samples))
        loss = 0.0
        minibatches = [
            [sample for row in order[start : start + self.minibatch_episodes] for sample in samples[row]]
            for start in range(0, len(order), self.minibatch_episodes)
        ]
        passes = [
            [[minibatch[row] for row in rows] for rows in token_batches([len(s.ids) for s in minibatch], self.max_tokens)]
            for minibatch in minibatches
        ]
        models = self.model, self.reference
        with torch.no_grad():
            before = [[tuple(self._read(model, part)[0] for model in models) for part in parts] for parts in passes]
        for _ in range(self.num_epochs):
            for parts, frozen in zip(passes, before, strict=True):
                loss = self._step(parts, frozen)
        return loss

    def _samples(self, episode: Episode) -> list[Sample]:
        ids = self.text.opening(episode.task, episode.transitions[0].observation)
        samples = []
        for turn in episode.transitions:
            action = self.text.action(turn.action)
            samples.append(Sample(ids + action, len(ids), turn.reward))
            ids = ids + action + self.text.observation(turn.next_observation)
        return samples

    @torch.no_grad()
    def _estimate(self, samples: Sequence[Sample]) -> None:
        """Estimate the advantages of an episode's turns, from one pass over the last of its samples, which holds all states."""
        hidden = self.model.base_model(input_ids=torch.tensor([samples[-1].ids], device=self.device)).last_hidden_state[0]
        values = self.value_head(hidden[[sample.start - 1 for sample in samples]].float()).squeeze(-1).double().cpu().numpy()
        rewards = np.array([sample.reward for sample in samples])
        for sample, advantage, target in zip(samples, *gae(rewards, values, gamma=0.99, gae_lambda=0.95), strict=True):
            sample.advantage, sample.value_target = float(advantage), float(target)

    def _read(self, model: Any, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-probabilities of action tokens, their row, and the last hidden states."""
        ids, mask = pad([sample.ids for sample in samples], 0, self.device)
        output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        logprobs = output.logits.float().log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None]).squeeze(2)
        written = torch.zeros_like(mask)
        for row, sample in enumerate(samples):
            written[row, sample.start : len(sample.ids)] = 1
        rows, columns = written[:, 1:].nonzero(as_tuple=True)
        return logprobs[rows, columns], rows, output.hidden_states[-1]

    def _step(self, parts: Sequence[Sequence[Sample]], frozen: Sequence[tuple[Tensor, Tensor]]) -> float:
        """Add up the gradients of all passes of a minibatch and take a step."""
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(len(old) for old, _ in frozen)
        total = 0.0
        for samples, (old, ref) in zip(parts, frozen, strict=True):
            logprobs, rows, hidden = self._read(self.model, samples)
            advantages = torch.tensor([sample.advantage for sample in samples], device=self.device)[rows]
            ratio = (logprobs - old).exp()
            surrogate = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).sum() / count
            kl = (torch.expm1(ref - logprobs) - (ref - logprobs)).sum() / count
            starts = torch.tensor([sample.start - 1 for sample in samples], device=self.device)
            values = self.value_head(hidden[torch.arange(len(samples), device=self.device), starts].detach().float()).squeeze(-1)
            targets = torch.tensor([sample.value_target for sample in samples], device=self.device)
            loss = surrogate + 0.02 * kl + 0.5 * ((values - targets) ** 2).mean() / len(parts)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return total
