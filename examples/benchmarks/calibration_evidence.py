"""Does calibration do what it says? Five judges, before and after, on real games played by a policy of mixed skill.

    python examples/benchmarks/calibration_evidence.py              # a few minutes; the games are kept for next time
    python examples/benchmarks/calibration_evidence.py --fast       # under a minute, TextWorld only

The policy is the simulator's expert, who in every episode takes a random command at a rate of its own between 0 and 0.9. Every
calibrator learns from training episodes and is measured on episodes of held-out games. A belief is the score of a turn, or what
the calibrator makes of it; it is compared with the outcome R of the turn's episode (AUROC: with success). "Correlation" is that
of the reward of a turn with the truth about it: whether it shortened the expert's remaining plan. "Reward" is the root mean
square of the calibrated reward, and "noise" the same where the calibrator learnt from shuffled outcomes, mean of 20. The script
fails if, on held-out episodes,

* a calibrated belief has a worse Brier score than the raw one,
* the correlation of the flipped judge's reward does not change from negative to positive, or
* the reward of the uninformative judge is more than noise: over 20 draws of its scores, the reward less that with shuffled
  outcomes is positive by more than two standard errors.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import mise_gym  # noqa: F401  # registers the environments
from mise_gym.extras import require
from mise_gym.rewards import Calibrator, Judge, JudgeResult, make_calibrator, make_judge
from mise_gym.rewards.metrics import auroc, brier, ece, reliability_curve
from mise_gym.train.demonstrations import GOOD_TURNS, demonstrate
from mise_gym.train.task_sets.textworld import GameRecorder
from mise_gym.trajectories import read_episodes, write_episodes
from mise_gym.types import Episode

Array = NDArray[np.float64]
CALIBRATORS = ("outcome", "affine", "isotonic", "beta")
SUITES: dict[str, dict[str, Any]] = {
    "TextWorld": {"id": "mise/TextWorld-v0", "max_turns": 20},
    "FTWP": {"id": "mise/FTWP-v0", "level": "recipe1+take1+cook+open", "max_turns": 10},
}


class OverconfidentJudge:
    """Another judge with all its scores squeezed into [0.7, 1]."""

    name = "over-confident"

    def __init__(self, inner: Judge) -> None:
        self.inner = inner

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the scores of every episode."""
        return [JudgeResult(scores=tuple(0.7 + 0.3 * s for s in result.scores or ())) for result in self.inner.judge(episodes)]


def judges() -> dict[str, Judge]:
    """Return the five judges; all but the heuristic are made from the simulator's progress, with noise."""
    noisy = {"judge": "oracle", "amount": 0.5}
    return {
        "heuristic": make_judge("heuristic"),
        "noisy": make_judge("noisy", noisy),
        "over-confident": OverconfidentJudge(make_judge("noisy", {**noisy, "seed": 1})),
        "flipped": make_judge("flipped", {"judge": make_judge("noisy", {**noisy, "seed": 2})}),
        "uninformative": make_judge("noisy", {"judge": "oracle", "amount": 1.0, "seed": 3}),
    }


@dataclass(frozen=True)
class Judged:
    """Episodes with one judge's scores."""

    episodes: Sequence[Episode]
    scores: list[Array]

    @classmethod
    def by(cls, judge: Judge, episodes: Sequence[Episode]) -> "Judged":
        """Have episodes judged."""
        return cls(episodes, [np.array(result.scores) for result in judge.judge(episodes)])

    @property
    def turns(self) -> Array:
        """Score of every turn. Shape ``(N,)``."""
        return np.concatenate(self.scores)

    def per_turn(self, values: Sequence[float]) -> Array:
        """Repeat one value per episode for every turn of it. Shape ``(E,)`` -> ``(N,)``."""
        return np.repeat(np.array(values, dtype=float), [len(scores) for scores in self.scores])

    def teach(self, name: str, outcomes: Sequence[float]) -> Any:
        """Return a calibrator that learnt from these scores and some outcomes."""
        calibrator: Calibrator = make_calibrator(name, {"window": len(self.scores)})
        for scores, outcome in zip(self.scores, outcomes, strict=True):
            calibrator.update(scores.tolist(), outcome)
        return calibrator


@dataclass(frozen=True)
class Row:
    """One judge and one calibrator on the held-out episodes of one suite; pairs are before and after."""

    suite: str
    judge: str
    calibrator: str
    ece: tuple[float, float]
    brier: tuple[float, float]
    auroc: tuple[float | None, float | None]
    correlation: tuple[float, float]
    power: float
    """Root mean square of the calibrated reward."""
    noise: float
    """The same where the calibrator learnt from shuffled outcomes."""
    excess: float
    """Mean of ``power - noise`` over draws of the uninformative judge, in standard errors; 0 for other judges."""
    beliefs: tuple[Array, Array]
    outcomes: Array

    def complaints(self) -> list[str]:
        """Return the claims that do not hold."""
        who = f"{self.suite}, {self.judge}, {self.calibrator}"
        found = []
        if self.brier[1] > self.brier[0]:
            found.append(f"{who}: the Brier score rose from {self.brier[0]:.4f} to {self.brier[1]:.4f}.")
        if self.judge == "flipped" and not self.correlation[0] < 0 < self.correlation[1]:
            found.append(f"{who}: the correlation went from {self.correlation[0]:.3f} to {self.correlation[1]:.3f}.")
        if self.excess > 2:
            found.append(f"{who}: the reward is more than noise, by {self.excess:.1f} standard errors.")
        return found


def measure(suite: str, judge: str, calibrator_name: str, train: Judged, heldout: Judged, draws: int) -> Row:
    """Teach a calibrator on training episodes and measure it on held-out ones."""
    outcomes = [episode.progress for episode in train.episodes]
    calibrator = train.teach(calibrator_name, outcomes)
    raw, after, rewards = heldout.turns, calibrator.beliefs(heldout.turns), calibrator(heldout.turns)
    truth = heldout.per_turn([episode.progress for episode in heldout.episodes])
    won = heldout.per_turn([episode.success for episode in heldout.episodes]) == 1
    good = np.concatenate([episode.extra[GOOD_TURNS] for episode in heldout.episodes])
    rng = np.random.default_rng(0)
    shuffled = [power(train.teach(calibrator_name, rng.permutation(outcomes).tolist())(raw)) for _ in range(draws)]
    return Row(
        suite=suite,
        judge=judge,
        calibrator=calibrator_name,
        ece=(ece(raw, truth), ece(after, truth)),
        brier=(brier(raw, truth), brier(after, truth)),
        auroc=(auroc(raw, won), auroc(after, won)),
        correlation=(correlation(raw, good), correlation(rewards, good)),
        power=power(rewards),
        noise=float(np.mean(shuffled)),
        excess=excess_over_noise(calibrator_name, train, heldout, draws) if judge == "uninformative" else 0.0,
        beliefs=(raw, after),
        outcomes=truth,
    )


def excess_over_noise(calibrator: str, train: Judged, heldout: Judged, draws: int) -> float:
    """Return by how many standard errors an uninformative judge is paid more than with shuffled outcomes."""
    outcomes, differences = [episode.progress for episode in train.episodes], []
    for seed in range(draws):
        rng = np.random.default_rng([seed, 1])
        drawn = Judged(train.episodes, [rng.random(len(scores)) for scores in train.scores])
        turns = rng.random(len(heldout.turns))
        shuffled = drawn.teach(calibrator, rng.permutation(outcomes).tolist())
        differences.append(power(drawn.teach(calibrator, outcomes)(turns)) - power(shuffled(turns)))
    error = np.std(differences, ddof=1) / np.sqrt(draws)
    return float(np.mean(differences) / error) if error > 0 else 0.0


def power(rewards: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(rewards**2)))


def correlation(first: Array, second: Array) -> float:
    """Return Pearson's correlation, 0 where one is constant."""
    return float(np.corrcoef(first, second)[0, 1]) if first.std() > 1e-12 < second.std() else 0.0


def play(suite: str, split: str, games: int, episodes: int, folder: Path) -> list[Episode]:
    """Return episodes of the mixed policy; they are read from ``folder`` if an earlier run left them there."""
    path = folder / f"{suite}-{split}-{games}-{episodes}.jsonl.gz"
    if not path.exists():
        options = {"infos": ("admissible_commands", "policy_commands"), "num_games": games, **SUITES[suite]}
        env = gym.make(options.pop("id"), **options)
        tasks = [{"split": split, "game": number % games} for number in range(episodes)]
        with tqdm(total=episodes, desc=f"{suite}, {split}", file=sys.stderr) as bar:
            rng = np.random.default_rng([episodes, split == "train"])
            played = demonstrate(GameRecorder, env, tasks, rng, max_mistake_rate=0.9, on_episode=bar.update)
        env.close()
        write_episodes(path, played)
    return list(read_episodes(path))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""

    def pair(values: tuple[float | None, float | None], digits: int = 3) -> str:
        return " → ".join("n/a" if value is None else f"{value:.{digits}f}" for value in values)

    lines = [
        "| suite | judge | calibrator | ECE | Brier | AUROC | correlation | reward | noise |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        parts = [pair(row.ece), pair(row.brier), pair(row.auroc), pair(row.correlation, 2)]
        parts += [f"{row.power:.3f}", f"{row.noise:.3f}"]
        lines.append(f"| {row.suite} | {row.judge} | {row.calibrator} | {' | '.join(parts)} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Save the reliability diagrams of the outcome calibrator, before and after, one per suite and judge."""
    rows = [row for row in rows if row.calibrator == "outcome"]
    suites = list(dict.fromkeys(row.suite for row in rows))
    columns = len(rows) // len(suites)
    figure = require("matplotlib.figure").Figure(figsize=(2.5 * columns, 2.7 * len(suites)), layout="constrained")
    for axes, row in zip(figure.subplots(len(suites), columns, squeeze=False).flat, rows, strict=True):
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
        for beliefs, label, style in zip(row.beliefs, ("score", "calibrated"), ("o--", "s-"), strict=True):
            curve = reliability_curve(beliefs, row.outcomes)
            axes.plot(curve.beliefs, curve.outcomes, style, label=label, markersize=4)
        axes.set(title=f"{row.suite}: {row.judge}", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axes.title.set_size(9)
    figure.supxlabel("belief of a turn")
    figure.supylabel("outcome of its episode")
    figure.axes[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, judge, calibrate, measure; return 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="few episodes of TextWorld only")
    parser.add_argument("--games", type=int, default=30, help="games per split (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=180, help="training episodes; held-out: as many (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="shufflings and draws of noise (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/calibration_evidence"), help="folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    suites, games, episodes = list(SUITES), options.games, options.episodes
    if options.fast:
        suites, games, episodes = suites[:1], min(games, 4), min(episodes, 60)
    rows = []
    for suite in suites:
        train, heldout = (play(suite, split, games, episodes, options.out) for split in ("train", "valid"))
        won = np.mean([episode.success for episode in heldout])
        print(f"{suite}: {len(train)} training and {len(heldout)} held-out episodes, {won:.0%} of these won.")
        for name, judge in judges().items():
            judged = Judged.by(judge, train), Judged.by(judge, heldout)
            rows += [measure(suite, name, calibrator, *judged, options.draws) for calibrator in CALIBRATORS]
    print(table(rows))
    plot(rows, options.out / "reliability.png")
    print(f"The reliability diagrams are in {options.out / 'reliability.png'}.")
    complaints = [complaint for row in rows for complaint in row.complaints()]
    print("\n".join(complaints) or "All claims hold.")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
