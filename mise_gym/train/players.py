"""Who plays the episodes of a run: environments in this process, or worker processes that Ray keeps on one machine or many."""

import copy
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from mise_gym.errors import ConfigError, SimulatorCrashed
from mise_gym.extras import require
from mise_gym.train.decoding import TurnDecoder
from mise_gym.train.distributed import gather_objects, unshare
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.rollout import Rollout, TextEnvironment, collect
from mise_gym.train.trace import BeginWriting

logger = logging.getLogger(__name__)

Tasks = Sequence[Mapping[str, Any]]
MakeEnv = Callable[[], TextEnvironment]

MOST_LOSSES: Final = 3
"""So many lost workers per worker, during one call, are no accident."""
PATIENCE_SECONDS: Final = 60.0
"""After so long without a result a warning says so."""


class Players(Protocol):
    """Plays tasks with the policy as it is now. What comes out depends on tasks, seeds and policy, not on who plays."""

    lost_workers: int
    """Workers that died during the last call, and were replaced."""

    def play(self, tasks: Tasks, seeds: Sequence[int]) -> Rollout:
        """Play every task once, with its seed, and return the episodes in order."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class LocalPlayers:
    """Environments in this process.

    Args:
        envs: As many episodes are played at the same time.
        policy: Writes the actions.
        begin: Starts what writes them, as for ``collect``.
    """

    lost_workers = 0

    def __init__(self, envs: Sequence[TextEnvironment], policy: LLMPolicy, begin: BeginWriting = TurnDecoder) -> None:
        self.envs, self.policy, self.begin = envs, policy, begin

    def play(self, tasks: Tasks, seeds: Sequence[int]) -> Rollout:
        """Play every task once, with its seed, and return the episodes in order."""
        return collect(self.envs, tasks, self.policy, seeds, begin=self.begin)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


def gathered(rollout: Rollout) -> Rollout:
    """Put the rollouts of all processes together, each of which has played its ``share``; every process gets the whole."""
    seconds = sum(gather_objects(rollout.simulator_seconds))
    return Rollout(unshare(rollout.episodes), unshare(rollout.traces), seconds)


class RayPlayers:
    """Worker processes, each with environments and a copy of the policy on the CPU.

    Weights that are trained travel once per call. Tasks are handed out in groups, a worker at a time, so that a slow worker holds
    up its own group only. A worker that dies is replaced and its group is played by another; as every episode has a random
    stream of its own, the result is the same.

    Ray joins the cluster that ``RAY_ADDRESS`` or ``ray start`` on this machine names, and starts one on this machine otherwise.

    Args:
        make_env: Makes one environment; must be picklable.
        policy: Writes the actions; copied.
        begin: Starts what writes them, as for ``collect``; must be picklable.
        workers: How many processes; each needs one CPU of the cluster.
        num_envs: Environments of all workers together; each has at least one.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: The cluster has fewer CPUs than workers.
    """

    def __init__(
        self, make_env: MakeEnv, policy: LLMPolicy, begin: BeginWriting = TurnDecoder, *, workers: int, num_envs: int
    ) -> None:
        ray = require("ray")
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(include_dashboard=False, log_to_driver=False)
        _check_cpus(int(ray.cluster_resources().get("CPU", 0)), workers)
        self.policy = policy
        self.lost_workers = 0
        self._group = max(1, num_envs // workers)
        self._most_losses = MOST_LOSSES * workers
        self._start = ray.remote(num_cpus=1)(RolloutWorker).remote
        self._made_of = make_env, self._group, ray.put(copy.deepcopy(policy).to("cpu")), begin
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, int | None]] = {}
        for _ in range(workers):
            self._start_worker()

    def play(self, tasks: Tasks, seeds: Sequence[int]) -> Rollout:
        """Play every task once, with its seed, and return the episodes in order.

        Raises:
            SimulatorCrashed: Workers die again and again.
            MiseError: An environment raised it in a worker.
        """
        weights = require("ray").put(_trained(self.policy))
        starts = list(range(0, len(tasks), self._group))
        waiting, played = starts[::-1], dict[int, Rollout]()
        self.lost_workers = 0
        self._busy = {future: (worker, None) for future, (worker, _) in self._busy.items()}  # from a call that raised
        while len(played) < len(starts):
            while self._idle and waiting:
                worker, start = self._idle.pop(), waiting.pop()
                part = slice(start, start + self._group)
                self._busy[worker.play.remote(weights, tasks[part], seeds[part])] = worker, start
            group, result = self._next()
            if group is not None and result is None:
                waiting.append(group)
            elif group is not None and result is not None:
                played[group] = result
        parts = [played[start] for start in starts]
        return Rollout(
            [episode for part in parts for episode in part.episodes],
            [trace for part in parts for trace in part.traces],
            sum(part.simulator_seconds for part in parts),
        )

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        ray = require("ray")
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            ray.kill(worker)
        self._idle, self._busy = [], {}
        if self._is_ours:
            ray.shutdown()

    def _start_worker(self) -> None:
        worker = self._start(*self._made_of)
        self._busy[worker.ready.remote()] = worker, None

    def _next(self) -> tuple[int | None, Rollout | None]:
        """Wait for one worker; return the group that it had, if any, and the result, ``None`` if it died."""
        ray = require("ray")
        while not (done := ray.wait(list(self._busy), timeout=PATIENCE_SECONDS)[0]):
            logger.warning(
                "No worker has finished for %d seconds; %d are at work or starting.", PATIENCE_SECONDS, len(self._busy)
            )
        worker, start = self._busy.pop(done[0])
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            self._idle.append(worker)
            if start is None:
                return None, None
            raise error.cause from error
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            self._replace(error)
            return start, None
        self._idle.append(worker)
        return start, result

    def _replace(self, error: Exception) -> None:
        self.lost_workers += 1
        logger.warning("A rollout worker died and is replaced (%s).", str(error).splitlines()[0])
        if self.lost_workers > self._most_losses:
            raise SimulatorCrashed(
                f"{self.lost_workers} rollout workers died while one batch of episodes was played, the last with: {error}. "
                "Look at the logs of Ray (/tmp/ray/session_latest/logs); often memory is short: give fewer --rollout-workers."
            ) from error
        self._start_worker()


class RolloutWorker:
    """What runs in a worker process.

    Args:
        make_env: Makes one environment.
        num_envs: How many to make.
        policy: A copy of its own.
        begin: Starts what writes the actions.
    """

    def __init__(self, make_env: MakeEnv, num_envs: int, policy: LLMPolicy, begin: BeginWriting) -> None:
        torch.set_num_threads(1)
        self.make_env, self.num_envs, self.policy, self.begin = make_env, num_envs, policy, begin
        self.envs: list[TextEnvironment] = []

    def ready(self) -> None:
        """Return once the process is there."""

    def play(self, weights: Mapping[str, Tensor], tasks: Tasks, seeds: Sequence[int]) -> Rollout:
        """Take over the weights and play; environments are made the first time."""
        self.envs = self.envs or [self.make_env() for _ in range(self.num_envs)]
        self.policy.load_state_dict(dict(weights), strict=False)
        return collect(self.envs, tasks, self.policy, seeds, begin=self.begin)


def _trained(policy: LLMPolicy) -> dict[str, Tensor]:
    """Return the weights that training changes, on the CPU."""
    return {name: weights.detach().cpu() for name, weights in policy.named_parameters() if weights.requires_grad}


def _check_cpus(there: int, workers: int) -> None:
    if there < workers:
        raise ConfigError(
            f"{workers} rollout workers need a CPU each, and Ray's cluster has {there}. "
            "Give fewer --rollout-workers, or add machines with ray start."
        )
