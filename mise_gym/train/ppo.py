"""PPO over turns, with the self-evaluation trained beside the policy. Read ``PPOLearner.update`` from top to bottom."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mise_gym.rewards.base import FloatArray, RewardBreakdown
from mise_gym.rewards.metrics import judge_drift
from mise_gym.train.advantages import gae
from mise_gym.train.batch import UNITS, Batch, JudgedTrace, TurnTargets, to_batch, weighted, weights_of, with_hindsight
from mise_gym.train.distributed import gather_objects, merge, share, sum_gradients, total
from mise_gym.train.losses import bernoulli_kl, calibration_reward, entropy, policy_loss, reference_kl, value_loss
from mise_gym.train.policy import LLMPolicy, Reader
from mise_gym.train.ranges import check_ranges
from mise_gym.train.rollout import Rollout


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """The knobs of the update."""

    iterations: int = 30
    """Rounds of collect and train."""
    episodes_per_iteration: int = 64
    """Episodes collected per round."""
    num_envs: int = 64
    """Environments that play at the same time."""
    num_epochs: int = 2
    """Passes over the collected episodes."""
    minibatch_episodes: int = 16
    """Episodes per update."""
    learning_rate: float = 5e-4
    """Of the language model."""
    critic_learning_rate: float = 1e-3
    """Of the value head."""
    gamma: float = 0.99
    """Discount per turn."""
    gae_lambda: float = 0.95
    """0 is one-step TD, 1 is Monte Carlo."""
    clip_range: float = 0.2
    """The probability ratio may leave 1 by this much before its gradient stops."""
    vf_coef: float = 0.5
    """Weight of the critic's loss."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus."""
    kl_coef: float = 0.02
    """Weight of KL(policy || warm start) on actions; 0 is none."""
    target_kl: float = 0.05
    """Stop the epochs early when the policy has moved this far from the one that played."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    calibration_coef: float = 1.0
    """Weight of the calibration reward r^C, in arms that train the judge."""
    anchor_coef: float = 0.02
    """Weight of KL(belief || warm start's belief) on the score slots; keeps the judge a judge."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_ranges("ppo", self, *(field.name for field in fields(self)))
        check_ranges("ppo", self, "gamma", "gae_lambda", most=1)
        check_ranges("ppo", self, "episodes_per_iteration", "num_envs", "num_epochs", "minibatch_episodes", least=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one forward pass reads from a batch."""

    logprobs: Tensor
    """Of all allowed tokens, ``-inf`` where padded. Shape ``(N, A)``."""
    values: Tensor
    """Shape ``(T,)``."""
    score_logits: Tensor
    """Shape ``(T,)``."""

    def values_of(self, rows: Sequence[int], sequences: Sequence[JudgedTrace]) -> Iterator[tuple[int, FloatArray]]:
        """Yield each row of the batch with its values; none for no rows, whatever the batch was filled with."""
        lengths = [len(sequences[row].trace.value_positions) for row in rows]
        yield from zip(rows, np.split(self.values.double().cpu().numpy(), np.cumsum(lengths)[:-1]), strict=False)

    def beliefs(self) -> FloatArray:
        """Return P("good") of every turn. Shape ``(T,)``."""
        return self.score_logits.sigmoid().double().cpu().numpy()


def read(policy: Reader, batch: Batch) -> Reading:
    """Run the model once and read policy, critic and judge from it."""
    features = policy.features(batch.ids)
    allowed_logits = policy.allowed_logits(features[batch.decisions.rows, batch.decisions.columns], batch.allowed)
    return Reading(
        allowed_logits.log_softmax(-1),
        policy.values(features[batch.states.rows, batch.states.columns]),
        policy.score_logits(features[batch.slots.rows, batch.slots.columns]),
    )


class PPOLearner:
    """Improves a policy from its rollouts.

    Args:
        policy: Trained in place.
        reference: The policy from before reinforcement learning, as ``reference_of`` returns it; anchors actions and beliefs.
        config: The knobs.
        train_judge: Whether r^C trains the self-evaluation.
    """

    def __init__(self, policy: LLMPolicy, reference: Reader, config: PPOConfig, *, train_judge: bool) -> None:
        self.policy = policy
        self.reference = reference
        self.config = config
        self.train_judge = train_judge
        self.optimizer = torch.optim.AdamW(
            [
                {"params": policy.trained_weights, "lr": config.learning_rate},
                {"params": policy.value_head.parameters(), "lr": config.critic_learning_rate},
            ],
            weight_decay=0.0,
        )

    def update(self, rollout: Rollout, rewards: Sequence[RewardBreakdown], rng: np.random.Generator) -> dict[str, float]:
        """Do one PPO update.

        Args:
            rollout: Finished episodes with their tokens.
            rewards: The reward of each, turn by turn.
            rng: Shuffles the minibatches.

        Returns:
            Means of the losses and diagnostics over the minibatches; keys as in ``metrics.GLOSSARY``.
        """
        sequences = [with_hindsight(self.policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)]
        order = rng.permutation(len(sequences))
        size = self.config.minibatch_episodes
        minibatches = [order[start : start + size].tolist() for start in range(0, len(order), size)]
        rows_of = [share(rows) for rows in minibatches]
        filled = [mine or rows[:1] for mine, rows in zip(rows_of, minibatches, strict=True)]  # a process without a part steps too
        batches = [to_batch(self.policy, [sequences[row] for row in rows]) for rows in filled]
        weights = weights_of(batches, [bool(mine) for mine in rows_of])
        with torch.no_grad():
            before = [read(self.policy, batch) for batch in batches]
            anchors = [read(self.reference, batch) for batch in batches]
        values = {
            row: value for rows, part in zip(rows_of, before, strict=True) for row, value in part.values_of(rows, sequences)
        }
        targets = self._targets(rewards, merge(values))
        targets_of = [TurnTargets.joined([targets[row] for row in rows]) for rows in filled]
        logs: list[dict[str, float]] = []
        for _ in range(self.config.num_epochs):
            for index in rng.permutation(len(batches)):
                logs.append(self._step(batches[index], anchors[index], targets_of[index], weights[index]))
            if np.mean([log["train/approx_kl"] for log in logs[-len(batches) :]]) > self.config.target_kl:
                break
        means = {name: float(np.mean([log[name] for log in logs])) for name in logs[0]}
        return means | {"train/updates": float(len(logs))} | self._drift(rows_of, before, anchors)

    def _targets(self, rewards: Sequence[RewardBreakdown], values: Mapping[int, FloatArray]) -> list[TurnTargets]:
        """Estimate advantages over each episode, then normalise them over all turns of the rollout.

        Args:
            rewards: One per episode.
            values: The critic's values of every episode, by its row. Shape of each ``(T,)``.
        """
        pairs = [
            gae(np.array(reward.step_rewards), values[row], gamma=self.config.gamma, gae_lambda=self.config.gae_lambda)
            for row, reward in enumerate(rewards)
        ]
        everything = np.concatenate([advantages for advantages, _ in pairs])
        mean, spread = everything.mean(), everything.std() + 1e-8
        return [TurnTargets((advantages - mean) / spread, value_targets) for advantages, value_targets in pairs]

    def _step(self, batch: Batch, anchor: Reading, targets: TurnTargets, weights: Mapping[str, float]) -> dict[str, float]:
        """Take one step. Every term is this process's part of the whole minibatch's, and so are the loss and its gradient."""
        config = self.config
        reading = read(self.policy, batch)
        device = batch.ids.device
        advantages = torch.tensor(targets.advantages, dtype=torch.float32, device=device)[batch.decision_turns]
        chosen = reading.logprobs.gather(1, batch.choices[:, None]).squeeze(1)
        surrogate = policy_loss(chosen, batch.old_logprobs, advantages, clip_range=config.clip_range)
        terms = {
            "policy_loss": surrogate.loss,
            "value_loss": value_loss(reading.values, torch.tensor(targets.value_targets, dtype=torch.float32, device=device)),
            "entropy": entropy(reading.logprobs),
            "reference_kl": reference_kl(reading.logprobs, anchor.logprobs),
            "calibration_reward": calibration_reward(episode_beliefs(reading.score_logits, batch), batch.outcomes).mean(),
            "anchor_kl": bernoulli_kl(reading.score_logits, anchor.score_logits).mean(),
            "clip_fraction": surrogate.clip_fraction,
            "approx_kl": surrogate.approx_kl,
        }
        terms = {name: weighted(term, weights[UNITS.get(name, "decisions")]) for name, term in terms.items()}
        loss = terms["policy_loss"] + config.vf_coef * terms["value_loss"]
        loss = loss - config.ent_coef * terms["entropy"] + config.kl_coef * terms["reference_kl"]
        if self.train_judge:
            loss = loss - config.calibration_coef * terms["calibration_reward"] + config.anchor_coef * terms["anchor_kl"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        sum_gradients(self.policy.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.max_grad_norm)
        self.optimizer.step()
        whole = total(torch.stack([term.detach() for term in terms.values()])).tolist()
        return {f"train/{name}": value for name, value in zip(terms, whole, strict=True)} | {"train/gradient_norm": norm.item()}

    def _drift(self, rows_of: Sequence[Sequence[int]], before: Sequence[Reading], anchors: Sequence[Reading]) -> dict[str, float]:
        """Compare the beliefs of all processes with those of the frozen judge."""
        mine = [index for index, rows in enumerate(rows_of) if rows]
        parts = gather_objects(([before[index].beliefs() for index in mine], [anchors[index].beliefs() for index in mine]))
        now, then = (np.concatenate([beliefs for part in parts for beliefs in part[side]]) for side in (0, 1))
        drift = judge_drift(now, then)
        return {"judge/drift_mean": drift.mean, "judge/drift_rms": drift.rms}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.optimizer.load_state_dict(state)


def episode_beliefs(score_logits: Tensor, batch: Batch) -> Tensor:
    """Return each episode's stated belief, the mean of P("good") over its turns. Shape ``(T,)`` -> ``(B,)``."""
    episodes = len(batch.outcomes)
    sums = torch.zeros(episodes, device=score_logits.device).index_add(0, batch.slot_episodes, score_logits.sigmoid())
    counts = torch.bincount(batch.slot_episodes, minlength=episodes)
    return sums / counts.clamp(min=1)
