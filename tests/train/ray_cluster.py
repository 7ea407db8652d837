"""What the tests of Ray's workers look at, done in a process of its own: Ray lives in its process for good.

``python -m tests.train.ray_cluster JOB RESULT`` plays on a cluster of two nodes, both on this machine, and kills one of the
workers.
"""

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

from mise_gym.errors import ConfigError
from tests.train.pantry import Pantry

ON_THE_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""The first is Ray's own way to keep all its ports on 127.0.0.1."""
NODE = {
    "num_cpus": 1,
    "node_ip_address": "127.0.0.1",
    "object_store_memory": 80_000_000,
    "include_dashboard": False,
}


class DeadlyPantry(Pantry):
    """Kills its process when the file is there, and renames it first: this happens once. Refuses the game -1."""

    def __init__(self, fuse: Path) -> None:
        super().__init__()
        self.fuse = fuse

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if options == {"game": -1}:
            raise ConfigError("No pantry today.")
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> Any:
        try:
            self.fuse.rename(self.fuse.with_suffix(f".{os.getpid()}"))
        except FileNotFoundError:
            return super().step(action)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def play_on_two_nodes(policy: Any, folder: Path, tasks: list[dict[str, int]], seeds: list[int]) -> dict[str, Any]:
    from functools import partial

    import torch

    from mise_gym.train.players import RayPlayers
    from mise_gym.train.run import TrainingRun
    from tests.train.tiny_run import tiny_run

    fuse, seen = folder / "fuse", {}
    players = RayPlayers(partial(DeadlyPantry, fuse), policy, workers=2, num_envs=4)
    seen["whole"] = players.play(tasks, seeds), players.lost_workers
    fuse.touch()
    seen["bereft"] = players.play(tasks, seeds), players.lost_workers
    with torch.no_grad():
        for weights in policy.parameters():
            weights.mul_(1.5)
    seen["retrained"] = players.play(tasks, seeds), players.lost_workers
    try:
        players.play([{"game": -1}, *tasks], [0, *seeds])
    except ConfigError as error:
        seen["refusal"] = str(error)
    seen["after the refusal"] = players.play(tasks, seeds), players.lost_workers
    players.close()
    try:
        RayPlayers(Pantry, policy, workers=5, num_envs=5)
    except ConfigError as error:
        seen["too many"] = str(error)
    run = TrainingRun(tiny_run(folder / "run", iterations=1, rollout_backend="ray", rollout_workers=1), progress=False)
    run.run()
    return seen


def main(job: Path, result: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**{name: value for name, value in NODE.items() if name != "include_dashboard"})
        ray.init(address=cluster.address, log_to_driver=False)
        result.write_bytes(pickle.dumps(play_on_two_nodes(*pickle.loads(job.read_bytes()))))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
