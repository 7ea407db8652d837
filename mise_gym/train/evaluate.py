"""How well a policy plays, and how well it knows how well it played."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mise_gym.rewards import metrics
from mise_gym.rewards.labels import SELF_EVALUATION
from mise_gym.train.demonstrations import GOOD_TURNS
from mise_gym.types import Episode


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Episodes on held-out tasks, with what the policy says about them in hindsight."""

    episodes: Sequence[Episode]
    scores: Sequence[NDArray[np.float64]]
    """Of the turns; one array of shape ``(T,)`` per episode."""
    beliefs: NDArray[np.float64]
    """How far each task was done, as the policy believes. Shape ``(E,)``."""

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "Evaluation":
        """Take the self-evaluation from ``extra`` of episodes that have one."""
        said = [episode.extra[SELF_EVALUATION] for episode in episodes]
        return cls(episodes, [np.array(each["scores"]) for each in said], np.array([each["belief"] for each in said]))

    @property
    def outcomes(self) -> NDArray[np.float64]:
        """Final progress R of each episode. Shape ``(E,)``."""
        return np.array([episode.progress for episode in self.episodes])

    def summary(self) -> dict[str, Any]:
        """Return the figures of merit; ``None`` where a figure is not defined (no failures, say).

        ``overconfidence`` is the mean belief minus the mean outcome over failed episodes. The ``turn_*`` figures compare the
        score of each turn with the simulator's own verdict on that turn, which reinforcement learning never sees.
        """
        beliefs, outcomes = self.beliefs, self.outcomes
        success = np.array([episode.success for episode in self.episodes])
        scores = np.concatenate(self.scores)
        good = np.concatenate([np.array(episode.extra[GOOD_TURNS]) for episode in self.episodes])
        failed = np.concatenate([np.full(len(episode), not episode.success) for episode in self.episodes])
        return {
            "success": float(success.mean()),
            "progress": float(outcomes.mean()),
            "episodes": len(self.episodes),
            "turns": float(np.mean([len(episode) for episode in self.episodes])),
            "overconfidence": _gap(beliefs[~success], outcomes[~success]),
            "overconfidence_all": _gap(beliefs, outcomes),
            "auroc": metrics.auroc(beliefs, success),
            "brier": metrics.brier(beliefs, outcomes),
            "ece": metrics.ece(beliefs, outcomes),
            "mutual_information_bits": metrics.mutual_information_bits(beliefs, outcomes),
            "turn_overconfidence": _gap(scores[failed], good[failed]),
            "turn_auroc": self._turn_auroc(),
        }

    def _turn_auroc(self) -> float | None:
        """Return how well scores tell good turns from bad ones of the same episode, the mean over episodes that have both.

        That is credit per turn: a judge that gives all turns of an episode its outcome has 0.5 here. Over all turns together it
        would look better, as episodes that go well have more good turns.
        """
        labels = [np.array(episode.extra[GOOD_TURNS]) == 1 for episode in self.episodes]
        areas = [metrics.auroc(score, label) for score, label in zip(self.scores, labels, strict=True)]
        known = [area for area in areas if area is not None]
        return float(np.mean(known)) if known else None


def _gap(beliefs: NDArray[np.float64], truths: NDArray[Any]) -> float | None:
    return metrics.overconfidence(beliefs, truths) if len(beliefs) else None
