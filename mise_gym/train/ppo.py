"""PPO over turns, with the self-evaluation trained beside the policy. Read ``PPOLearner.update`` from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mise_gym.rewards.base import RewardBreakdown
from mise_gym.rewards.metrics import judge_drift
from mise_gym.train.advantages import gae
from mise_gym.train.batch import Batch, JudgedTrace, TurnTargets, to_batch, with_hindsight
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
                {"params": [w for w in policy.model.parameters() if w.requires_grad], "lr": config.learning_rate},
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
        rows_of = [order[start : start + size].tolist() for start in range(0, len(order), size)]
        batches = [to_batch(self.policy, [sequences[row] for row in rows]) for rows in rows_of]
        with torch.no_grad():
            before = [read(self.policy, batch) for batch in batches]
            anchors = [read(self.reference, batch) for batch in batches]
        targets = self._targets(rows_of, sequences, rewards, before)
        logs: list[dict[str, float]] = []
        for _ in range(self.config.num_epochs):
            for index in rng.permutation(len(batches)):
                logs.append(self._step(batches[index], anchors[index], targets[index]))
            if np.mean([log["train/approx_kl"] for log in logs[-len(batches) :]]) > self.config.target_kl:
                break
        means = {name: float(np.mean([log[name] for log in logs])) for name in logs[0]}
        return means | {"train/updates": float(len(logs))} | drift_metrics(before, anchors)

    def _targets(
        self,
        rows_of: Sequence[Sequence[int]],
        sequences: Sequence[JudgedTrace],
        rewards: Sequence[RewardBreakdown],
        before: Sequence[Reading],
    ) -> list[TurnTargets]:
        """Estimate advantages over each episode, then normalise them over all turns of the rollout."""
        targets = []
        for rows, reading in zip(rows_of, before, strict=True):
            lengths = [len(sequences[row].trace.value_positions) for row in rows]
            values = np.split(reading.values.double().cpu().numpy(), np.cumsum(lengths)[:-1])
            pairs = [
                gae(np.array(rewards[row].step_rewards), value, gamma=self.config.gamma, gae_lambda=self.config.gae_lambda)
                for row, value in zip(rows, values, strict=True)
            ]
            targets.append(TurnTargets(np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])))
        everything = np.concatenate([target.advantages for target in targets])
        for target in targets:
            target.advantages = (target.advantages - everything.mean()) / (everything.std() + 1e-8)
        return targets

    def _step(self, batch: Batch, anchor: Reading, targets: TurnTargets) -> dict[str, float]:
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
        }
        loss = terms["policy_loss"] + config.vf_coef * terms["value_loss"]
        loss = loss - config.ent_coef * terms["entropy"] + config.kl_coef * terms["reference_kl"]
        if self.train_judge:
            loss = loss - config.calibration_coef * terms["calibration_reward"] + config.anchor_coef * terms["anchor_kl"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.max_grad_norm)
        self.optimizer.step()
        terms |= {"clip_fraction": surrogate.clip_fraction, "approx_kl": surrogate.approx_kl, "gradient_norm": norm}
        return {f"train/{name}": value.item() for name, value in terms.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.optimizer.load_state_dict(state)


def drift_metrics(readings: Sequence[Reading], frozen: Sequence[Reading]) -> dict[str, float]:
    """Return how far the beliefs have moved away from those of the frozen judge, on the same batches."""
    now, then = (torch.cat([r.score_logits for r in each]).sigmoid().double().cpu().numpy() for each in (readings, frozen))
    drift = judge_drift(now, then)
    return {"judge/drift_mean": drift.mean, "judge/drift_rms": drift.rms}


def episode_beliefs(score_logits: Tensor, batch: Batch) -> Tensor:
    """Return each episode's stated belief, the mean of P("good") over its turns. Shape ``(T,)`` -> ``(B,)``."""
    episodes = len(batch.outcomes)
    sums = torch.zeros(episodes, device=score_logits.device).index_add(0, batch.slot_episodes, score_logits.sigmoid())
    counts = torch.bincount(batch.slot_episodes, minlength=episodes)
    return sums / counts.clamp(min=1)
