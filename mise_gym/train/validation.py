"""Validation: plays valid games between iterations and keeps the model that played best."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mise_gym.train.checkpoint import check_folder, load_weights, save_model, whole_weights, write_folder
from mise_gym.train.config import EvaluationConfig
from mise_gym.train.distributed import share, wait
from mise_gym.train.players import Players, gathered
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import draw_seeds
from mise_gym.train.sharding import whole

_RESULT: Final = "evaluation.json"


class Validation:
    """The evaluations of one training run.

    Its random numbers depend on the seed and the iteration only: evaluating changes nothing in the training, and an iteration
    that is done again after a crash is evaluated the same.

    Args:
        config: How often, and how many games.
        tasks: Options of ``reset`` of the valid games; the first ones are played.
        players: Who plays; their environments also have the valid split.
        policy: What they play with.
        folder: Where the best model is kept, as transformers loads it.
        seed: Seed sequence of the sampled actions.
    """

    def __init__(  # the parts of a run, each used once
        self,
        config: EvaluationConfig,
        tasks: Sequence[Mapping[str, Any]],
        players: Players,
        policy: LLMPolicy,
        folder: Path,
        seed: Sequence[int],
    ) -> None:
        self.config, self.players, self.policy, self.folder, self.seed = config, players, policy, folder, list(seed)
        self.tasks = tasks[: config.episodes]

    def is_due(self, iteration: int) -> bool:
        """Return whether there is an evaluation after this iteration."""
        return bool(self.config.every) and iteration % self.config.every == 0

    def run(self, iteration: int) -> dict[str, float]:
        """Play, keep the model if it has won more games than any before, and return the ``evaluation/*`` metrics."""
        seeds = draw_seeds(np.random.default_rng([*self.seed, iteration]), len(self.tasks))
        with whole(self.policy):
            played = self.players.play(share(self.tasks), share(seeds))
        episodes = gathered(played).episodes
        result = {
            "evaluation/success_rate": float(np.mean([episode.success for episode in episodes])),
            "evaluation/progress_mean": float(np.mean([episode.progress for episode in episodes])),
            "evaluation/turns_mean": float(np.mean([len(episode) for episode in episodes])),
        }
        best = self.best()
        wait()  # until every process has read what is about to be replaced
        if best is None or _merit(result) > _merit(best):
            self._keep({"iteration": iteration, **result})
        wait()
        return result

    def best(self) -> dict[str, float] | None:
        """Return the metrics and the iteration of the model that is kept; ``None`` before the first evaluation.

        Raises:
            CheckpointError: It is damaged.
        """
        if not self.folder.exists():
            return None
        check_folder(self.folder)
        return dict(json.loads((self.folder / _RESULT).read_text(encoding="utf-8")))

    def restore_best(self) -> None:
        """Put the weights of the model that is kept into the policy; do nothing before the first evaluation."""
        if self.best() is not None:
            load_weights(self.policy, self.folder)

    def _keep(self, result: dict[str, float]) -> None:
        weights = whole_weights(self.policy)

        def fill(folder: Path) -> None:
            save_model(self.policy, folder, weights)
            (folder / _RESULT).write_text(json.dumps(result), encoding="utf-8")

        write_folder(self.folder, fill)


def _merit(result: dict[str, float]) -> tuple[float, float]:
    return result["evaluation/success_rate"], result["evaluation/progress_mean"]
