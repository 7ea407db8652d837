"""TrainingRun: the stages of a run in order, each of which is skipped when a former call has finished it.

games -> demonstrations -> warm start -> evaluation before -> PPO -> evaluation after -> pictures and summary
"""

import gc
import json
import logging
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from mise_gym.errors import CheckpointError, ConfigError
from mise_gym.extras import require
from mise_gym.llm.loading import load_model
from mise_gym.rewards.judges.self_evaluation import SelfEvaluation
from mise_gym.rewards.labels import SELF_EVALUATION
from mise_gym.train.checkpoint import check_folder, load_weights, save_model, whole_weights, write_file, write_folder
from mise_gym.train.config import REWARD_ARMS, TrainConfig
from mise_gym.train.demonstrations import demonstrate
from mise_gym.train.distributed import is_main, main_first, main_only, share, unshare, wait, world_size
from mise_gym.train.evaluate import Evaluation
from mise_gym.train.learning import Trainer
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.mirrors import mirrors_of
from mise_gym.train.model import build_tiny_model, train_tokenizer
from mise_gym.train.players import LocalPlayers, Players, RayPlayers
from mise_gym.train.plots import plot_reliability, plot_rewards, plot_success
from mise_gym.train.policy import LLMPolicy, Reader
from mise_gym.train.preparation import add_adapter, check_placement, make_policy, ready_for_the_warm_start, with_reference
from mise_gym.train.rollout import TextEnvironment, collect, draw_seeds
from mise_gym.train.server import IN_PROCESS
from mise_gym.train.sharding import whole
from mise_gym.train.tasks import task_set
from mise_gym.train.text import corpus
from mise_gym.train.warm_start import WarmStartConfig, warm_start
from mise_gym.train.writers import Writers, make_writers
from mise_gym.trajectories import read_episodes, write_episodes
from mise_gym.types import Episode

logger = logging.getLogger(__name__)

FREE_TO_CHANGE: Final = {
    "run_dir",
    "threads",
    "rollout_backend",
    "rollout_workers",
    "tensorboard",
    "wandb_project",
    "model_config.sharding",
}
"""Settings that another call on the same folder may choose anew: they change nothing that the run finds out."""
WARM_STREAM, EVALUATION_STREAM, TRAINING_STREAM = range(3)


class TrainingRun:
    """One run in one folder.

    Args:
        config: What to do.
        progress: Whether to show progress bars.

    Raises:
        ConfigError: The folder holds a run with other settings, or several processes share a run that cannot be shared.
        CheckpointError: The folder's list of settings is damaged.
        MissingExtraError: Matplotlib, which draws the pictures, is not installed, or peft, if an adapter is trained.
    """

    def __init__(self, config: TrainConfig, *, progress: bool = True) -> None:
        require("matplotlib")  # now, and not when the training is over
        check_placement(config)
        _check_processes(config)
        self.config = config
        self.arm = REWARD_ARMS[config.reward]
        self.tasks = task_set(config)
        self.folder = config.run_dir
        self.progress = progress and is_main()
        self.metrics = MetricsFile(self.folder / "metrics.jsonl", mirrors_of(config))
        with main_first():
            self.cost = self._open_folder()

    def run(self) -> dict[str, Any]:
        """Do what is left to do and return the summary, which is also in ``summary.json``; a finished run is only read."""
        if (self.folder / "summary.json").exists():
            return dict(_read_json(self.folder / "summary.json"))
        disable_progress_bar()
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        if self.config.deterministic:
            torch.use_deterministic_algorithms(True)
        with self._stage("games"), main_first():
            self.tasks.prepare(progress=self.progress)
        with self._stage("demonstrations"), main_first():
            episodes = self._demonstrations()
        with self._stage("warm_start"):
            policy = self._warm_started(episodes)
        reference = with_reference(policy, self.config)
        with closing(make_writers(self.config)) as writers:
            with self._stage("evaluation_before"):
                before = self._evaluate("before", policy, writers)
            with self._stage("ppo"):
                self._train(policy, reference, writers)
            with self._stage("evaluation_after"):
                after = self._evaluate("after", policy, writers)
        self.metrics.close()
        self._draw(before["sampled"], after["sampled"])
        return self._summarise(before, after)

    def _open_folder(self) -> dict[str, Any]:
        """Make the folder, or check that it is this run's, and return what the run has cost so far."""
        settings = self.folder / "config.json"
        wanted = json.loads(self.config.to_json())
        if settings.exists():
            there = _read_json(settings)
            changed = _differences(there, wanted)
            if changed:
                raise ConfigError(
                    f"The folder {str(self.folder)!r} holds a run with other settings ({', '.join(changed)}). "
                    "Choose another --run-dir, or delete that folder."
                )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(settings, self.config.to_json())
        cost = self.folder / "cost.json"
        return dict(_read_json(cost)) if cost.exists() else {"seconds": {}, "peak_memory_mb": 0.0}

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the stage's account, also when it is interrupted."""
        logger.info("Stage %s", name)
        start = perf_counter()
        try:
            yield
        finally:
            seconds = self.cost["seconds"]
            seconds[name] = seconds.get(name, 0.0) + perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            self.cost["peak_memory_mb"] = max(self.cost["peak_memory_mb"], peak)
            write_file(self.folder / "cost.json", json.dumps(self.cost))

    def _bar(self, title: str, total: int, **more: Any) -> Any:
        return tqdm(total=total, desc=title, disable=not self.progress, dynamic_ncols=True, **more)

    def _make_envs(self, episodes: int, *, labelled: bool = False) -> list[TextEnvironment]:
        """Make as many as this process's part of the episodes needs, and no more than its part of ``ppo.num_envs``."""
        count = min(len(share(range(episodes))), len(share(range(self.config.ppo.num_envs))))
        return [self.tasks.make_env(self.arm.reward_mode, labelled=labelled) for _ in range(max(1, count))]

    def _players(self, policy: LLMPolicy, writers: Writers) -> Players:
        config = self.config
        if config.rollout_backend == "in-process":
            return LocalPlayers(self._make_envs(config.ppo.episodes_per_iteration), policy, writers.begin)
        make = partial(self.tasks.make_env, self.arm.reward_mode)
        return RayPlayers(make, policy, writers.begin, workers=config.rollout_workers, num_envs=config.ppo.num_envs)

    def _demonstrations(self) -> list[Episode]:
        """Play, or read again, the episodes of the warm start: the expert's, and those with mistakes."""
        config = self.config.warm_start
        rng = np.random.default_rng([self.config.seed, WARM_STREAM])
        env = self.tasks.make_env(self.arm.reward_mode, labelled=True)
        games = self.tasks.options("train")
        episodes: list[Episode] = []
        for name, count, rate in (
            ("expert", config.expert_episodes, 0.0),
            ("judge", config.judge_episodes, config.max_mistake_rate),
        ):
            path = self.folder / f"demonstrations_{name}.jsonl.gz"
            tasks = [games[game] for game in rng.permutation(len(games))[:count]]
            part_rng = rng.spawn(1)[0]
            if not path.exists():
                with self._bar(f"{name} episodes", count) as bar:
                    made = demonstrate(
                        self.tasks.recorder_class,
                        env,
                        tasks,
                        part_rng,
                        max_mistake_rate=rate,
                        repeated_mistakes=config.repeated_mistakes,
                        on_episode=bar.update,
                    )
                write_episodes(path, made)
            episodes += read_episodes(path)
        env.close()
        return episodes

    def _warm_started(self, episodes: Sequence[Episode]) -> LLMPolicy:
        """Load the model that is prepared; prepare it first, if that has not been done."""
        folder = self.folder / "warm_start"
        is_there = folder.exists()
        wait()  # until every process has looked
        if is_there:
            check_folder(folder)
        else:
            self._make_warm_start(episodes, folder)
            gc.collect()  # a sharded model, and a learning-rate schedule, hold on to themselves and to the device's memory
            wait()
        policy = make_policy(*self._load(str(folder)), self.config)
        add_adapter(policy, self.config, folder)
        return policy

    def _make_warm_start(self, episodes: Sequence[Episode], folder: Path) -> None:
        self.metrics.rewind("warm_start", 0)
        with main_first():
            policy = make_policy(*self._fresh_model(episodes), self.config)
        with ready_for_the_warm_start(policy, self.config):
            self._prepare(policy, episodes)
        weights = whole_weights(policy)
        write_folder(folder, lambda aside: save_model(policy, aside, weights))

    def _fresh_model(self, episodes: Sequence[Episode]) -> tuple[Any, Any]:
        config = self.config
        if config.model is not None:
            return self._load(config.model)
        tokenizer = train_tokenizer(corpus(episodes), config.tiny.vocab_size)
        return build_tiny_model(tokenizer, config.tiny, config.seed, config.model_config.attention), tokenizer

    def _load(self, name: str) -> tuple[Any, Any]:
        config = self.config
        return load_model(
            name, config.model_config.stored_dtype(is_trained=not config.lora.is_used), config.model_config.attention
        )

    def _prepare(self, policy: LLMPolicy, episodes: Sequence[Episode]) -> None:
        config = self.config.warm_start
        rng = np.random.default_rng([self.config.seed, WARM_STREAM, 1])
        updates = self._warm_up("warm start", policy, episodes, rng, config)
        if config.own_episodes:
            own = self._own_episodes(policy)
            again = replace(config, epochs=config.own_epochs)
            is_for_all = config.own_teach == "everything"
            taught, judged = ([*episodes, *own], []) if is_for_all else (episodes, own)
            self._warm_up("warm start, second round", policy, taught, rng, again, updates, judged)

    def _warm_up(  # noqa: PLR0913  # what is taught to whom, and how it is shown
        self,
        title: str,
        policy: LLMPolicy,
        episodes: Sequence[Episode],
        rng: np.random.Generator,
        config: WarmStartConfig,
        before: int = 0,
        only_judged: Sequence[Episode] = (),
    ) -> int:
        """Do one round of supervised learning; return the number of its updates."""
        bar = self._bar(title, 0)

        def show(done: int, total: int, losses: dict[str, float]) -> None:
            bar.total = total
            bar.set_postfix({name.removeprefix("warm_start/"): f"{value:.3f}" for name, value in losses.items()}, refresh=False)
            bar.update()
            if done % 20 == 0 or done == total:
                self.metrics.append("warm_start", before + done, losses)

        with bar:
            return warm_start(policy, episodes, config, rng, show, only_judged)

    def _own_episodes(self, policy: LLMPolicy) -> list[Episode]:
        """Have the policy play training games, and the expert label its turns."""
        count = self.config.warm_start.own_episodes
        rng = np.random.default_rng([self.config.seed, WARM_STREAM, 2])
        games = self.tasks.options("train")
        tasks = share([games[game] for game in rng.permutation(len(games))[:count]])
        envs = self._make_envs(count, labelled=True)
        with closing(make_writers(self.config)) as writers, whole(policy):
            writers.sync(policy, 0)
            own = unshare(self._play("own episodes", envs, tasks, policy, share(draw_seeds(rng, count)), writers))
        for env in envs:
            env.close()
        self._write_episodes(self.folder / "demonstrations_own.jsonl.gz", own)
        return list(own)

    def _play(  # noqa: PLR0913  # who plays what, where and how
        self,
        title: str,
        envs: Sequence[TextEnvironment],
        tasks: Sequence[Mapping[str, Any]],
        policy: LLMPolicy,
        seeds: Sequence[int],
        writers: Writers,
        temperature: float = 1.0,
    ) -> list[Episode]:
        """Play this process's part of some tasks, with labels."""
        with self._bar(title, len(tasks)) as bar:
            return collect(
                envs,
                tasks,
                policy,
                seeds,
                temperature=temperature,
                begin=writers.begin,
                recorder_class=self.tasks.recorder_class,
                on_episode=bar.update,
            ).episodes

    def _evaluate(self, when: str, policy: LLMPolicy, writers: Writers) -> dict[str, Evaluation]:
        """Play the held-out games, sampled and greedily, or read what was played before."""
        heldout = self.config.games.heldout
        tasks = share(self.tasks.options("valid"))
        envs: list[TextEnvironment] = []
        evaluations = {}
        for decoding, temperature in (("sampled", 1.0), ("greedy", 0.0)):
            path = self.folder / f"heldout_{when}_{decoding}.jsonl.gz"
            if not path.exists():
                envs = envs or self._make_envs(heldout, labelled=True)
                writers.sync(policy, 0)
                seeds = share(draw_seeds(np.random.default_rng([self.config.seed, EVALUATION_STREAM]), heldout))
                title = f"held-out games {when}, {decoding}"
                with whole(policy):
                    episodes = self._play(title, envs, tasks, policy, seeds, writers, temperature)
                    said = policy.self_evaluate(episodes)
                self._write_episodes(path, unshare(_with_self_evaluation(episodes, said)))
                wait()
            evaluations[decoding] = Evaluation.of(list(read_episodes(path)))
        for env in envs:
            env.close()
        return evaluations

    def _train(self, policy: LLMPolicy, reference: Reader, writers: Writers) -> None:
        """Run PPO from the newest checkpoint to the end, and leave the last model, or the best one, in ``model/``."""
        folder = self.folder / "model"
        if folder.exists():
            check_folder(folder)
            load_weights(policy, folder)
            return
        players = self._players(policy, writers)
        seed = [self.config.seed, TRAINING_STREAM]
        trainer = Trainer(policy, reference, players, self.config, self.folder, self.metrics, seed, writers)
        with self._bar("PPO", trainer.iterations, initial=trainer.resume()) as bar:
            for postfix in trainer.iterate():
                bar.set_postfix(postfix, refresh=False)
                bar.update()
        players.close()
        trainer.validation.restore_best()
        weights = whole_weights(policy)
        write_folder(folder, lambda aside: save_model(policy, aside, weights))

    @main_only
    def _write_episodes(self, path: Path, episodes: Sequence[Episode]) -> None:
        write_episodes(path, episodes)

    @main_only
    def _draw(self, before: Evaluation, after: Evaluation) -> None:
        records, evaluations = ([r for r in self.metrics.read() if r["stage"] == stage] for stage in ("ppo", "evaluation"))
        plot_success(records, evaluations, before.summary()["success"], after.summary()["success"], self.folder / "success.png")
        plot_rewards(records, self.folder / "rewards.png")
        plot_reliability({"before": before, "after": after}, self.folder / "reliability.png")

    def _summarise(self, before: dict[str, Evaluation], after: dict[str, Evaluation]) -> dict[str, Any]:
        details = {
            when: {decoding: evaluation.summary() for decoding, evaluation in evaluations.items()}
            for when, evaluations in (("before", before), ("after", after))
        }
        first, last = details["before"]["sampled"], details["after"]["sampled"]
        summary = {
            "reward": self.config.reward,
            "seed": self.config.seed,
            "env": self.config.env,
            "heldout_games": self.config.games.heldout,
            "heldout_success_before": first["success"],
            "heldout_success_after": last["success"],
            "heldout_success_greedy_before": details["before"]["greedy"]["success"],
            "heldout_success_greedy_after": details["after"]["greedy"]["success"],
            "overconfidence_before": first["overconfidence"],
            "overconfidence_after": last["overconfidence"],
            "auroc_before": first["auroc"],
            "auroc_after": last["auroc"],
            "turn_auroc_before": first["turn_auroc"],
            "turn_auroc_after": last["turn_auroc"],
            "seconds": sum(self.cost["seconds"].values()),
            "stage_seconds": self.cost["seconds"],
            "peak_memory_mb": self.cost["peak_memory_mb"],
            "details": details,
        }
        write_file(self.folder / "summary.json", json.dumps(summary, indent=1))
        return summary


def _check_processes(config: TrainConfig) -> None:
    if world_size() > 1 and (config.rollout_backend == "ray" or config.generator != IN_PROCESS):
        raise ConfigError(
            f"{world_size()} processes share this run, and each of them plays and writes for itself. "
            "Leave out --rollout-backend and --generator, or the launcher."
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged ({error}). Choose another --run-dir, or delete the folder {str(path.parent)!r}."
        ) from error


def _with_self_evaluation(episodes: Sequence[Episode], said: Sequence[SelfEvaluation]) -> list[Episode]:
    records = [{"scores": each.scores.tolist(), "belief": each.belief} for each in said]
    return [replace(e, extra={**e.extra, SELF_EVALUATION: record}) for e, record in zip(episodes, records, strict=True)]


def _differences(there: Any, wanted: Any, name: str = "") -> list[str]:
    """Name the settings in which two configurations differ, but for those that are free to change."""
    if name in FREE_TO_CHANGE:
        return []
    if isinstance(there, dict) and isinstance(wanted, dict):
        return [
            found
            for key in sorted(there.keys() | wanted.keys())
            for found in _differences(there.get(key), wanted.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if there == wanted else [f"{name}: {there!r} there, {wanted!r} asked"]
