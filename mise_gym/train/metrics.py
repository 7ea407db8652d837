"""Every number that a run writes: its name, its meaning, and the file it goes to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from mise_gym.rewards.base import RewardBreakdown
from mise_gym.rewards.labels import belief_of
from mise_gym.train.distributed import main_only
from mise_gym.train.text import WRITTEN
from mise_gym.types import Episode

GLOSSARY: Final = {
    "rollout/success_rate": "Share of training episodes that reached full progress.",
    "rollout/progress_mean": "Mean final progress R of training episodes.",
    "rollout/turns_mean": "Mean number of turns of training episodes.",
    "rollout/truncated_rate": "Share of training episodes cut by the turn limit.",
    "rollout/lost_workers": "Rollout workers that died in this iteration; others played their episodes.",
    "rollout/valid_action_rate": "Share of turns whose action the environment understood.",
    "rollout/malformed_rate": "Share of turns in whose text no command was found; 0 where actions are chosen among commands.",
    "reward/env_mean": "Mean over episodes of the summed environment reward.",
    "reward/hindsight_mean": "Mean over episodes of the summed, weighted hindsight reward w_hindsight * c(s_t).",
    "reward/total_mean": "Mean over episodes of the summed reward that the learner got.",
    "judge/score_mean": "Mean over training episodes of the mean score of their turns.",
    "judge/belief_mean": "Mean self-evaluated belief in success over training episodes.",
    "judge/overconfidence": "Mean belief minus mean outcome over training episodes.",
    "judge/overconfidence_failed": "The same over failed training episodes; 0 when none failed.",
    "judge/failed_episodes": "Episodes so far that the judge could not score.",
    "judge/drift_mean": "Mean score minus that of the frozen judge, the warm start, on the same turns.",
    "judge/drift_rms": "Root mean squared difference between the two.",
    "judge/hacking_alarm": "1 while, over 10 iterations, scores climb above the success rate and success does not; else 0.",
    "train/policy_loss": "PPO's clipped surrogate.",
    "train/value_loss": "Half the squared error of the critic; not trained with a group baseline.",
    "train/explained_variance": "Share of the variance of returns that the critic foresaw: 1 all, 0 none, below 0 it misleads.",
    "train/entropy": "Entropy of the policy over the allowed tokens, in nats.",
    "train/reference_kl": "KL(policy || warm start) over the allowed tokens, in nats, as ppo.kl_estimator finds it.",
    "train/kl_coef": "Weight of that KL after this iteration; moves only with ppo.reference_kl_target.",
    "train/calibration_reward": "r^C by ppo.calibration_score, mean over episodes; trained only in arms that train the judge.",
    "train/anchor_kl": "KL(score || warm start's score) at the slots of turns, in nats.",
    "train/clip_fraction": "Share of decisions whose probability ratio left the clip range.",
    "train/approx_kl": "Estimate of KL(old policy || policy), in nats (Schulman's k3).",
    "train/gradient_norm": "Norm of the gradient before clipping.",
    "train/learning_rate": "Of the language model in this iteration.",
    "train/reward_scale": "What rewards were divided by.",
    "train/updates": "Optimiser steps in this iteration.",
    "time/collect_seconds": "Playing episodes.",
    "time/simulator_seconds": "The part of it spent in the environments, in resets and steps; summed over processes.",
    "time/judge_seconds": "Judging them and mixing rewards.",
    "time/update_seconds": "Training on them.",
    "time/tokens_per_second": "Tokens of the iteration's episodes per second of playing, judging and training together.",
    "evaluation/success_rate": "Share of the valid games that were won, with sampled actions.",
    "evaluation/progress_mean": "Mean final progress R of the valid games.",
    "evaluation/turns_mean": "Mean number of turns of the valid games.",
    "warm_start/act_loss": "Cross-entropy of the expert's action tokens, in nats.",
    "warm_start/judge_loss": "Binary cross-entropy of the good/bad labels, in nats.",
    "warm_start/text_loss": "Cross-entropy of all other tokens, in nats.",
}
"""Metric -> meaning. ``docs/reference/metrics.md`` is made from this table."""


class MetricsMirror(Protocol):
    """What gets every record that a run writes, beside its file."""

    def append(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Take one record; as in ``MetricsFile.append``."""
        ...

    def rewind(self, stage: str, last_step: int) -> None:
        """Forget a stage's records after ``last_step``, as far as that is possible there."""
        ...

    def close(self) -> None:
        """Send what is still on its way."""
        ...


class MetricsFile:
    """Appends one JSON object per record to a file; of several processes only the main one writes.

    Args:
        path: The ``.jsonl`` file; made if it does not exist.
        mirrors: Who else gets the records.
    """

    def __init__(self, path: Path, mirrors: Sequence[MetricsMirror] = ()) -> None:
        self.path = path
        self.mirrors = mirrors

    @main_only
    def rewind(self, stage: str, last_step: int) -> None:
        """Forget a stage's records after ``last_step``, and a line torn by a crash, so that a resumed run writes them once."""
        kept = [r for r in self.read() if r["stage"] != stage or r["step"] <= last_step]
        aside = self.path.with_suffix(".writing")
        aside.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        aside.replace(self.path)
        for mirror in self.mirrors:
            mirror.rewind(stage, last_step)

    @main_only
    def append(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Write one record.

        Args:
            stage: Which part of the run: "warm_start", "ppo" or "evaluation".
            step: Updates or iterations done.
            values: Metrics; every name must be in ``GLOSSARY``.
        """
        unknown = values.keys() - GLOSSARY.keys()
        assert not unknown, f"metrics without a meaning: {unknown}"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")
        for mirror in self.mirrors:
            mirror.append(stage, step, values)

    def close(self) -> None:
        """Close the mirrors."""
        for mirror in self.mirrors:
            mirror.close()

    def read(self) -> list[dict[str, Any]]:
        """Return all whole records."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]


def rollout_metrics(episodes: Sequence[Episode], rewards: Sequence[RewardBreakdown]) -> dict[str, float]:
    """Return the rollout, reward and judge metrics of an iteration; see ``GLOSSARY``."""
    turns = [turn for episode in episodes for turn in episode.transitions]
    written = [turn for episode in episodes for turn in episode.extra.get(WRITTEN, ())]
    success = np.array([episode.success for episode in episodes])
    outcomes = np.array([episode.progress for episode in episodes])
    judged = np.array([reward.scores is not None for reward in rewards])
    scores = np.array([np.mean(reward.scores) if reward.scores else 0.0 for reward in rewards])
    beliefs = np.array([belief_of(reward) or 0.0 for reward in rewards])
    env = np.array([sum(reward.env_rewards) for reward in rewards])
    total = np.array([sum(reward.step_rewards) for reward in rewards])

    def gap(where: Any) -> float:
        return float((beliefs - outcomes)[where].mean()) if where.any() else 0.0

    return {
        "rollout/success_rate": float(success.mean()),
        "rollout/progress_mean": float(outcomes.mean()),
        "rollout/turns_mean": float(np.mean([len(episode) for episode in episodes])),
        "rollout/truncated_rate": float(np.mean([episode.truncated for episode in episodes])),
        "rollout/valid_action_rate": float(np.mean([turn.valid_action for turn in turns])),
        "rollout/malformed_rate": sum(turn["is_malformed"] for turn in written) / len(turns),
        "reward/env_mean": float(env.mean()),
        "reward/hindsight_mean": float((total - env).mean()),
        "reward/total_mean": float(total.mean()),
        "judge/score_mean": float(scores[judged].mean()) if judged.any() else 0.0,
        "judge/belief_mean": float(beliefs[judged].mean()) if judged.any() else 0.0,
        "judge/overconfidence": gap(judged),
        "judge/overconfidence_failed": gap(judged & ~success),
    }
