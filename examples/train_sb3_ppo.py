"""Stable-Baselines3's PPO on TextWorld quests, with the environment's sparse reward and with MISE.

A quest takes a dozen commands through several rooms; how far one got is paid at the end, nothing before. Every seed has a game
of its own. The agent sees hashed words and chooses among the admissible commands by number; an index that stands for no
command is refused by the game. ``HindsightRewardCallback`` gives every turn the credit that hindsight finds in it. No model is
needed for the judges: one knows only rules of thumb (was the command understood, did something new come back, was a word of
the goal met); others are stand-ins for a model that understands the game, but not always: they see on which turns the quest went
on, and a half or a quarter of each score is noise; the oracle, without the noise, is a reference. The flipped judge says the
opposite of the one with a quarter noise.

All arms have the same settings but for the judge and, where it says so, calibration and what a score is credit for. Settings were
chosen on seeds 0 to 2, which the default leaves out.

    python examples/train_sb3_ppo.py --jobs 2   # 5 seeds, all rewards; resumes where it was stopped
    python examples/train_sb3_ppo.py --fast     # does it run? Half a minute
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from tqdm import tqdm

import mise_gym  # noqa: F401  # registers the mise/* ids
from mise_gym.ablation.intervals import t_interval
from mise_gym.envs.wrappers import AdmissibleIndexAction, HashedText
from mise_gym.extras import require
from mise_gym.integrations.sb3 import Credit, HindsightRewardCallback
from mise_gym.rewards import Calibrator, MISERewardWrapper, make_calibrator


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What may differ between agents."""

    judge: dict[str, Any]
    """Given to ``MISERewardWrapper``."""
    calibrator: str = "isotonic"
    credit: Credit = "turn"


def noisy(amount: float) -> dict[str, Any]:
    """Return the judge of whose scores this part is noise."""
    return {"judge": "noisy", "judge_kwargs": {"judge": "oracle", "amount": amount}}


FLIPPED = {"judge": "flipped", "judge_kwargs": noisy(0.25)}
RAW = "centred"  # 2s - 1: what the judge says is taken for true
ARMS = {
    "sparse": Arm(judge={"judge": "constant"}),
    "MISE, rules of thumb": Arm(judge={"judge": "heuristic"}),
    "MISE, half noise": Arm(judge=noisy(0.5)),
    "MISE, a quarter noise": Arm(judge=noisy(0.25)),
    "a quarter noise, as rewards": Arm(judge=noisy(0.25), credit="return"),
    "a quarter noise, uncalibrated": Arm(judge=noisy(0.25), calibrator=RAW),
    "MISE, flipped": Arm(judge=FLIPPED),
    "flipped, uncalibrated": Arm(judge=FLIPPED, calibrator=RAW),
    "MISE, oracle": Arm(judge={"judge": "oracle"}),
}
NUM_ENVS, N_STEPS, MAX_TURNS, W_HINDSIGHT = 8, 256, 40, 3.0
ROLLOUT = NUM_ENVS * N_STEPS
Array = NDArray[np.float64]


class OneGame(gym.Wrapper[str, str, str, str]):
    """Every episode plays the same game, given by its number."""

    def __init__(self, env: gym.Env[str, str], game: int) -> None:
        super().__init__(env)
        self.game = game

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the game again."""
        return self.env.reset(seed=seed, options={"game": self.game, **(options or {})})


class RoomAndNotes(gym.Wrapper[str, str, str, str]):
    """Shows the room that was last described and, once each, all other answers of the game so far."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode with no notes."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.room, self.notes = observation[observation.index("-=") :], dict[str, None]()
        return self.room, info

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Act."""
        observation, *rest = self.env.step(action)
        if "-=" in observation:  # the heading of a room
            self.room = observation[observation.index("-=") :]
        else:
            self.notes[observation] = None
        return "\n".join([self.room, *self.notes]), *rest


def make_env(arm: str, seed: int, calibrator: Calibrator) -> gym.Env[Any, Any]:
    """Return one environment that Stable-Baselines3 can read; those with one calibrator share what it learns."""
    env: gym.Env[Any, Any] = gym.make(
        "mise/TextWorld-v0", challenge="tw-simple", num_games=200, max_turns=MAX_TURNS, infos=("admissible_commands",)
    )
    env = MISERewardWrapper(
        OneGame(env, seed), **ARMS[arm].judge, calibrator=calibrator, w_hindsight=W_HINDSIGHT, delivery="info"
    )
    return HashedText(AdmissibleIndexAction(RoomAndNotes(env), max_actions=32), size=256)


class ProgressCurve(BaseCallback):
    """Remembers how far training episodes got, and in which rollout they ended."""

    def __init__(self, rollouts: int) -> None:
        super().__init__()
        self.progress: list[list[float]] = [[] for _ in range(rollouts)]

    def _on_step(self) -> bool:
        rollout = (self.num_timesteps - 1) // ROLLOUT
        infos = zip(self.locals["dones"], self.locals["infos"], strict=True)
        self.progress[rollout] += [float(info["progress"]) for done, info in infos if done]
        return True


def train(arm: str, seed: int, turns: int) -> list[float]:
    """Train one agent; return the mean final progress of the episodes that ended in each rollout. Length ``turns / ROLLOUT``."""
    torch.set_num_threads(1)
    calibrator = make_calibrator(ARMS[arm].calibrator)
    venv = make_vec_env(lambda: make_env(arm, seed, calibrator), n_envs=NUM_ENVS, seed=seed)
    settings = {"n_steps": N_STEPS, "batch_size": 256, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01}
    curve = ProgressCurve(turns // ROLLOUT)
    model = PPO("MlpPolicy", venv, seed=seed, device="cpu", **settings)
    model.learn(turns, callback=[curve, HindsightRewardCallback(ARMS[arm].credit)])
    venv.close()
    return [float(np.mean(progress)) for progress in curve.progress]


def train_missing(arms: Sequence[str], seeds: Sequence[int], turns: int, folder: Path, jobs: int) -> None:
    """Train every agent whose curve is not yet in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(arm, seed) for seed in seeds for arm in arms if not curve_file(folder, arm, seed, turns).exists()]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(train, arm, seed, turns): (arm, seed) for arm, seed in missing}
        for done in tqdm(as_completed(running), total=len(running), unit="agent", disable=None if running else True):
            arm, seed = running[done]
            curve_file(folder, arm, seed, turns).write_text(json.dumps(done.result()))
            tqdm.write(f"{arm}, seed {seed}: progress {np.mean(done.result()):.2f} in all of training")


def curve_file(folder: Path, arm: str, seed: int, turns: int) -> Path:
    """Return where the curve of one agent is kept."""
    return folder / f"{arm.replace(',', '').replace(' ', '-')}-seed{seed}-{turns}turns.json"


def turns_to(curve: Array, level: float) -> str:
    """Return after how many turns the mean over seeds first reaches ``level``. Shape ``(seeds, rollouts)``."""
    reached = np.flatnonzero(curve.mean(axis=0) >= level)
    return f"{(reached[0] + 1) * ROLLOUT:,}" if len(reached) else "never"


def table(curves: dict[str, Array]) -> str:
    """Return a table: progress over all of training (the area under the curve) and in its last fifth, and turns to get there.

    Means over seeds with 95 % intervals (Student's t). The last column compares whole trainings with those of the first reward.
    """
    level = curves[next(iter(curves))].mean(axis=0).max()
    lines = [f"{'reward':31}{'whole training':>18}{'last fifth':>18}{f'turns to {level:.2f}':>16}{'ahead, seed by seed':>22}"]
    for arm, curve in curves.items():
        parts = (curve, curve[:, -max(1, curve.shape[1] // 5) :])
        whole, last = (str(t_interval(part.mean(axis=1).tolist())) for part in parts)
        ahead = str(t_interval((curve - curves[next(iter(curves))]).mean(axis=1).tolist()))
        lines.append(f"{arm:31}{whole:>18}{last:>18}{turns_to(curve, level):>16}{ahead:>22}")
    return "\n".join(lines)


def plot(curves: dict[str, Array], path: Path) -> None:
    """Save the learning curves: mean over seeds with its 95 % interval."""
    figure = require("matplotlib.figure").Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for colour, (arm, curve) in enumerate(curves.items()):
        thousands = np.arange(1, curve.shape[1] + 1) * ROLLOUT / 1000
        if len(curve) > 1:
            low, high = np.array([(each.low, each.high) for each in map(t_interval, curve.T.tolist())]).T
            axes.fill_between(thousands, low, high, color=f"C{colour}", alpha=0.12, linewidth=0)
        axes.plot(thousands, curve.mean(axis=0), color=f"C{colour}", linewidth=2, label=arm)
    axes.set(xlabel="thousand turns", ylabel="final progress of training episodes", ylim=(0, None))
    figure.legend(loc="outside right center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> dict[str, Array]:
    """Train every arm with every seed, print the table, save the plot; return arm -> progress, ``(seeds, rollouts)``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="1 seed and one rollout")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=list(range(3, 8)), help="seeds, also numbers of games (default: 3 to 7)"
    )
    parser.add_argument("--turns", type=int, default=10 * ROLLOUT, help="turns per agent (default: %(default)s)")
    parser.add_argument(
        "--arms",
        nargs="+",
        choices=list(ARMS),
        default=list(ARMS),
        help="rewards, the first of which the others are compared with (default: all)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="agents trained at a time, one core each (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/sb3"), help="folder of results per seed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("train_sb3_ppo.png"), help="picture to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.fast:
        options.seeds, options.turns = options.seeds[:1], ROLLOUT
    turns = max(1, options.turns // ROLLOUT) * ROLLOUT  # whole rollouts
    train_missing(options.arms, options.seeds, turns, options.runs, options.jobs)
    curves = {
        arm: np.array([json.loads(curve_file(options.runs, arm, seed, turns).read_text()) for seed in options.seeds])
        for arm in options.arms
    }
    print(table(curves))
    plot(curves, options.out)
    print(f"The learning curves are in {options.out}, their numbers in {options.runs}.")
    return curves


if __name__ == "__main__":
    main()
