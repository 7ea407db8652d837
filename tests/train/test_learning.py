"""The loop of iterations in a small world: what each reward means, and that a stopped run goes on exactly."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mise_gym.rewards import make_calibrator
from mise_gym.rewards.base import JudgeStatus, RewardBreakdown
from mise_gym.train.checkpoint import Checkpoints
from mise_gym.train.config import REWARD_ARMS, GamesConfig, TrainConfig
from mise_gym.train.learning import Trainer
from mise_gym.train.metrics import GLOSSARY, MetricsFile, rollout_metrics
from mise_gym.train.players import LocalPlayers
from mise_gym.train.ppo import PPOConfig
from mise_gym.train.warm_start import WarmStartConfig
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode, Transition
from tests.train.conftest import MakePolicy
from tests.train.pantry import Pantry

ITERATIONS = 3
W_HINDSIGHT = 0.25
ADAPTING: dict[str, Any] = {
    "critic": "separate",
    "reward_scale": "running",
    "reference_kl_target": 1e-5,
    "warmup_iterations": 2,
    "learning_rate_schedule": "linear",
    "group_size": 2,
}
"""Everything that has a memory of its own."""
TRAINED = [name for name, arm in REWARD_ARMS.items() if arm.trains_policy]
MakeTrainer = Callable[..., Trainer]


class StoppingMetrics(MetricsFile):
    """Presses Ctrl-C when the second iteration has just been written down and not yet saved."""

    def append(self, stage: str, step: int, values: dict[str, float]) -> None:
        super().append(stage, step, values)
        if step == 2:
            raise KeyboardInterrupt


class SlowPantry(Pantry):
    """Takes its time."""

    SECONDS = 0.003

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        time.sleep(self.SECONDS)
        return super().step(action)


@pytest.fixture
def make_trainer(make_policy: MakePolicy) -> MakeTrainer:
    def make(
        folder: Path,
        *,
        reward: Any = "mise",
        metrics: type[MetricsFile] = MetricsFile,
        checkpoint_every: int = 1,
        calibrator: str = "outcome",
        **options: Any,
    ) -> Trainer:
        folder.mkdir(exist_ok=True)
        config = TrainConfig(
            run_dir=folder,
            reward=reward,
            w_hindsight=W_HINDSIGHT,
            calibrator=calibrator,
            checkpoint_every=checkpoint_every,
            games=GamesConfig(train=8),
            warm_start=WarmStartConfig(expert_episodes=0, judge_episodes=0),
            ppo=PPOConfig(
                iterations=ITERATIONS,
                episodes_per_iteration=6,
                num_envs=3,
                num_epochs=2,
                minibatch_episodes=4,
                learning_rate=1e-3,
                **options,
            ),
        )
        envs = [Pantry() for _ in range(config.ppo.num_envs)]
        policy, reference = (make_policy(0, critic=config.ppo.critic) for _ in range(2))
        return Trainer(policy, reference, LocalPlayers(envs, policy), config, folder, metrics(folder / "metrics.jsonl"), seed=[0])

    return make


def train(trainer: Trainer) -> Trainer:
    trainer.resume()
    list(trainer.iterate())
    return trainer


def timeless(trainer: Trainer) -> list[dict[str, Any]]:
    return [{name: v for name, v in record.items() if not name.startswith("time/")} for record in trainer.metrics.read()]


def timeless_episodes(folder: Path, iteration: int) -> list[dict[str, Any]]:
    """Return the recorded episodes without the seconds that judging took."""
    return [
        {"turns": episode.transitions} | {name: part for name, part in episode.extra["mise"].items() if name != "judge"}
        for episode in recorded(folder, iteration)
    ]


def recorded(folder: Path, iteration: int) -> list[Episode]:
    return list(read_episodes(folder / "episodes" / f"iteration-{iteration:05d}.jsonl.gz"))


def same_weights(first: Trainer, second: Trainer) -> bool:
    ours, theirs = first.policy.state_dict(), second.policy.state_dict()
    return all(torch.equal(weights, theirs[name]) for name, weights in ours.items())


def interrupt(trainer: Trainer) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(trainer)


@pytest.mark.parametrize("options", [{}, ADAPTING], ids=["plain", "adapting"])
def test_a_stopped_run_goes_on_exactly_as_if_it_had_not_been_stopped(
    tmp_path: Path, make_trainer: MakeTrainer, options: dict[str, Any]
) -> None:
    whole = train(make_trainer(tmp_path / "whole", **options))
    interrupt(make_trainer(tmp_path / "stopped", metrics=StoppingMetrics, **options))

    resumed = train(make_trainer(tmp_path / "stopped", **options))

    assert timeless(resumed) == timeless(whole)
    assert same_weights(resumed, whole)
    assert timeless_episodes(tmp_path / "stopped", ITERATIONS) == timeless_episodes(tmp_path / "whole", ITERATIONS)


def test_a_run_goes_on_exactly_from_an_older_checkpoint_when_the_newest_is_damaged(
    tmp_path: Path, make_trainer: MakeTrainer
) -> None:
    whole = train(make_trainer(tmp_path / "run"))
    before = timeless(whole)
    (tmp_path / "run" / "checkpoints" / f"iteration-{ITERATIONS:05d}" / "tensors.pt").write_bytes(b"")

    resumed = make_trainer(tmp_path / "run")

    assert resumed.resume() == ITERATIONS - 1
    assert train(resumed).metrics.read()
    assert timeless(resumed) == before
    assert same_weights(resumed, whole)


def test_checkpoints_are_written_as_often_as_asked_and_at_the_end(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    train(make_trainer(tmp_path, checkpoint_every=2))

    newest = Checkpoints(tmp_path / "checkpoints").newest()
    assert newest is not None
    assert sorted(path.name for path in newest.parent.iterdir()) == ["iteration-00002", "iteration-00003"]


def test_every_iteration_writes_every_metric_of_the_glossary(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    records = train(make_trainer(tmp_path)).metrics.read()

    expected = {name for name in GLOSSARY if not name.startswith(("warm_start/", "evaluation/"))}
    assert [record.keys() - {"stage", "step"} for record in records] == [expected] * ITERATIONS
    assert [record["step"] for record in records] == [1, 2, 3]


@pytest.mark.parametrize("reward", TRAINED)
def test_the_reward_does_not_change_what_is_played_before_the_first_update(
    tmp_path: Path, make_trainer: MakeTrainer, reward: str
) -> None:
    next(make_trainer(tmp_path / "sparse", reward="sparse").iterate())

    next(make_trainer(tmp_path / "other", reward=reward).iterate())

    first, second = recorded(tmp_path / "sparse", 1), recorded(tmp_path / "other", 1)
    assert [episode.transitions for episode in first] == [episode.transitions for episode in second]


@pytest.mark.parametrize("baseline", ["critic", "rloo"])
def test_every_game_is_played_as_often_as_a_group_is_large(tmp_path: Path, make_trainer: MakeTrainer, baseline: str) -> None:
    train(make_trainer(tmp_path, group_size=2, baseline=baseline))

    for iteration in range(1, ITERATIONS + 1):
        starts = [(episode.task, episode.transitions[0].observation) for episode in recorded(tmp_path, iteration)]
        assert starts[::2] == starts[1::2]


@pytest.mark.parametrize("reward", ["sparse", "dense"])
def test_without_hindsight_the_learner_gets_what_the_environment_pays(
    tmp_path: Path, make_trainer: MakeTrainer, reward: str
) -> None:
    train(make_trainer(tmp_path, reward=reward))

    for episode in recorded(tmp_path, ITERATIONS):
        parts = episode.extra["mise"]
        assert parts["step_rewards"] == [turn.reward for turn in episode.transitions]
        assert len(parts["scores"]) == len(episode)  # measured all the same


def test_mise_nocal_pays_every_score_as_it_is_said(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    train(make_trainer(tmp_path, reward="mise-nocal"))

    for episode in recorded(tmp_path, ITERATIONS):
        parts = episode.extra["mise"]
        said = [W_HINDSIGHT * (2 * score - 1) for score in parts["scores"]]
        assert parts["step_rewards"] == pytest.approx(
            [reward + part for reward, part in zip(parts["env_rewards"], said, strict=True)]
        )


def test_process_pays_the_bare_score(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    train(make_trainer(tmp_path, reward="process"))

    for episode in recorded(tmp_path, ITERATIONS):
        parts = episode.extra["mise"]
        expected = [pay + W_HINDSIGHT * score for pay, score in zip(parts["env_rewards"], parts["scores"], strict=True)]
        assert parts["step_rewards"] == pytest.approx(expected)


def test_sft_does_not_train(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    trainer = train(make_trainer(tmp_path, reward="sft"))

    assert trainer.metrics.read() == []
    assert same_weights(trainer, make_trainer(tmp_path))


@pytest.mark.parametrize(("straight", "flipped"), [("mise-nocal", "mise-flipped"), ("mise", "mise-flipped-cal")])
def test_flipped_arms_turn_every_score_round(tmp_path: Path, make_trainer: MakeTrainer, straight: str, flipped: str) -> None:
    next(make_trainer(tmp_path / "straight", reward=straight).iterate())
    next(make_trainer(tmp_path / "flipped", reward=flipped).iterate())

    for there, here in zip(recorded(tmp_path / "straight", 1), recorded(tmp_path / "flipped", 1), strict=True):
        assert here.extra["mise"]["scores"] == pytest.approx([1 - score for score in there.extra["mise"]["scores"]])


@pytest.mark.parametrize("reward", ["mise", "mise-flipped-cal"])
def test_a_calibrated_arm_pays_nothing_for_scores_before_it_has_seen_an_outcome(
    tmp_path: Path, make_trainer: MakeTrainer, reward: str
) -> None:
    next(make_trainer(tmp_path, reward=reward).iterate())

    assert all(set(episode.extra["mise"]["calibrated"]) == {0.0} for episode in recorded(tmp_path, 1))


def test_only_arms_that_pay_for_scores_hold_their_judge_and_only_calibrated_ones_train_it(
    tmp_path: Path, make_trainer: MakeTrainer
) -> None:
    roles = {reward: make_trainer(tmp_path, reward=reward).learner.judge for reward in REWARD_ARMS}

    assert {reward for reward, role in roles.items() if role == "trained"} == {"mise", "mise-flipped-cal"}
    assert {reward for reward, role in roles.items() if role == "used"} == {"mise-nocal", "mise-flipped", "process"}


@pytest.mark.parametrize(("reward", "name"), [("mise", "affine"), ("mise-nocal", "centred")])
def test_the_calibrator_can_be_chosen_where_an_arm_leaves_it_open(
    tmp_path: Path, make_trainer: MakeTrainer, reward: str, name: str
) -> None:
    trainer = make_trainer(tmp_path, reward=reward, calibrator="affine")

    assert type(trainer.pipeline.calibrator) is type(make_calibrator(name))


def test_rollout_metrics_are_the_plain_means() -> None:
    turn = Transition(observation="", action="", reward=0.0, next_observation="")
    won = Episode(task="", transitions=(turn,), progress=1.0, success=True, terminated=True, truncated=False)
    unheard = replace(turn, valid_action=False)
    written = [{"text": "", "ids": [], "is_malformed": is_malformed} for is_malformed in (False, True, False)]
    lost = Episode(
        task="",
        transitions=(turn, unheard, turn),
        progress=0.5,
        success=False,
        terminated=False,
        truncated=True,
        extra={"written": written},
    )
    paid = {"calibrated": None, "status": JudgeStatus.OK}
    rewards = [
        RewardBreakdown(env_rewards=(1.0,), scores=(0.8,), step_rewards=(1.25,), judge={}, **paid),
        RewardBreakdown(
            env_rewards=(0.0, 0.0, 0.5),
            scores=(0.3, 0.6, 0.9),
            step_rewards=(0.0, 0.25, 0.75),
            judge={"belief": 0.7},
            **paid,
        ),
    ]

    metrics = rollout_metrics([won, lost], rewards)

    assert metrics == pytest.approx(
        {
            "rollout/success_rate": 0.5,
            "rollout/progress_mean": 0.75,
            "rollout/turns_mean": 2.0,
            "rollout/truncated_rate": 0.5,
            "rollout/valid_action_rate": 0.75,
            "rollout/malformed_rate": 0.25,
            "reward/env_mean": 0.75,
            "reward/hindsight_mean": (0.25 + 0.5) / 2,
            "reward/total_mean": (1.25 + 1.0) / 2,
            "judge/score_mean": (0.8 + 0.6) / 2,
            "judge/belief_mean": (0.8 + 0.7) / 2,
            "judge/overconfidence": 0.75 - 0.75,
            "judge/overconfidence_failed": 0.7 - 0.5,
        }
    )


def test_the_simulators_time_is_part_of_the_playing_and_grows_with_it(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.players = LocalPlayers([SlowPantry() for _ in range(3)], trainer.policy)

    record = next(iter(train(trainer).metrics.read()))

    turns = sum(len(episode) for episode in recorded(tmp_path, 1))
    assert turns * SlowPantry.SECONDS <= record["time/simulator_seconds"] < record["time/collect_seconds"]


def test_the_drift_from_the_frozen_judge_starts_at_zero_and_is_logged(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    first, *later = train(make_trainer(tmp_path / "run")).metrics.read()

    assert first["judge/drift_rms"] == pytest.approx(0.0, abs=1e-6)
    assert all(record["judge/drift_rms"] >= abs(record["judge/drift_mean"]) - 1e-9 for record in later)
    assert later[-1]["judge/drift_rms"] > 0


def test_a_pleased_judge_of_a_policy_that_stands_still_rings_the_alarm(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(tmp_path / "run")
    rang = [trainer._is_hacked({"judge/score_mean": 0.5 + 0.02 * i, "rollout/success_rate": 0.3}) for i in range(10)]

    assert rang == [False] * 9 + [True]
    assert [record.getMessage()[:12] for record in caplog.records] == ["Iteration 1:"]


def test_the_alarm_is_part_of_a_checkpoint(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    stopped = train(make_trainer(tmp_path / "run"))
    resumed = make_trainer(tmp_path / "run")
    resumed.resume()

    assert resumed.alarm.state_dict() == stopped.alarm.state_dict() != {"seen": []}
