"""Who gets credit for what: the steps of an episode, where rewards land among them, and the advantages of a whole rollout."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np

from mise_gym.train.advantages import FloatArray, GroupBaseline, gae, group_advantages, normalise, returns_to_go
from mise_gym.train.trace import TokenTrace

CreditLevel = Literal["turn", "token"]
HindsightCredit = Literal["turn", "return"]


@dataclass(frozen=True, slots=True)
class Steps:
    """The T steps of an episode: its turns, or the tokens that were chosen in them."""

    positions: list[int]
    """The last token before each step, where the critic reads. Length T."""
    turns: list[int]
    """Which turn each step is part of. Length T."""
    of_decisions: list[int]
    """Which step each decision belongs to. One entry per decision."""

    @classmethod
    def of(cls, trace: TokenTrace, level: CreditLevel) -> "Steps":
        """Divide an episode into steps.

        Args:
            trace: The episode in tokens.
            level: "turn" makes every turn a step; "token" every decision, and every turn without one.
        """
        if level == "turn":
            return cls(list(trace.value_positions), list(range(len(trace.value_positions))), [d.turn for d in trace.decisions])
        decided = {turn: [d.position - 1 for d in group] for turn, group in groupby(trace.decisions, lambda d: d.turn)}
        positions: list[int] = []
        turns: list[int] = []
        of_decisions: list[int] = []
        for turn, start in enumerate(trace.value_positions):
            places = decided.get(turn, [])
            of_decisions += range(len(positions), len(positions) + len(places))
            positions += places or [start]
            turns += [turn] * max(len(places), 1)
        return cls(positions, turns, of_decisions)

    def rewards(self, turn_rewards: FloatArray) -> FloatArray:
        """Put the reward of each turn on its last step. Shape ``(turns,)`` -> ``(T,)``."""
        rewards = np.zeros(len(self.turns))
        rewards[self._ends_turn()] = turn_rewards
        return rewards

    def spread(self, turn_values: FloatArray) -> FloatArray:
        """Give every step the value of its turn. Shape ``(turns,)`` -> ``(T,)``."""
        return turn_values[self.turns]

    def discounts(self, gamma: float) -> FloatArray:
        """Return the discount after each step: ``gamma`` between turns, none within one. Shape ``(T,)``."""
        return np.where(self._ends_turn(), gamma, 1.0)

    def sums(self, of_each_decision: FloatArray) -> FloatArray:
        """Add up over the decisions of each step. Shape ``(decisions,)`` -> ``(T,)``."""
        return np.bincount(self.of_decisions, of_each_decision, len(self.turns)).astype(np.float64)

    def _ends_turn(self) -> Any:
        return np.diff(self.turns, append=-1) != 0


@dataclass(frozen=True, slots=True)
class Credit:
    """What PPO has to know of every step of a rollout: one array of shape ``(T,)`` per episode."""

    advantages: list[FloatArray]
    value_targets: list[FloatArray]
    """What a critic is to learn: the return from each step on, and the step's own credit. Shape of each ``(T, 2)``."""


def critic_credit(
    rewards: Sequence[FloatArray],
    values: Sequence[FloatArray],
    known: Sequence[FloatArray],
    steps: Sequence[Steps],
    *,
    gamma: float,
    gae_lambda: float,
) -> Credit:
    """Compare returns with a critic's values, by GAE; advantages are normalised over all steps of the rollout.

    Args:
        rewards: Of each episode's steps. Shape of each ``(T,)``.
        values: The critic's. Shape of each ``(T, 2)``.
        known: Credit that a step has for itself, whatever came before and after; what exceeds the critic's prediction is added to
            its advantage. Shape of each ``(T,)``.
        steps: The steps of each episode.
        gamma: Discount per turn.
        gae_lambda: As for ``gae``.
    """
    advantages, value_targets = [], []
    for reward, value, own, each in zip(rewards, values, known, steps, strict=True):
        advantage, returns = gae(reward, value[:, 0], gamma=each.discounts(gamma), gae_lambda=gae_lambda)
        advantages.append(advantage + own - value[:, 1])
        value_targets.append(np.stack([returns, own], -1))
    return Credit(normalise(advantages), value_targets)


def group_credit(
    rewards: Sequence[FloatArray], known: Sequence[FloatArray], *, group_size: int, baseline: GroupBaseline, gamma: float
) -> Credit:
    """Compare returns with those of the other episodes of a task.

    Args:
        rewards: Of each episode's turns, the episodes of a task in a row. Shape of each ``(T,)``.
        known: Credit that a turn has for itself, as for ``critic_credit``. Shape of each ``(T,)``.
        group_size: Episodes of each task.
        baseline: As for ``group_advantages``.
        gamma: Discount per turn.
    """
    returns = [returns_to_go(reward, gamma=gamma) for reward in rewards]
    groups = [returns[start : start + group_size] for start in range(0, len(returns), group_size)]
    advantages = [advantage for group in groups for advantage in group_advantages(group, baseline)]
    value_targets = [np.stack(pair, -1) for pair in zip(returns, known, strict=True)]
    return Credit([advantage + own for advantage, own in zip(advantages, known, strict=True)], value_targets)


def explained_variance(values: Sequence[FloatArray], value_targets: Sequence[FloatArray]) -> float:
    """Return how much of the returns' variance the critic foresaw: 1 is all, 0 none, below 0 it misleads; 0 if there is none.

    Args:
        values: The critic's. Shape of each ``(T, 2)``.
        value_targets: What it is trained on. Shape of each ``(T, 2)``.
    """
    targets = np.concatenate(value_targets)[:, 0]
    spread = float(targets.var())
    return 1 - float((targets - np.concatenate(values)[:, 0]).var()) / spread if spread > 1e-12 else 0.0
