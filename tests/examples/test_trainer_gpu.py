"""The benchmark for GPUs runs on a CPU, so that it is ready when there is one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.integration
def test_the_benchmark_of_the_trainer_on_gpus_runs_on_a_cpu() -> None:
    words = ["examples/benchmarks/trainer_gpu.py", "--shape", "tiny", "--device", "cpu", "--fast"]

    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"tiny on cpu: 2 episodes of up to 3 turns", done.stdout)
    assert re.search(r"update: [\d.e-]+ TFLOP, [\d.e-]+ TFLOP/s, MFU [\d.]+%", done.stdout)
    assert re.search(r"ratios: play [\d.]+, update [\d.]+, episodes/hour [\d.]+", done.stdout)
