"""Stable-Baselines3's PPO on a TextWorld quest, with the environment's sparse reward and with MISE.

The quest takes twelve commands through several rooms; the game counts how far one gets, and that share is paid at the end,
nothing before. The agent sees hashed words and chooses among the admissible commands by number. The callback
``HindsightRewardCallback`` puts the calibrated scores of the judge where they belong in PPO's rollouts. No model has to be
downloaded: the judge is a stand-in for one that understands the game, but not well. It sees on which turns the quest went on,
and half of each score is noise. The third arm has the judge that is only rules of thumb.

    python examples/train_sb3_ppo.py            # 5 seeds, three rewards, about half an hour on one core
    python examples/train_sb3_ppo.py --fast     # does it run? A minute
"""

import argparse
import json
from collections.abc import Sequence
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
from mise_gym.envs.wrappers import AdmissibleIndexAction, HashedText
from mise_gym.extras import require
from mise_gym.integrations.sb3 import HindsightRewardCallback
from mise_gym.rewards import Calibrator, MISERewardWrapper, make_calibrator

ARMS = {  # name -> judge, its arguments, w_hindsight
    "sparse": ("constant", {}, 0.0),
    "MISE": ("noisy", {"judge": "oracle", "amount": 0.5}, 0.1),
    "MISE-heuristic": ("heuristic", {}, 0.1),
}
NUM_ENVS, N_STEPS, MAX_TURNS = 8, 256, 40
Array = NDArray[np.float64]


def make_env(arm: str, calibrator: Calibrator) -> gym.Env[Any, Any]:
    """Return one environment that Stable-Baselines3 can read; those with one calibrator share what it learns."""
    judge, judge_kwargs, w_hindsight = ARMS[arm]
    env: gym.Env[Any, Any] = gym.make(
        "mise/TextWorld-v0",
        num_games=1,
        max_turns=MAX_TURNS,
        infos=("admissible_commands",),
    )
    env = MISERewardWrapper(
        env, judge=judge, judge_kwargs=judge_kwargs, calibrator=calibrator, w_hindsight=w_hindsight, delivery="info"
    )
    return HashedText(AdmissibleIndexAction(env, max_actions=32), size=256)


class ProgressCurve(BaseCallback):
    """Remembers how far training episodes got, and when they ended.

    Args:
        bar: Progress bar, moved by the turns.
    """

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar = bar
        self.ended: list[tuple[int, float]] = []
        """(turns in all environments so far, final progress) of every episode."""

    def _on_step(self) -> bool:
        self.bar.update(self.training_env.num_envs)
        infos = zip(self.locals["dones"], self.locals["infos"], strict=True)
        self.ended += [(self.num_timesteps, float(info["progress"])) for done, info in infos if done]
        return True


def train(arm: str, seed: int, turns: int, bar: Any) -> Array:
    """Train one agent; return the mean final progress of the episodes in every rollout. Shape ``(rollouts,)``."""
    calibrator = make_calibrator("outcome")
    venv = make_vec_env(lambda: make_env(arm, calibrator), n_envs=NUM_ENVS, seed=seed)
    model = PPO("MlpPolicy", venv, n_steps=N_STEPS, batch_size=256, ent_coef=0.01, learning_rate=1e-3, seed=seed, device="cpu")
    curve = ProgressCurve(bar)
    model.learn(turns, callback=[curve, HindsightRewardCallback()])
    venv.close()
    ends, progress = np.array(curve.ended).T
    rollout = (ends.astype(int) - 1) // (NUM_ENVS * N_STEPS)
    return np.bincount(rollout, weights=progress) / np.maximum(np.bincount(rollout), 1)


def run_seeds(arm: str, seeds: int, turns: int, bar: Any) -> Array:
    """Train one agent per seed. Returns mean progress, shape ``(seeds, rollouts)``."""
    curves = []
    for seed in range(seeds):
        curves.append(train(arm, seed, turns, bar))
        tqdm.write(f"{arm}, seed {seed}: progress {curves[-1].mean():.2f} in all of training, {curves[-1][-1]:.2f} at the end")
    return np.array(curves)


def interval(values: Array) -> tuple[float, float, float]:
    """Return the mean over seeds and its 95 % bootstrap interval. Shape ``(seeds,)``."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def table(curves: dict[str, Array]) -> str:
    """Return a table: progress over all of training (the area under the curve) and in its last fifth."""
    lines = [f"{'reward':16}{'whole training':>24}{'last fifth':>24}"]
    for arm, curve in curves.items():
        last = max(1, curve.shape[1] // 5)
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*interval(part.mean(axis=1))) for part in (curve, curve[:, -last:])]
        lines.append(f"{arm:16}{cells[0]:>24}{cells[1]:>24}")
    return "\n".join(lines)


def plot(curves: dict[str, Array], path: Path) -> None:
    """Save the learning curves: mean over seeds, and every seed as a thin line."""
    figure = require("matplotlib.figure").Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for colour, (arm, curve) in enumerate(curves.items()):
        thousands = np.arange(1, curve.shape[1] + 1) * NUM_ENVS * N_STEPS / 1000
        axes.plot(thousands, curve.mean(axis=0), color=f"C{colour}", linewidth=2, label=arm)
        axes.plot(thousands, curve.T, color=f"C{colour}", linewidth=0.6, alpha=0.5)
    axes.set(xlabel="thousand turns", ylabel="final progress of training episodes", ylim=(-0.02, 1.02))
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> dict[str, Array]:
    """Train every arm with every seed, print the table, save curves and plot; return arm -> progress, ``(seeds, rollouts)``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="1 seed and one rollout")
    parser.add_argument("--seeds", type=int, default=5, help="seeds per reward (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=40_000, help="turns per agent (default: %(default)s)")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="rewards (default: all)")
    parser.add_argument("--out", type=Path, default=Path("train_sb3_ppo.png"), help="picture to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.fast:
        options.seeds, options.turns = 1, NUM_ENVS * N_STEPS
    torch.set_num_threads(1)
    with tqdm(total=len(options.arms) * options.seeds * options.turns, unit="turn", unit_scale=True, disable=None) as bar:
        curves = {arm: run_seeds(arm, options.seeds, options.turns, bar) for arm in options.arms}
    print(table(curves))
    plot(curves, options.out)
    options.out.with_suffix(".json").write_text(json.dumps({arm: curve.tolist() for arm, curve in curves.items()}))
    print(f"The learning curves are in {options.out}, their numbers in {options.out.with_suffix('.json')}.")
    return curves


if __name__ == "__main__":
    main()
