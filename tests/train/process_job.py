"""What one of several processes does in the tests of distributed training: ``python -m tests.train.process_job JOB RESULT``.

A job is a pickled function and its arguments; its result is pickled, one file per process.
"""

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_in_processes(count: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run a function in several processes that have joined, and return what each returned."""
    (folder / "job.pickle").write_bytes(pickle.dumps((function, arguments)))
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.process_job", str(folder / "job.pickle"), str(folder / f"result-{rank}.pickle")],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
        )
        for rank in range(count)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0] * count
    return [pickle.loads((folder / f"result-{rank}.pickle").read_bytes()) for rank in range(count)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(job: Path, result: Path) -> None:
    import torch

    from mise_gym.train.distributed import joined

    torch.set_num_threads(1)
    with joined(int(os.environ["WORLD_SIZE"])):
        function, arguments = pickle.loads(job.read_bytes())
        result.write_bytes(pickle.dumps(function(*arguments)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
