"""Why calibrate? Eight kinds of reward teach a table of probabilities to open eight doors, and only the calibrated ones are safe.

A chain of rooms, each with three keys of which one opens the door to the next; the outcome is 1 when all doors are open before
the turns run out, and 0 otherwise. A judge who sees each turn is over-confident: 0.9 for the right key, 0.7 for a wrong one,
with noise. The policy is a table of softmax logits that learns by REINFORCE from r_t = e_t + c(s_t).

    python examples/why_calibrate.py            # 5 seeds, under a minute on one core
    python examples/why_calibrate.py --fast     # 2 seeds, shorter
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mise_gym.extras import require
from mise_gym.rewards import JudgeResult, RewardPipeline, make_judge
from mise_gym.types import Episode, Transition

NUM_ROOMS, NUM_KEYS, MAX_TURNS, BATCH = 8, 3, 14, 8
LEARNING_RATE, VALUE_RATE = 0.08, 0.05
Array = NDArray[np.float64]


class OverconfidentJudge:
    """0.9 for a turn that opened a door and 0.7 for one that did not, give or take 0.1; it likes everything.

    Args:
        seed: Seed of the noise.
    """

    name = "overconfident"

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the scores of every episode."""
        return [JudgeResult(scores=self._scores(episode)) for episode in episodes]

    def _scores(self, episode: Episode) -> tuple[float, ...]:
        base = np.array([0.9 if turn.next_observation == "The door opens." else 0.7 for turn in episode.transitions])
        return tuple((base + self._rng.uniform(-0.1, 0.1, len(base))).tolist())


ARMS = {  # name -> judge, calibrator, w_hindsight
    "sparse": ("overconfident", "identity", 0.0),
    "calibrated": ("overconfident", "outcome", 1.0),
    "raw": ("overconfident", "identity", 1.0),
    "raw centred": ("overconfident", "centred", 1.0),
    "raw centred + flipped": ("flipped", "centred", 1.0),
    "calibrated + flipped": ("flipped", "outcome", 1.0),
    "calibrated + uninformative": ("noisy", "outcome", 1.0),
    "raw + uninformative": ("noisy", "identity", 1.0),
}


def make_pipeline(arm: str, seed: int) -> RewardPipeline:
    """Return the reward of one arm of the experiment."""
    judge_name, calibrator, w_hindsight = ARMS[arm]
    overconfident = OverconfidentJudge(seed)
    judges = {
        "overconfident": overconfident,
        "flipped": make_judge("flipped", {"judge": overconfident}),
        "noisy": make_judge("noisy", {"judge": overconfident, "amount": 1.0, "seed": seed}),
    }
    return RewardPipeline(judges[judge_name], calibrator, w_hindsight=w_hindsight)


class DoorChain:
    """The rooms, played directly as episodes of text."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._right_keys = rng.integers(NUM_KEYS, size=NUM_ROOMS).tolist()
        self._turns = {(room, key): self._turn(room, key, reward=0.0) for room in range(NUM_ROOMS) for key in range(NUM_KEYS)}
        self._last_turn = self._turn(NUM_ROOMS - 1, self._right_keys[-1], reward=1.0)

    def play(self, policy: Array) -> tuple[Episode, list[tuple[int, int]]]:
        """Play one episode with ``policy``, shape ``(NUM_ROOMS, NUM_KEYS)``; return it and the (room, key) of every turn."""
        room, choices = 0, []
        cumulative = policy.cumsum(axis=1)
        for draw in self._rng.random(MAX_TURNS):
            key = min(int(np.searchsorted(cumulative[room], draw)), NUM_KEYS - 1)
            choices.append((room, key))
            room += key == self._right_keys[room]
            if room == NUM_ROOMS:
                break
        is_won = room == NUM_ROOMS
        turns = [self._turns[choice] for choice in choices]
        if is_won:
            turns[-1] = self._last_turn
        episode = Episode(
            task="Open all doors.",
            transitions=tuple(turns),
            progress=float(is_won),
            success=is_won,
            terminated=is_won,
            truncated=not is_won,
        )
        return episode, choices

    def _turn(self, room: int, key: int, reward: float) -> Transition:
        answer = "The door opens." if key == self._right_keys[room] else "The key does not fit."
        return Transition(observation=f"Room {room}.", action=f"try key {key}", reward=reward, next_observation=answer)


def train(arm: str, seed: int, iterations: int) -> Array:
    """Return the share of won episodes in every iteration. Shape ``(iterations,)``."""
    chain, pipeline = DoorChain(np.random.default_rng(seed)), make_pipeline(arm, seed)
    logits, values, won = np.zeros((NUM_ROOMS, NUM_KEYS)), np.zeros(NUM_ROOMS), []
    for _ in range(iterations):
        policy = softmax(logits)
        episodes, choices = zip(*(chain.play(policy) for _ in range(BATCH)), strict=True)
        breakdowns = pipeline.reward(episodes)
        pipeline.learn(episodes, breakdowns)
        reinforce(logits, values, policy, [(c, b.step_rewards) for c, b in zip(choices, breakdowns, strict=True)])
        won.append(np.mean([episode.success for episode in episodes]))
    return np.array(won)


def softmax(logits: Array) -> Array:
    """Return probabilities. Shape ``(R, K)`` -> ``(R, K)``."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def reinforce(logits: Array, values: Array, policy: Array, batch: list[tuple[list[tuple[int, int]], tuple[float, ...]]]) -> None:
    """Update ``logits`` and ``values`` in place by one REINFORCE step with the value of a room as baseline."""
    rooms, keys = np.array([choice for choices, _ in batch for choice in choices]).T
    returns = np.concatenate([np.cumsum(rewards[::-1])[::-1] for _, rewards in batch])
    advantages = returns - values[rooms]
    gradient = np.zeros_like(logits)
    np.add.at(gradient, rooms, -advantages[:, None] * policy[rooms])
    np.add.at(gradient, (rooms, keys), advantages)
    logits += LEARNING_RATE * gradient / len(batch)
    counts = np.bincount(rooms, minlength=NUM_ROOMS)
    mean_advantages = np.bincount(rooms, weights=advantages, minlength=NUM_ROOMS) / np.maximum(counts, 1)
    values += (1 - (1 - VALUE_RATE) ** counts) * mean_advantages


def run(seeds: int, iterations: int) -> dict[str, Array]:
    """Train every arm with every seed. Returns arm -> success, shape ``(seeds, iterations)``."""
    return {arm: np.array([train(arm, seed, iterations) for seed in range(seeds)]) for arm in ARMS}


def table(success: dict[str, Array]) -> str:
    """Return a table: success early (the second eighth of training) and at the end (the last), over seeds."""
    lines = [f"{'reward':28}{'early':>20}{'at the end':>20}"]
    for arm, curve in success.items():
        eighth = curve.shape[1] // 8
        early, late = curve[:, eighth : 2 * eighth].mean(axis=1), curve[:, -eighth:].mean(axis=1)
        lines.append(f"{arm:28}{spread(early):>20}{spread(late):>20}")
    return "\n".join(lines)


def spread(values: Array) -> str:
    """Return the mean over seeds and the lowest and highest seed. Shape ``(seeds,)``."""
    return f"{values.mean():.2f} [{values.min():.2f}, {values.max():.2f}]"


def plot(success: dict[str, Array], path: Path) -> None:
    """Save the learning curves, smoothed over 20 iterations, with their range over seeds."""
    require("matplotlib").use("Agg")
    figure, axes = require("matplotlib.pyplot").subplots(figsize=(8, 4.5), layout="constrained")
    for arm, curve in success.items():
        smooth = np.array([np.convolve(seed, np.ones(20) / 20, mode="valid") for seed in curve])
        iterations = np.arange(smooth.shape[1]) + 20
        axes.plot(iterations, smooth.mean(axis=0), label=arm, linestyle="-" if "calibrated" in arm else "--")
        axes.fill_between(iterations, smooth.min(axis=0), smooth.max(axis=0), alpha=0.12)
    axes.set(xlabel=f"iteration of {BATCH} episodes", ylabel="share of episodes won", ylim=(-0.02, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> dict[str, Array]:
    """Run the experiment, print the table, save the plot; return the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="2 seeds and 200 iterations in place of 5 and 400")
    parser.add_argument("--out", type=Path, default=Path("why_calibrate.png"), help="picture to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    success = run(seeds=2, iterations=200) if options.fast else run(seeds=5, iterations=400)
    print(table(success))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plot(success, options.out)
    print(f"The learning curves are in {options.out}.")
    return success


if __name__ == "__main__":
    main()
