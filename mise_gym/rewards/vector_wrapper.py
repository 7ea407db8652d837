"""MISERewardVectorWrapper: hindsight rewards for a vector of environments, one judge request for all that end together."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from mise_gym.recorder import EpisodeRecorder
from mise_gym.rewards.base import Calibrator, FloatArray, Judge
from mise_gym.rewards.delivery import Delivery, PaysInHindsight, TrackedEpisode, TurnReward, build_delivery, recordable
from mise_gym.rewards.pipeline import OnJudgeFailure
from mise_gym.spaces import require_text

Texts = Sequence[str]
Mask = NDArray[np.bool_]
Entries = Sequence[tuple[str, Any, Mask]]
"""Keys of the ``infos`` of a vector, each with its values and which environments have one. Shapes ``(N,)``."""


class MISERewardVectorWrapper(
    PaysInHindsight, VectorWrapper[Texts, Texts, Texts, Texts, NDArray[Any]], gym.utils.RecordConstructorArgs
):
    """Adds a hindsight reward to a vector of text environments; the arguments are those of ``MISERewardWrapper``.

    One judge and one calibrator serve all environments, and the episodes that end in one step are judged in one request (in
    ``step`` delivery: the turns of all environments).

    All autoreset modes are handled. NEXT_STEP: the step after an episode's end, which ignores the action and returns the next
    episode's first observation, is neither judged nor paid. SAME_STEP: the end of an episode is read from ``final_obs`` and
    ``final_info``, and ``mise`` goes into ``final_info``, where the last step's ``info`` is. DISABLED: the environments named
    in ``reset_mask`` start anew.

    Raises:
        ConfigError: An argument is wrong, or the environments' spaces are not text.
        UnknownNameError: No such judge or calibrator.
        JudgeError: In ``step``: the judge failed and that is not tolerated.
    """

    def __init__(  # noqa: PLR0913  # the signature of MISERewardWrapper
        self,
        env: VectorEnv[Any, Any, Any],
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
        VectorWrapper.__init__(self, env)
        require_text("MISERewardVectorWrapper", env.single_observation_space, env.single_action_space)
        self._delivery = build_delivery(arguments)
        self._autoreset_mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._tracked: list[TrackedEpisode | None] = []
        """The running episode of each environment; ``None`` where it has ended and no other has begun."""

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Texts, dict[str, Any]]:
        """Reset all environments, or those in ``options["reset_mask"]``; what was running there is dropped unjudged."""
        mask = np.ones(self.num_envs, dtype=bool)
        if options is not None and "reset_mask" in options:
            mask = options["reset_mask"].copy()  # read now: the environment takes it out of the dict
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]  # gymnasium forgets lists
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + index for index in range(self.num_envs)]
        self._tracked = self._tracked or [None] * self.num_envs
        entries = plain_entries(infos)
        for index in np.flatnonzero(mask).tolist():
            self._start(index, observations, entries, seeds[index])
        return observations, infos

    def step(self, actions: Texts) -> tuple[Texts, FloatArray, Mask, Mask, dict[str, Any]]:
        """Act in every environment, and pay the turns of those that really acted."""
        if not self._tracked or (self._autoreset_mode == AutoresetMode.DISABLED and None in self._tracked):
            raise gym.error.ResetNeeded("Call reset before the first step and, without autoreset, after an episode has ended.")
        observations, env_rewards, terminations, truncations, infos = self.env.step(actions)
        acted = {index: tracked for index, tracked in enumerate(self._tracked) if tracked is not None}
        entries = plain_entries(infos)
        for index, tracked in acted.items():
            ending = bool(terminations[index]), bool(truncations[index])
            if any(ending) and self._autoreset_mode == AutoresetMode.SAME_STEP:
                observation, info = infos["final_obs"][index], info_at(plain_entries(infos["final_info"]), index)
            else:
                observation, info = observations[index], info_at(entries, index)
            tracked.recorder.record(actions[index], (observation, env_rewards[index], *ending, info))
        self._turn_over(acted, observations, entries)
        turns = dict(zip(acted, self._delivery.pay(list(acted.values())), strict=True))
        rewards = np.array(env_rewards, dtype=np.float64)
        rewards[list(turns)] = [turn.reward for turn in turns.values()]
        self._tell(turns, infos)
        return observations, rewards, terminations, truncations, infos

    def _tell(self, turns: Mapping[int, TurnReward], infos: dict[str, Any]) -> None:
        """Write what was paid to where the ``info`` of each turn is."""
        env, hindsight, told = [0.0] * self.num_envs, [0.0] * self.num_envs, [False] * self.num_envs
        for index, turn in turns.items():
            if turn.mise is not None and self._autoreset_mode == AutoresetMode.SAME_STEP:
                self._add_info(infos["final_info"], turn.info(), index)
                continue
            env[index], hindsight[index], told[index] = turn.env, turn.hindsight, True
            if turn.mise is not None:
                self._add_info(infos, {"mise": turn.mise}, index)
        if any(told):
            infos |= {"reward/env": np.array(env), "_reward/env": np.array(told)}
            infos |= {"reward/hindsight": np.array(hindsight), "_reward/hindsight": np.array(told)}

    def _turn_over(self, acted: Mapping[int, TrackedEpisode], observations: Texts, entries: Entries) -> None:
        """Start the episodes whose first observation has come, and forget those that have ended."""
        for index in range(self.num_envs):
            is_ghost = index not in acted
            is_done = not is_ghost and acted[index].recorder.is_done
            if is_ghost or (is_done and self._autoreset_mode == AutoresetMode.SAME_STEP):
                self._start(index, observations, entries, None)
            elif is_done:
                self._tracked[index] = None

    def _start(self, index: int, observations: Texts, entries: Entries, seed: int | None) -> None:
        self._tracked[index] = TrackedEpisode(EpisodeRecorder(observations[index], info_at(entries, index), seed=seed))


def plain_entries(infos: Mapping[str, Any]) -> Entries:
    """Return the entries of the ``infos`` of a vector: each key with its values and its mask; nested dicts are left out."""
    return [
        (key, values, infos[f"_{key}"]) for key, values in infos.items() if f"_{key}" in infos and not isinstance(values, dict)
    ]


def info_at(entries: Entries, index: int) -> dict[str, Any]:
    """Return the ``info`` of one environment of a vector.

    Example:
        >>> entries = plain_entries({"progress": np.array([0.5, 0.0]), "_progress": np.array([True, False])})
        >>> info_at(entries, 0), info_at(entries, 1)
        ({'progress': np.float64(0.5)}, {})
    """
    return {key: values[index] for key, values, mask in entries if mask[index]}
