"""Warm start: supervised learning of acting from good turns, and of judging from all labelled ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mise_gym.errors import ConfigError
from mise_gym.llm.batching import pad
from mise_gym.train.demonstrations import GOOD_TURNS
from mise_gym.train.distributed import total
from mise_gym.train.policy import LLMPolicy, Places
from mise_gym.train.ranges import check_ranges
from mise_gym.train.sharding import blocks_of, passes_of, reduce_gradients
from mise_gym.types import Episode


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """How the model is prepared before reinforcement learning."""

    expert_episodes: int = 60
    """Episodes of the simulator's own solution, to imitate."""
    judge_episodes: int = 60
    """Episodes with random mistakes, labelled turn by turn: judging is learnt from all turns, acting from the good ones."""
    max_mistake_rate: float = 0.6
    """Each judge episode draws its rate of random actions from [0, this]."""
    repeated_mistakes: float = 0.0
    """Share of these mistakes that do again what was done before: what a policy is tempted to where it was good once."""
    epochs: int = 4
    """Passes over all episodes; 0 skips the warm start."""
    own_episodes: int = 0
    """Episodes that the prepared policy plays then, labelled like the others, for a second round: it makes other mistakes than
    random ones, and a judge has to have seen them."""
    own_epochs: int = 2
    """Passes over all episodes, its own among them, in that round."""
    own_teach: Literal["everything", "judging"] = "everything"
    """What its own episodes are for: the same as the others, or only judging turns. Then acting stays what the expert taught, and
    whether an attempt as a whole will do is left to r^C, which needs no labels."""
    learning_rate: float = 3e-3
    """Peak of a linear warm-up and cosine decay, of AdamW."""
    muon_learning_rate: float | None = None
    """The same of Muon, for the matrices inside the blocks; none leaves these to AdamW, too. Needs torch 2.9, and whole weights:
    no adapter, no shards."""
    batch_episodes: int = 8
    """Episodes per update."""
    judge_coef: float = 0.3
    """Weight of the judging loss, of turns and whole attempts, beside the acting loss."""
    text_coef: float = 0.3
    """Weight of the language-model loss on everything else, which teaches the words themselves."""

    def __post_init__(self) -> None:
        """Check ranges."""
        numbers = [field.name for field in fields(self) if not isinstance(getattr(self, field.name), str)]
        check_ranges("warm_start", self, *numbers)
        check_ranges("warm_start", self, "max_mistake_rate", "repeated_mistakes", most=1)
        check_ranges("warm_start", self, "batch_episodes", least=1)


@dataclass(frozen=True, slots=True)
class _Example:
    """One episode to learn from: ids, which of them to imitate, and the hindsight slots with their labels, the outcome last."""

    ids: list[int]
    acted: list[int]
    slots: list[int]
    labels: list[float]

    def only_judged(self) -> "_Example":
        """Leave out what there is to imitate, and the slot of the outcome."""
        return _Example(self.ids, [], self.slots[:-1], self.labels[:-1])


def warm_start(
    policy: LLMPolicy,
    episodes: Sequence[Episode],
    config: WarmStartConfig,
    rng: np.random.Generator,
    on_update: Callable[[int, int, dict[str, float]], None],
    only_judged: Sequence[Episode] = (),
) -> int:
    """Train the policy in place. Several processes share every batch.

    Args:
        policy: The policy; its critic is left alone.
        episodes: Labelled episodes. Good turns are imitated; the labels of all turns teach the judge.
        config: Epochs and weights.
        rng: Shuffles the batches.
        on_update: Called with the number of updates done, their total, and the losses.
        only_judged: More labelled episodes. The labels of their turns are learnt, and their text as text; no turn is imitated for
            being good, and no outcome is learnt.

    Returns:
        How many updates there were.
    """
    examples = [_example(policy, episode) for episode in episodes]
    examples += [_example(policy, episode).only_judged() for episode in only_judged]
    updates_per_epoch = math.ceil(len(examples) / config.batch_episodes)
    total = config.epochs * updates_per_epoch
    optimizers = _optimizers(policy, config)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _schedule(done, total)) for optimizer in optimizers]
    for done in range(total):
        if done % updates_per_epoch == 0:
            order = rng.permutation(len(examples))
        start = done % updates_per_epoch * config.batch_episodes
        policy.zero_grad(set_to_none=True)
        losses = _add_gradients(policy, [examples[row] for row in order[start : start + config.batch_episodes]], config)
        reduce_gradients(policy, 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        on_update(done + 1, total, {f"warm_start/{name}_loss": value for name, value in losses.items()})
    return total


def _optimizers(policy: LLMPolicy, config: WarmStartConfig) -> list[torch.optim.Optimizer]:
    """Return AdamW for all weights, or Muon for the matrices inside the blocks and AdamW for the rest (Jordan et al., 2024)."""
    rate, weights = config.muon_learning_rate, policy.trained_weights
    if rate is None:
        return [torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.01)]
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"warm_start.muon_learning_rate needs torch 2.9, and this is {torch.__version__}. Leave it out, or upgrade."
        )
    inside = {id(each) for block in blocks_of(policy.model) for each in block.parameters() if each.ndim == 2}
    matrices, rest = [each for each in weights if id(each) in inside], [each for each in weights if id(each) not in inside]
    return [
        torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=0.01),
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    ]


def _schedule(done: int, total: int) -> float:
    warm_up = max(1, total // 20)
    return min(1.0, (done + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * done / max(1, total)))


def _example(policy: LLMPolicy, episode: Episode) -> _Example:
    ids, slots = policy.with_hindsight(episode)
    labels = episode.extra[GOOD_TURNS]
    turns = episode.transitions
    acted: list[int] = []
    end = len(policy.text.opening(episode.task, turns[0].observation))
    for turn, written, is_good in zip(turns, policy.text.written(episode), labels, strict=True):
        start, end = end, end + len(written)
        if is_good:
            acted.extend(range(start, end))
        end += len(policy.text.observation(turn.next_observation))
    return _Example(ids, acted, slots, [*labels, episode.progress])


def _add_gradients(policy: LLMPolicy, examples: Sequence[_Example], config: WarmStartConfig) -> dict[str, float]:
    """Add the gradient of this process's part of the loss of some examples, and return the terms of all of it."""
    acted = sum(len(example.acted) for example in examples)
    counts = {
        "act": acted,
        "text": sum(len(example.ids) - 1 for example in examples) - acted,
        "judge": sum(len(example.slots) for example in examples),
    }
    passes, counted = passes_of(policy, range(len(examples)), [len(example.ids) for example in examples])
    means = torch.zeros(len(counts), dtype=torch.float64, device=policy.device)
    for number, rows in enumerate(passes):
        sums = _loss_sums(policy, [examples[row] for row in rows])
        terms = {name: sums[name] * (number < counted) / max(1, count) for name, count in counts.items()}
        loss = terms["act"] + config.judge_coef * terms["judge"] + config.text_coef * terms["text"]
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        means += torch.stack([terms[name].detach().double() for name in counts])
    return dict(zip(counts, total(means).tolist(), strict=True))


def _loss_sums(policy: LLMPolicy, examples: Sequence[_Example]) -> dict[str, torch.Tensor]:
    """Return the losses of some examples, summed over tokens and over slots."""
    ids, mask = pad([example.ids for example in examples], policy.tokenizer.pad_token_id or 0, policy.device)
    features = policy.features(ids)
    slots = Places.of([example.slots for example in examples])
    labels = torch.tensor([label for example in examples for label in example.labels], device=ids.device).float()
    acted = torch.zeros_like(mask)
    for row, example in enumerate(examples):
        acted[row, example.acted] = 1
    rows, columns = mask[:, 1:].nonzero(as_tuple=True)
    per_token = policy.token_losses(features[rows, columns], ids[rows, columns + 1])
    acted = acted[rows, columns + 1]
    scores = policy.score_logits(features[slots.rows, slots.columns])
    return {
        "act": (per_token * acted).sum(),
        "text": (per_token * (1 - acted)).sum(),
        "judge": binary_cross_entropy_with_logits(scores, labels, reduction="sum"),
    }
