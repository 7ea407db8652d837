"""RewardDelivery: when the agent gets the hindsight reward. Shared by the wrapper of one environment and that of a vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mise_gym.errors import ConfigError
from mise_gym.recorder import EpisodeRecorder
from mise_gym.rewards.base import COSTS, JudgeStatus, RewardBreakdown
from mise_gym.rewards.catalog import make_calibrator, make_judge, spec_of, without_secrets
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.types import Episode

Delivery = Literal["terminal", "info", "step"]


@dataclass(slots=True)
class TrackedEpisode:
    """A running episode and, in ``step`` delivery, what was paid for its turns so far."""

    recorder: EpisodeRecorder
    paid: list[RewardBreakdown] = field(default_factory=list)
    """One breakdown of one turn for every turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReward:
    """What the agent gets for one turn."""

    reward: float
    """The reward that ``step`` returns."""
    env: float
    """The environment's own reward e_t."""
    hindsight: float
    """The weighted hindsight part of ``reward``."""
    mise: dict[str, Any] | None
    """``info["mise"]``; only when the episode has ended."""

    def info(self) -> dict[str, Any]:
        """Return the entries for ``info``: flat floats, and the dict of lists when the episode has ended."""
        entries: dict[str, Any] = {"reward/env": self.env, "reward/hindsight": self.hindsight}
        return entries if self.mise is None else entries | {"mise": self.mise}


class RewardDelivery:
    """Pays turns.

    Args:
        pipeline: Judges, calibrates and mixes.
        delivery: ``"terminal"`` adds the summed hindsight reward of an episode to its last turn; ``"info"`` leaves the reward
            alone and only fills ``info["mise"]``; ``"step"`` has every turn judged as it happens, from the episode so far.
        learn: Whether the calibrator learns from the episodes that end.

    Raises:
        ConfigError: No such delivery.
    """

    def __init__(self, pipeline: RewardPipeline, delivery: Delivery, learn: bool) -> None:
        if delivery not in get_args(Delivery):
            raise ConfigError(f"delivery={delivery!r} is unknown. Give one of {', '.join(get_args(Delivery))}.")
        self.pipeline = pipeline
        self.delivery = delivery
        self.learn = learn

    def pay(self, tracked: Sequence[TrackedEpisode]) -> list[TurnReward]:
        """Return the reward of the turn just recorded in each episode, with one judge request for all of them.

        Raises:
            JudgeError: The judge failed and the pipeline does not tolerate it.
        """
        if self.delivery == "step":
            return self._pay_each_turn(tracked)
        ended = [index for index, item in enumerate(tracked) if item.recorder.is_done]
        breakdowns: dict[int, RewardBreakdown] = {}
        if ended:
            episodes = [tracked[index].recorder.episode() for index in ended]
            breakdowns = dict(zip(ended, self._settle(episodes), strict=True))
        return [self._at_the_end(item, breakdowns.get(index)) for index, item in enumerate(tracked)]

    def _settle(self, episodes: list[Episode]) -> list[RewardBreakdown]:
        """Judge finished episodes, and only then learn from them."""
        breakdowns = self.pipeline.reward(episodes)
        if self.learn:
            self.pipeline.learn(episodes, breakdowns)
        return breakdowns

    def _at_the_end(self, item: TrackedEpisode, breakdown: RewardBreakdown | None) -> TurnReward:
        env = item.recorder.last_reward
        hindsight = 0.0
        if breakdown is not None and self.delivery == "terminal":
            hindsight = self.pipeline.w_hindsight * sum(breakdown.calibrated or ())
        reward = env if self.delivery == "info" else self.pipeline.w_env * env + hindsight
        return TurnReward(reward=reward, env=env, hindsight=hindsight, mise=None if breakdown is None else describe(breakdown))

    def _pay_each_turn(self, tracked: Sequence[TrackedEpisode]) -> list[TurnReward]:
        episodes = [item.recorder.episode() for item in tracked]
        turns = self.pipeline.reward(episodes, last_turn_only=True)
        rewards = []
        for item, episode, turn in zip(tracked, episodes, turns, strict=True):
            item.paid.append(turn)
            whole = join(item.paid) if item.recorder.is_done else None
            if whole is not None and self.learn:
                self.pipeline.learn([episode], [whole])
            hindsight = self.pipeline.w_hindsight * turn.calibrated[0] if turn.calibrated else 0.0
            mise = None if whole is None else describe(whole)
            rewards.append(TurnReward(reward=turn.step_rewards[0], env=turn.env_rewards[0], hindsight=hindsight, mise=mise))
        return rewards


class PaysInHindsight:
    """What the wrapper of one environment and that of a vector let their users see and change."""

    _delivery: RewardDelivery

    @property
    def pipeline(self) -> RewardPipeline:
        """The pipeline, for its counters, and for ``state_dict`` and ``load_state_dict``."""
        return self._delivery.pipeline

    @property
    def learn(self) -> bool:
        """Whether the calibrator learns from the episodes that end."""
        return self._delivery.learn

    @learn.setter
    def learn(self, value: bool) -> None:
        self._delivery.learn = value


def build_delivery(arguments: Mapping[str, Any]) -> RewardDelivery:
    """Build what pays the turns from the keyword arguments of ``MISERewardWrapper``.

    Raises:
        ConfigError: An argument is wrong.
        UnknownNameError: No such judge or calibrator.
    """
    options = dict(arguments)
    judge = make_judge(options.pop("judge"), options.pop("judge_kwargs"))
    calibrator = make_calibrator(options.pop("calibrator"), options.pop("calibrator_kwargs"))
    delivery, learn = options.pop("delivery"), options.pop("learn")
    return RewardDelivery(RewardPipeline(judge, calibrator, **options), delivery, learn)


def recordable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of ``MISERewardWrapper`` for an environment spec: live objects become strings, secrets go.

    Note:
        Gymnasium deep-copies what is recorded, and would copy a judge with its model.
    """
    plain = {key: without_secrets(value) for key, value in arguments.items() if key not in ("judge", "calibrator")}
    return plain | {key: spec_of(arguments[key]) for key in ("judge", "calibrator")}


def describe(breakdown: RewardBreakdown) -> dict[str, Any]:
    """Return a breakdown as ``info["mise"]``: a dict of lists and plain values, with empty lists where the judge failed.

    Note:
        Lists, because arrays of different lengths from two environments that end together cannot be batched by Gymnasium's vector
        environments; and no ``None``, because their batched dicts cannot tell it from a missing value.
    """
    lists = {key: list(getattr(breakdown, key) or ()) for key in ("step_rewards", "scores", "env_rewards", "calibrated")}
    return lists | {"status": breakdown.status.value, "judge": breakdown.judge}


def join(turns: Sequence[RewardBreakdown]) -> RewardBreakdown:
    """Return the breakdown of an episode from those of its turns; one turn without a score leaves the episode without scores."""
    failed = next((turn for turn in turns if turn.status is not JudgeStatus.OK), None)
    status = JudgeStatus.OK if failed is None else failed.status
    judge = (failed or turns[-1]).judge | {key: sum(turn.judge[key] for turn in turns) for key in COSTS}
    return RewardBreakdown(
        env_rewards=tuple(turn.env_rewards[0] for turn in turns),
        scores=None if failed else tuple(turn.scores[0] for turn in turns if turn.scores),
        calibrated=None if failed else tuple(turn.calibrated[0] for turn in turns if turn.calibrated),
        step_rewards=tuple(turn.step_rewards[0] for turn in turns),
        status=status,
        judge=judge,
    )
