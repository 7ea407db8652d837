"""PPO over turns, with the self-evaluation trained beside the policy. Read ``PPOLearner.update`` from top to bottom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mise_gym.errors import ConfigError
from mise_gym.rewards.base import RewardBreakdown
from mise_gym.train.advantages import FloatArray, returns_to_go
from mise_gym.train.batch import UNITS, Batch, JudgedTrace, to_batch, weights_of, with_hindsight
from mise_gym.train.credit import Credit, CreditLevel, HindsightCredit, critic_credit, explained_variance, group_credit
from mise_gym.train.critic import CriticKind
from mise_gym.train.distributed import total
from mise_gym.train.losses import (
    CalibrationScore,
    KLEstimator,
    bernoulli_kl,
    calibration_reward,
    mean,
    policy_loss,
    value_loss,
)
from mise_gym.train.policy import LLMPolicy, Reader
from mise_gym.train.ranges import check_ranges
from mise_gym.train.reading import Anchor, Pass, Reading, by_episode, drift_metrics, read, read_anchor
from mise_gym.train.rollout import Rollout
from mise_gym.train.scaling import ReturnScale, adapted_kl_coef, learning_rate_factor
from mise_gym.train.sharding import passes_of, reduce_gradients, reshard
from mise_gym.train.shards import gathered, optimizer_state_like

JudgeRole = Literal["measured", "used", "trained"]
"""What becomes of the self-evaluation: it is only measured; it pays, and is held near the warm start's; r^C trains it besides."""


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
    warmup_iterations: int = 0
    """Iterations over which both learning rates rise to what is set; 0 starts with all of it."""
    learning_rate_schedule: Literal["constant", "linear"] = "constant"
    """Whether both learning rates stay, or fall evenly to 0 at the end of the run."""
    baseline: Literal["critic", "rloo", "grpo"] = "critic"
    """What a return is compared with: a critic's prediction (GAE), or the other episodes of the same task, leave-one-out or in
    units of their standard deviation; the latter two train no critic."""
    group_size: int = 1
    """Episodes of each task per iteration, from equal starts; the baselines rloo and grpo need at least 2, 8 is usual."""
    advantages: CreditLevel = "turn"
    """Whether all tokens of a turn share an advantage, or the critic is read at every chosen token, with the turn's reward on its
    last one."""
    hindsight_credit: HindsightCredit = "turn"
    """What a hindsight reward is credit for: its own turn, to whose advantage it is added; or, as any other reward, all turns
    before it too, through their returns."""
    critic: CriticKind = "detached"
    """Whether the critic reads the features of one token, or of the whole episode through a transformer block of its own."""
    gamma: float = 0.99
    """Discount per turn; none within a turn."""
    gae_lambda: float = 0.95
    """0 is one-step TD, 1 is Monte Carlo. Per turn or token, as the advantages are; without effect on rloo and grpo."""
    reward_scale: Literal["none", "running"] = "none"
    """Whether rewards are divided by the running standard deviation of all returns so far."""
    clip_range: float = 0.2
    """The probability ratio may leave 1 by this much before its gradient stops."""
    clip_range_high: float | None = None
    """The same upwards; none is clip_range, more keeps rare choices alive (0.28 in DAPO)."""
    vf_coef: float = 0.5
    """Weight of the critic's loss."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus."""
    kl_coef: float = 0.02
    """Weight of KL(policy || warm start) on actions; 0 is none."""
    kl_estimator: KLEstimator = "exact"
    """How that KL is found: summed over all allowed tokens, or estimated from the chosen one (k1, k3)."""
    kl_penalty: Literal["loss", "reward"] = "loss"
    """Whether it is a term of the loss, or is taken off the rewards before advantages are estimated, as in RLHF."""
    reference_kl_target: float | None = None
    """KL per decision, in nats, towards which kl_coef is adapted after each iteration; none leaves it fixed."""
    target_kl: float = 0.05
    """Stop the epochs early when the policy has moved this far from the one that played."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    calibration_coef: float = 0.2
    """Weight of the calibration reward r^C, in arms that train the judge."""
    calibration_score: CalibrationScore = "log"
    """The scoring rule of r^C: a bounded logarithm, or squared error, which hardly moves a judge who is sure and wrong."""
    anchor_coef: float = 0.5
    """Weight of KL(score || warm start's score) on the slots of turns, in arms whose judge pays; keeps the judge a judge."""

    def __post_init__(self) -> None:
        """Check ranges and contradictions."""
        numbers = [field.name for field in fields(self) if not isinstance(getattr(self, field.name), str)]
        check_ranges("ppo", self, *numbers)
        check_ranges("ppo", self, "gamma", "gae_lambda", "clip_range", most=1)
        check_ranges("ppo", self, "episodes_per_iteration", "num_envs", "num_epochs", "minibatch_episodes", "group_size", least=1)
        self._check_groups()
        if self.kl_estimator == "k1" and self.kl_penalty == "loss":
            raise ConfigError(
                "The setting 'ppo.kl_estimator' is 'k1' for a term of the loss, where its gradient is zero on average. "
                "Give 'exact' or 'k3', or ppo.kl_penalty = 'reward'."
            )
        if self.reference_kl_target is not None and not (self.reference_kl_target > 0 < self.kl_coef):
            raise ConfigError(
                f"The setting 'ppo.reference_kl_target' is {self.reference_kl_target!r} and 'ppo.kl_coef', which it adapts, "
                f"{self.kl_coef!r}; both must be above 0."
            )

    def _check_groups(self) -> None:
        if self.episodes_per_iteration % self.group_size:
            raise ConfigError(
                f"The setting 'ppo.episodes_per_iteration' is {self.episodes_per_iteration!r}; "
                f"it must be a multiple of ppo.group_size, {self.group_size!r}."
            )
        if self.baseline != "critic" and self.group_size < 2:
            raise ConfigError(
                f"The baseline {self.baseline!r} compares episodes of one task, and 'ppo.group_size' is {self.group_size!r}. "
                "Give at least 2; 8 is usual."
            )
        if self.baseline != "critic" and self.advantages == "token":
            raise ConfigError(
                f"Advantages of tokens are differences of a critic's values, and the baseline {self.baseline!r} has no critic. "
                "Give ppo.advantages = 'turn', or ppo.baseline = 'critic'."
            )


class PPOLearner:
    """Improves a policy from its rollouts.

    Args:
        policy: Trained in place.
        reference: The policy from before reinforcement learning, as ``reference_of`` returns it; anchors actions and scores.
        config: The knobs.
        judge: What becomes of the self-evaluation.
    """

    def __init__(self, policy: LLMPolicy, reference: Reader, config: PPOConfig, *, judge: JudgeRole) -> None:
        self.policy = policy
        self.reference = reference
        self.config = config
        self.judge = judge
        self.optimizer = torch.optim.AdamW(
            [
                {"params": policy.trained_weights, "lr": config.learning_rate},
                {"params": policy.value_head.parameters(), "lr": config.critic_learning_rate},
            ],
            weight_decay=0.0,
        )
        self.kl_coef = config.kl_coef
        self.reward_scale = ReturnScale()
        self.updated = 0
        """Calls of ``update`` so far."""

    def update(self, rollout: Rollout, rewards: Sequence[RewardBreakdown], rng: np.random.Generator) -> dict[str, float]:
        """Do one PPO update.

        Args:
            rollout: Finished episodes with their tokens; for a group baseline, ``group_size`` of each task in a row.
            rewards: The reward of each, turn by turn.
            rng: Shuffles the minibatches.

        Returns:
            Means of the losses and diagnostics over the minibatches; keys as in ``metrics.GLOSSARY``.

        Raises:
            ConfigError: The episodes of a group did not start alike.
        """
        self._check_groups(rollout)
        self._set_learning_rates()
        sequences = [
            with_hindsight(self.policy, episode, trace, self.config.advantages)
            for episode, trace in zip(rollout.episodes, rollout.traces, strict=True)
        ]
        minibatches = self._minibatches(sequences, rng)
        passes = [each for minibatch in minibatches for each in minibatch]
        num_steps = [len(sequence.steps.turns) for sequence in sequences]
        values = by_episode(passes, [each.before.values for each in passes], num_steps)
        credit = self._credit(sequences, rewards, passes, values)
        outcomes = [np.array([episode.progress]) for episode in rollout.episodes]
        logs = self._epochs(minibatches, credit, outcomes, rng)
        reshard(self.reference)  # its output layer is read to the end
        means = {name: float(np.mean([log[name] for log in logs])) for name in logs[0]}
        self.updated += 1
        if self.config.reference_kl_target is not None:
            self.kl_coef = adapted_kl_coef(self.kl_coef, means["train/reference_kl"], self.config.reference_kl_target)
        return means | {
            "train/updates": float(len(logs)),
            "train/explained_variance": explained_variance(values, credit.value_targets),
            "train/kl_coef": self.kl_coef,
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/reward_scale": self.reward_scale.value,
            **drift_metrics(passes),
        }

    def _minibatches(self, sequences: Sequence[JudgedTrace], rng: np.random.Generator) -> list[list[Pass]]:
        """Divide the rollout at random into minibatches of passes."""
        order, size = rng.permutation(len(sequences)), self.config.minibatch_episodes
        minibatches = [self._passes(sequences, order[start : start + size].tolist()) for start in range(0, len(order), size)]
        reshard(self.policy)
        return minibatches

    def _passes(self, sequences: Sequence[JudgedTrace], whole: list[int]) -> list[Pass]:
        """Divide this process's part of a minibatch by length, and read policy and reference as they are before the update."""
        rows_of, counted = passes_of(self.policy, whole, [len(sequence.ids) for sequence in sequences])
        batches = [to_batch(self.policy, [sequences[row] for row in rows]) for rows in rows_of]
        weights = weights_of(batches, counted)
        return [self._first_pass(*each) for each in zip(rows_of, batches, weights, strict=True)]

    @torch.no_grad()
    def _first_pass(self, rows: list[int], batch: Batch, weights: Mapping[str, float]) -> Pass:
        anchor = read_anchor(self.reference, batch)
        return Pass(rows, batch, self._read(batch, anchor), anchor, weights)

    def _read(self, batch: Batch, anchor: Anchor) -> Reading:
        return read(self.policy, batch, anchor, self.config.kl_estimator)

    def _credit(
        self,
        sequences: Sequence[JudgedTrace],
        rewards: Sequence[RewardBreakdown],
        passes: Sequence[Pass],
        values: Sequence[FloatArray],
    ) -> Credit:
        """Return advantages and value targets."""
        config = self.config
        whole = [np.array(reward.step_rewards) for reward in rewards]
        paid = [np.array(reward.env_rewards) for reward in rewards] if config.hindsight_credit == "turn" else whole
        if config.reward_scale == "running":
            self.reward_scale.update([returns_to_go(reward, gamma=config.gamma) for reward in paid])
        scale, steps = self.reward_scale.value, [sequence.steps for sequence in sequences]
        known = [each.spread((all_of_it - part) / scale) for each, all_of_it, part in zip(steps, whole, paid, strict=True)]
        step_rewards = self._step_rewards(sequences, [part / scale for part in paid], passes)
        if config.baseline == "critic":
            return critic_credit(step_rewards, values, known, steps, gamma=config.gamma, gae_lambda=config.gae_lambda)
        return group_credit(step_rewards, known, group_size=config.group_size, baseline=config.baseline, gamma=config.gamma)

    def _step_rewards(
        self, sequences: Sequence[JudgedTrace], turn_rewards: Sequence[FloatArray], passes: Sequence[Pass]
    ) -> list[FloatArray]:
        """Return what each step is paid: the turn's reward, less the KL penalty if it is to be taken off here."""
        step_rewards = [s.steps.rewards(reward) for s, reward in zip(sequences, turn_rewards, strict=True)]
        if self.config.kl_penalty == "reward":
            num_decisions = [len(sequence.trace.decisions) for sequence in sequences]
            kls = by_episode(passes, [each.before.reference_kls for each in passes], num_decisions)
            step_rewards = [r - self.kl_coef * s.steps.sums(kl) for s, r, kl in zip(sequences, step_rewards, kls, strict=True)]
        return step_rewards

    def _epochs(
        self, minibatches: Sequence[Sequence[Pass]], credit: Credit, outcomes: Sequence[FloatArray], rng: np.random.Generator
    ) -> list[dict[str, float]]:
        """Go over the minibatches again and again, until the policy has moved far enough; return the metrics of each step."""
        logs: list[dict[str, float]] = []
        for _ in range(self.config.num_epochs):
            for index in rng.permutation(len(minibatches)):
                logs.append(self._step(minibatches[index], credit, outcomes))
            if np.mean([log["train/approx_kl"] for log in logs[-len(minibatches) :]]) > self.config.target_kl:
                break
        return logs

    def _step(self, minibatch: Sequence[Pass], credit: Credit, outcomes: Sequence[FloatArray]) -> dict[str, float]:
        """Add up the gradients of a minibatch's passes, and take one step of the optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = [self._add_gradient(each, credit, outcomes) for each in minibatch]
        norm = reduce_gradients(self.policy, self.config.max_grad_norm)
        self.optimizer.step()
        whole = total(torch.stack([torch.stack(list(part.values())) for part in parts]).sum(0)).tolist()
        return {f"train/{name}": value for name, value in zip(parts[0], whole, strict=True)} | {
            "train/gradient_norm": norm.item()
        }

    def _add_gradient(self, each: Pass, credit: Credit, outcomes: Sequence[FloatArray]) -> dict[str, Tensor]:
        """Add the gradient of one pass, and return its part of every term of the minibatch's loss."""
        config, batch, anchor = self.config, each.batch, each.anchor
        reading = self._read(batch, anchor)
        surrogate = policy_loss(
            reading.logprobs,
            batch.old_logprobs,
            each.pick(credit.advantages)[batch.decision_steps],
            clip_range=config.clip_range,
            clip_range_high=config.clip_range_high,
        )
        agreement = calibration_reward(reading.belief_logits.sigmoid(), each.pick(outcomes), score=config.calibration_score)
        terms = {
            "policy_loss": surrogate.loss,
            "value_loss": value_loss(reading.values, each.pick(credit.value_targets)),
            "entropy": mean(reading.entropies),
            "reference_kl": mean(reading.reference_kls),
            "calibration_reward": agreement.mean(),
            "anchor_kl": bernoulli_kl(reading.score_logits, anchor.score_logits).mean(),
            "clip_fraction": surrogate.clip_fraction,
            "approx_kl": surrogate.approx_kl,
        }
        parts = {name: term * each.weights[UNITS.get(name, "decisions")] for name, term in terms.items()}
        self._loss(parts).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return {name: part.detach() for name, part in parts.items()}

    def _loss(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weigh the terms."""
        config = self.config
        loss = terms["policy_loss"] - config.ent_coef * terms["entropy"]
        if config.baseline == "critic":
            loss = loss + config.vf_coef * terms["value_loss"]
        if config.kl_penalty == "loss":
            loss = loss + self.kl_coef * terms["reference_kl"]
        if self.judge != "measured":
            loss = loss + config.anchor_coef * terms["anchor_kl"]
        if self.judge == "trained":
            loss = loss - config.calibration_coef * terms["calibration_reward"]
        return loss

    def _set_learning_rates(self) -> None:
        config = self.config
        decays = config.learning_rate_schedule == "linear"
        factor = learning_rate_factor(self.updated, config.iterations, warmup=config.warmup_iterations, decays=decays)
        for group, rate in zip(self.optimizer.param_groups, (config.learning_rate, config.critic_learning_rate), strict=True):
            group["lr"] = rate * factor

    def _check_groups(self, rollout: Rollout) -> None:
        """Refuse to compare episodes that did not start alike."""
        if self.config.baseline == "critic":
            return
        starts = [(episode.task, episode.transitions[0].observation) for episode in rollout.episodes]
        size = self.config.group_size
        if any(start != starts[row - row % size] for row, start in enumerate(starts)) or len(starts) % size:
            raise ConfigError(
                f"The baseline {self.config.baseline!r} compares groups of {size} episodes, and these did not start alike. "
                "Equal options of reset must give equal starts, and the episodes of a task stand in a row."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimiser and of what adapts; the same for sharded weights, where all processes must ask."""
        return {
            "optimizer": gathered(self.optimizer.state_dict()),
            "kl_coef": self.kl_coef,
            "reward_scale": self.reward_scale.state_dict(),
            "updated": self.updated,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self.optimizer.load_state_dict(optimizer_state_like(state["optimizer"], weights))
        self.reward_scale.load_state_dict(state["reward_scale"])
        self.kl_coef, self.updated = state["kl_coef"], state["updated"]
