"""The PPO loop: collect -> judge -> update -> write down, from the newest checkpoint to the last iteration."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mise_gym.rewards.alarm import HackingAlarm
from mise_gym.rewards.base import Judge, RewardBreakdown
from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.rewards.judges.wrapped import FlippedJudge
from mise_gym.rewards.labels import with_labels
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.train.checkpoint import Checkpoints
from mise_gym.train.config import REWARD_ARMS, TrainConfig
from mise_gym.train.distributed import SharedJudge, main_only, share
from mise_gym.train.metrics import MetricsFile, rollout_metrics
from mise_gym.train.players import Players, Tasks, gathered
from mise_gym.train.policy import LLMPolicy, Reader
from mise_gym.train.ppo import PPOLearner
from mise_gym.train.rescoring import rescored
from mise_gym.train.rollout import Rollout, draw_seeds
from mise_gym.train.sharding import whole
from mise_gym.train.tasks import task_set
from mise_gym.train.validation import Validation
from mise_gym.train.writers import Writers, make_writers
from mise_gym.trajectories import write_episodes
from mise_gym.types import Episode

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a policy in place.

    Args:
        policy: The warm-started policy.
        reference: The policy as it is now, for good: ``reference_of(policy)``.
        players: Who plays the training games.
        config: The run's settings.
        folder: The run's folder; checkpoints and episodes go there.
        metrics: Where metrics go.
        seed: Seed sequence of everything drawn at random.
        writers: What writes the actions; ``None`` makes it from the settings.
    """

    def __init__(  # noqa: PLR0913  # the parts of a run, each used once
        self,
        policy: LLMPolicy,
        reference: Reader,
        players: Players,
        config: TrainConfig,
        folder: Path,
        metrics: MetricsFile,
        seed: Sequence[int],
        writers: Writers | None = None,
    ) -> None:
        arm = REWARD_ARMS[config.reward]
        judge: Judge = SharedJudge(SelfEvaluationJudge(policy))
        self.policy, self.players, self.config, self.folder, self.metrics = policy, players, config, folder, metrics
        self.writers = writers or make_writers(config)
        self.pipeline = RewardPipeline(
            FlippedJudge(judge) if arm.is_flipped else judge,
            arm.calibrator or config.calibrator,
            w_hindsight=config.w_hindsight if arm.judge != "measured" else 0.0,
        )
        tasks = task_set(config)
        self.games = tasks.options("train")
        """Options of ``reset`` of every training task."""
        self.alarm = HackingAlarm()
        self.learner = PPOLearner(policy, reference, config.ppo, judge=arm.judge)
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.rng = np.random.default_rng(seed)
        self.validation = Validation(config.evaluation, tasks.options("valid"), players, policy, folder / "best", seed)
        self.iterations = config.ppo.iterations if arm.trains_policy else 0
        """Iterations of the whole run."""
        self.done = 0
        """Those that are finished."""

    def resume(self) -> int:
        """Go back to the newest whole checkpoint, if there is one; return the number of iterations done.

        Raises:
            CheckpointError: There are checkpoints, and all are damaged.
        """
        newest = self.checkpoints.newest()
        if newest is not None:
            tensors, state = self.checkpoints.load(newest, self.policy)
            self.learner.load_state_dict(tensors["learner"])
            self.rng.bit_generator.state = state["rng"]
            self.pipeline.load_state_dict(state["pipeline"])
            self.alarm.load_state_dict(state["alarm"])
            self.done = state["iteration"]
        for stage in ("ppo", "evaluation"):
            self.metrics.rewind(stage, self.done)
        return self.done

    def iterate(self) -> Iterator[dict[str, str]]:
        """Do the iterations that are left, yielding after each what a progress bar shows."""
        while self.done < self.iterations:
            values = self._iteration()
            self.done += 1
            self.metrics.append("ppo", self.done, values)
            if self.validation.is_due(self.done):
                self.metrics.append("evaluation", self.done, self.validation.run(self.done))
            if self.done % self.config.checkpoint_every == 0 or self.done == self.iterations:
                self._save()
            yield _postfix(values)

    def _iteration(self) -> dict[str, float]:
        tasks = [self.games[game] for game in self._draw_games()]
        start = perf_counter()
        self.writers.sync(self.policy, self.done)
        with whole(self.policy):
            rollout = self._play(tasks)
            collected = perf_counter()
            rewards = self.pipeline.reward(rollout.episodes)
        self.pipeline.learn(rollout.episodes, rewards)
        judged = perf_counter()
        losses = self.learner.update(rollout, rewards, self.rng)
        seconds = {"collect": collected - start, "judge": judged - collected, "update": perf_counter() - judged}
        self._record(rollout.episodes, rewards)
        failed = float(sum(self.pipeline.failed.values()))
        times = {f"time/{name}_seconds": value for name, value in seconds.items()}
        times["time/simulator_seconds"] = rollout.simulator_seconds
        times["time/tokens_per_second"] = sum(len(trace.ids) for trace in rollout.traces) / sum(seconds.values())
        counts = {"judge/failed_episodes": failed, "rollout/lost_workers": float(self.players.lost_workers)}
        values = rollout_metrics(rollout.episodes, rewards) | counts | losses | times
        return values | {"judge/hacking_alarm": float(self._is_hacked(values))}

    def _play(self, tasks: Tasks) -> Rollout:
        played = self.players.play(share(tasks), share(draw_seeds(self.rng, len(tasks))))
        if self.config.old_logprobs == "learner":
            played = rescored(self.policy, played)
        return gathered(played)

    def _draw_games(self) -> Any:
        """Return the game of each episode, every one ``group_size`` times in a row."""
        ppo, count = self.config.ppo, len(self.games)
        games = self.rng.permutation(count)[np.arange(ppo.episodes_per_iteration // ppo.group_size) % count]
        return np.repeat(games, ppo.group_size)

    def _is_hacked(self, values: dict[str, float]) -> bool:
        rings = self.alarm.update(values["judge/score_mean"], values["rollout/success_rate"])
        if rings:
            logger.warning(
                "Iteration %d: scores climb (now %.2f) and success does not (%.2f). The policy may be pleasing its judge; "
                "look at the episodes of this iteration.",
                self.done + 1,
                values["judge/score_mean"],
                values["rollout/success_rate"],
            )
        return rings

    @main_only
    def _record(self, episodes: Sequence[Episode], rewards: Sequence[RewardBreakdown]) -> None:
        path = self.folder / "episodes" / f"iteration-{self.done + 1:05d}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        write_episodes(path, [with_labels(e, r) for e, r in zip(episodes, rewards, strict=True)])

    def _save(self) -> None:
        tensors = {"learner": self.learner.state_dict()}
        state = {"rng": self.rng.bit_generator.state, "pipeline": self.pipeline.state_dict(), "alarm": self.alarm.state_dict()}
        self.checkpoints.save(self.done, self.policy, tensors, state)


def _postfix(values: dict[str, float]) -> dict[str, str]:
    """Return what a progress bar shows of an iteration."""
    seconds = {name: values[f"time/{name}_seconds"] for name in ("collect", "judge", "update")}
    return {
        "success": f"{values['rollout/success_rate']:.2f}",
        "R": f"{values['reward/env_mean']:.2f}",
        "hindsight": f"{values['reward/hindsight_mean']:+.2f}",
        "overconf": f"{values['judge/overconfidence_failed']:+.2f}",
        "play/judge/train": "/".join(f"{100 * value / sum(seconds.values()):.0f}" for value in seconds.values()) + "%",
        "tok/s": f"{values['time/tokens_per_second']:.0f}",
    }
