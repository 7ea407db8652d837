"""Running a suite: a process per run, so many at a time, warm starts first; runs that are finished are only read."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
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
    with _stopping_what_runs() as running:
        while waiting or running:
            for job in _ready(waiting, [worker.job for worker in running])[: jobs - len(running)]:
                waiting.remove(job)
                running.append(_Worker(job))
            ended = connection.wait([worker.process.sentinel for worker in running], timeout=_LOOK_SECONDS)
            states |= {worker.job.config.run_dir: read_state(worker.job) for worker in running}
            on_look(list(states.values()))
            for worker in [worker for worker in running if worker.process.sentinel in ended]:
                running.remove(worker)
                worker.finish()


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


class _Worker:
    """The process of a run, and the line on which it says what went wrong."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.job = job
        self._line, other_end = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(job, other_end))
        self.process.start()
        other_end.close()

    def finish(self) -> None:
        """Take note of a process that has ended.

        Raises:
            MiseError: It failed, or it was killed.
        """
        self.process.join()
        with suppress(EOFError):
            raise MiseError(self._line.recv())
        if self.process.exitcode:
            raise MiseError(
                f"The process of the run {str(self.job.config.run_dir)!r} ended with the status {self.process.exitcode}; -9 may "
                "be want of memory. Give a smaller --jobs and run the same command again; what was finished is kept."
            )


@contextmanager
def _stopping_what_runs() -> Iterator[list[_Worker]]:
    """Hold the runs that are going on; on the way out after an error, stop them."""
    running: list[_Worker] = []
    try:
        yield running
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.process.join()


def _end_with_the_suite() -> None:
    """End this process when the one that started it has ended, however that came about."""
    suite = multiprocessing.parent_process()
    if suite is not None:
        suite.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _work(job: Job, line: Connection) -> None:
    """Do a run; leave Ctrl-C to the process that started this one, and let bars do without a lock that outlives this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_suite, daemon=True).start()
    require("tqdm").tqdm.set_lock(threading.RLock())
    try:
        do_job(job)
    except (MiseError, OSError) as error:
        line.send(str(error))
