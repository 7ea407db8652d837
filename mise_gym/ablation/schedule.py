"""Running a suite: a process per run, so many at a time, warm starts first; runs that are finished are only read."""

import multiprocessing
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mise_gym.ablation.results import RunState, read_state
from mise_gym.ablation.suite import SHARED_ARM, Job, Suite
from mise_gym.errors import MiseError
from mise_gym.extras import require
from mise_gym.train.config import TrainConfig
from mise_gym.train.metrics import MetricsFile
from mise_gym.train.run import TrainingRun

SHARED_FILES: Final = ("demonstrations_*.jsonl.gz", "heldout_before_*.jsonl.gz", "warm_start")
"""What the arms of a seed have in common, which is all that comes before reinforcement learning."""
_LOOK_SECONDS: Final = 2.0


def run_suite(suite: Suite, *, jobs: int, on_look: Callable[[Sequence[RunState]], None]) -> None:
    """Do the runs of a suite that are not finished.

    Args:
        suite: What to run.
        jobs: Runs at a time.
        on_look: Called every few seconds with how far all runs have come.

    Raises:
        MiseError: A run failed, or its process died. Runs that were going on are stopped; a second call goes on from there.
    """
    states = {job.config.run_dir: read_state(job) for job in suite.jobs()}
    waiting = [state.job for state in states.values() if state.summary is None]
    running: dict[Future[None], Job] = {}
    with _pool(jobs) as pool:
        while waiting or running:
            for job in _ready(waiting, list(running.values()))[: jobs - len(running)]:
                waiting.remove(job)
                running[pool.submit(do_job, job)] = job
            done, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            states |= {job.config.run_dir: read_state(job) for job in running.values()}
            on_look(list(states.values()))
            for future in done:
                _finish(future, running.pop(future))


def do_job(job: Job) -> None:
    """Do one run, from the warm start that its seed has in common."""
    if job.arm != SHARED_ARM:
        share_warm_start(job.config.run_dir.with_name(SHARED_ARM), job.config)
    TrainingRun(job.config, progress=False).run()


def share_warm_start(source: Path, config: TrainConfig) -> None:
    """Give a run the demonstrations, the prepared model and the evaluation before training of another run.

    What the run has already is left as it is. Its settings are checked before anything is written.

    Args:
        source: Folder of a run with the same settings but the reward, that is past its warm start.
        config: Settings of the run.
    """
    metrics = TrainingRun(config, progress=False).metrics
    for path in sorted(path for pattern in SHARED_FILES for path in source.glob(pattern)):
        target = config.run_dir / path.name
        if not target.exists():
            aside = target.with_name(f".{target.name}.copying")
            shutil.rmtree(aside, ignore_errors=True)
            aside.unlink(missing_ok=True)
            shutil.copytree(path, aside) if path.is_dir() else shutil.copyfile(path, aside)
            aside.rename(target)
    if not metrics.read():
        for record in MetricsFile(source / "metrics.jsonl").read():
            values = {name: value for name, value in record.items() if name not in ("stage", "step")}
            metrics.append(record["stage"], record["step"], values)


def _ready(waiting: Sequence[Job], running: Sequence[Job]) -> list[Job]:
    """Return the jobs that can start now: their warm start is neither waiting nor running."""
    pending = {(job.environment, job.seed) for job in (*waiting, *running) if job.arm == SHARED_ARM}
    return [job for job in waiting if job.arm == SHARED_ARM or (job.environment, job.seed) not in pending]


def _finish(future: Future[None], job: Job) -> None:
    try:
        future.result()
    except BrokenProcessPool as error:
        raise MiseError(
            f"The process of the run {str(job.config.run_dir)!r}, or of one beside it, was killed, perhaps for want of memory. "
            "Give a smaller --jobs and run the same command again; what was finished is kept."
        ) from error


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Open processes for so many runs at a time, each for one run; on the way out after an error, stop them."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1, initializer=_quiet)
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _quiet() -> None:
    """Leave Ctrl-C to the process that started this one, and let bars do without a lock that outlives a killed process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    require("tqdm").tqdm.set_lock(threading.RLock())
