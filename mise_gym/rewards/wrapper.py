"""MISERewardWrapper: any text environment with a judge's calibrated hindsight reward added."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from mise_gym.recorder import EpisodeRecorder
from mise_gym.rewards.base import Calibrator, Judge
from mise_gym.rewards.delivery import Delivery, PaysInHindsight, TrackedEpisode, build_delivery, recordable
from mise_gym.rewards.pipeline import OnJudgeFailure
from mise_gym.spaces import require_text


class MISERewardWrapper(PaysInHindsight, gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Adds a hindsight reward to an environment whose observations and actions are text.

    When an episode ends, terminated or truncated, the judge scores every turn of it, the calibrator turns the scores into
    rewards, and these are mixed with the environment's: r_t = w_env e_t + w_hindsight c(s_t). Then the calibrator learns from
    the outcome.

    Every step's ``info`` has ``reward/env`` (the environment's own reward) and ``reward/hindsight`` (the hindsight part of the
    returned reward). The last step of an episode has ``info["mise"]`` too: ``step_rewards``, ``scores``, ``env_rewards`` and
    ``calibrated`` with one entry per turn, ``w_hindsight``, ``status``, and ``judge`` (name, calls, tokens, seconds, and reasons
    where it gives any). Where the judge failed, ``scores`` and ``calibrated`` are empty.

    The outcome R that the calibrator learns from is ``info["progress"]`` of the last step. An environment without it is taken
    to pay its progress as reward: R is then the sum of its rewards, limited to [0, 1]. The goal is ``info["task"]`` where
    present.

    Args:
        env: An environment with text observations and actions.
        judge: A name in ``mise_gym.rewards.catalog.JUDGES``, ``"module:Class"``, or a judge. "auto" is the heuristic judge.
        judge_kwargs: Keyword arguments of a named judge.
        calibrator: A name in ``mise_gym.rewards.catalog.CALIBRATORS``, ``"module:Class"``, or a calibrator (pass the same one
            to several wrappers to share it).
        calibrator_kwargs: Keyword arguments of a named calibrator.
        w_env: Weight of the environment's reward.
        w_hindsight: Weight of the hindsight reward; 0 changes no reward.
        delivery: ``"terminal"`` adds the summed hindsight reward to the last step, which is right in any training loop but
            loses the credit per turn; ``"info"`` leaves the reward alone, for loops that read ``info["mise"]["step_rewards"]``;
            ``"step"`` judges every turn as it happens, from the episode so far, which costs one judge request per step.
        on_judge_failure: ``"environment"`` gives an episode that could not be judged its environment reward only; ``"raise"``
            raises.
        retries: How often a failed request is repeated.
        max_failures: Failed requests in a row after which the judge is taken for broken.
        learn: Whether the calibrator learns; ``False`` for evaluation. May be changed later: ``env.learn = False``.

    Raises:
        ConfigError: An argument is wrong, or the environment's spaces are not text.
        UnknownNameError: No such judge or calibrator.
        JudgeError: In ``step``: the judge failed and that is not tolerated.

    Note:
        ``env.spec`` records names and keyword arguments, so an environment made of names survives ``spec.to_json()``. Live
        objects are recorded by class name only: the JSON can be read, and making an environment from it says that they are
        missing.
    """

    def __init__(  # noqa: PLR0913  # one flat signature, so that a spec is readable
        self,
        env: gym.Env[str, str],
        *,
        judge: str | Judge = "auto",
        judge_kwargs: Mapping[str, Any] | None = None,
        calibrator: str | Calibrator = "outcome",
        calibrator_kwargs: Mapping[str, Any] | None = None,
        w_env: float = 1.0,
        w_hindsight: float = 0.25,
        delivery: Delivery = "terminal",
        on_judge_failure: OnJudgeFailure = "environment",
        retries: int = 1,
        max_failures: int = 100,
        learn: bool = True,
    ) -> None:
        arguments: dict[str, Any] = {
            "judge": judge,
            "judge_kwargs": judge_kwargs,
            "calibrator": calibrator,
            "calibrator_kwargs": calibrator_kwargs,
            "w_env": w_env,
            "w_hindsight": w_hindsight,
            "delivery": delivery,
            "on_judge_failure": on_judge_failure,
            "retries": retries,
            "max_failures": max_failures,
            "learn": learn,
        }
        gym.utils.RecordConstructorArgs.__init__(self, **recordable(arguments))
        gym.Wrapper.__init__(self, env)
        require_text("MISERewardWrapper", env.observation_space, env.action_space)
        self._delivery = build_delivery(arguments)
        self._tracked: TrackedEpisode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; one that was running is dropped without being judged."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._tracked = TrackedEpisode(EpisodeRecorder(observation, info, seed=seed))
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act, and pay the turn."""
        if self._tracked is None:
            raise gym.error.ResetNeeded("Call reset before the first step, and after an episode has ended.")
        tracked = self._tracked
        step = self.env.step(action)
        observation, _, terminated, truncated, info = step
        tracked.recorder.record(action, step)
        if tracked.recorder.is_done:
            self._tracked = None
        (turn,) = self._delivery.pay([tracked])
        return observation, turn.reward, terminated, truncated, {**info, **turn.info()}
