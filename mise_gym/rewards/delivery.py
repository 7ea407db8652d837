"""RewardDelivery: when the agent gets the hindsight reward. Shared by the wrapper of one environment and that of a vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Final, Literal, get_args

from mise_gym.errors import ConfigError
from mise_gym.recorder import EpisodeRecorder
from mise_gym.rewards.base import COSTS, JudgeResult, JudgeStatus, RewardBreakdown
from mise_gym.rewards.catalog import make_calibrator, make_judge, spec_of, without_secrets
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.types import Episode

Delivery = Literal["terminal", "info", "step"]

_costs_of: Final = attrgetter(*COSTS)


@dataclass(slots=True)
class Ledger:
    """What ``step`` delivery has paid for the turns of an episode, and what the judge said of each when it had just happened."""

    turns: list[tuple[float, float, float, tuple[float, ...]]] = field(default_factory=list)
    """Of each turn: what it was paid, its score and its calibrated reward (0 where the judge failed), and its ``COSTS``."""
    said: JudgeResult | None = None
    """Of the last turn, or of the first on which the judge failed."""

    def enter(self, reward: float, result: JudgeResult, calibrated: float) -> None:
        """Add a turn: what it was paid, what was said of the episode up to it, and its own calibrated reward."""
        score = result.scores[-1] if result.scores else 0.0
        self.turns.append((reward, score, calibrated, _costs_of(result)))
        if self.said is None or self.said.status is JudgeStatus.OK:
            self.said = result

    def close(self) -> tuple[JudgeResult, tuple[float, ...], tuple[float, ...]]:
        """Return what was said of the episode, the calibrated rewards and the paid ones; a failed turn takes all scores away."""
        assert self.said is not None  # an episode that has ended has a turn
        rewards, scores, calibrated, costs = zip(*self.turns, strict=True)
        total: dict[str, Any] = dict(zip(COSTS, map(sum, zip(*costs, strict=True)), strict=True))
        is_judged = self.said.status is JudgeStatus.OK
        return replace(self.said, scores=scores if is_judged else None, **total), calibrated, rewards


@dataclass(slots=True)
class TrackedEpisode:
    """A running episode and, in ``step`` delivery, what was paid for its turns so far."""

    recorder: EpisodeRecorder
    ledger: Ledger = field(default_factory=Ledger)


@dataclass(slots=True, kw_only=True)
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
        mise = None if breakdown is None else describe(breakdown, self.pipeline.w_hindsight)
        return TurnReward(reward=reward, env=env, hindsight=hindsight, mise=mise)

    def _pay_each_turn(self, tracked: Sequence[TrackedEpisode]) -> list[TurnReward]:
        episodes = [item.recorder.episode() for item in tracked]
        results = self.pipeline.score(episodes)
        return [self._pay_turn(*turn) for turn in zip(tracked, episodes, results, strict=True)]

    def _pay_turn(self, item: TrackedEpisode, episode: Episode, result: JudgeResult) -> TurnReward:
        calibrated = self.pipeline.calibrate(episode, result)
        last = calibrated[-1] if calibrated else 0.0
        env, hindsight = episode.transitions[-1].reward, self.pipeline.w_hindsight * last
        reward = self.pipeline.w_env * env + hindsight
        item.ledger.enter(reward, result, last)
        mise = self._close(item.ledger, episode) if item.recorder.is_done else None
        return TurnReward(reward=reward, env=env, hindsight=hindsight, mise=mise)

    def _close(self, ledger: Ledger, episode: Episode) -> dict[str, Any]:
        """Return ``info["mise"]`` of an episode that was paid turn by turn, and learn from it."""
        result, calibrated, rewards = ledger.close()
        breakdown = RewardBreakdown(
            env_rewards=tuple([turn.reward for turn in episode.transitions]),
            scores=result.scores,
            calibrated=None if result.scores is None else calibrated,
            step_rewards=rewards,
            status=result.status,
            judge=self.pipeline.judgement(result),
        )
        if self.learn:
            self.pipeline.learn([episode], [breakdown])
        return describe(breakdown, self.pipeline.w_hindsight)


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


def describe(breakdown: RewardBreakdown, w_hindsight: float) -> dict[str, Any]:
    """Return a breakdown as ``info["mise"]``: a dict of lists and plain values, with empty lists where the judge failed.

    Note:
        Lists, because arrays of different lengths from two environments that end together cannot be batched by Gymnasium's vector
        environments; and no ``None``, because their batched dicts cannot tell it from a missing value.
    """
    lists = {key: list(getattr(breakdown, key) or ()) for key in ("step_rewards", "scores", "env_rewards", "calibrated")}
    return lists | {"status": breakdown.status.value, "judge": breakdown.judge, "w_hindsight": w_hindsight}
