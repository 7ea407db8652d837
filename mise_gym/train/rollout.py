"""Playing episodes: environments on one side, the policy's decoder on the other, episodes and their tokens out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np

from mise_gym.errors import ConfigError
from mise_gym.recorder import EpisodeRecorder
from mise_gym.train.batch import with_hindsight
from mise_gym.train.decoding import TurnDecoder
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.text import WRITTEN, EpisodeText
from mise_gym.train.trace import ActionWriter, BeginWriting, TokenTrace
from mise_gym.types import Episode

TextEnvironment = gym.Env[str, str]


@dataclass(slots=True)
class Rollout:
    """Finished episodes and, in the same order, their tokens."""

    episodes: list[Episode]
    traces: list[TokenTrace]
    simulator_seconds: float = 0.0
    """Wall time spent in ``reset`` and ``step``."""


class LiveRecorder(EpisodeRecorder):
    """Plays one environment from ``reset`` on and records it.

    Args:
        env: A text environment that lists admissible commands.
        options: Options of ``reset``.
        seed: Decides what they leave open; ``None`` leaves that to the environment.
    """

    def __init__(self, env: TextEnvironment, options: Mapping[str, Any], seed: int | None = None) -> None:
        self.env = env
        start = perf_counter()
        observation, self.info = env.reset(seed=seed, options=dict(options))
        self.simulator_seconds = perf_counter() - start
        """Wall time spent in ``reset`` and ``step``."""
        super().__init__(observation, self.info, seed=seed)

    @property
    def listed_commands(self) -> list[str]:
        """Admissible commands now; empty where the environment lists none."""
        return list(self.info.get("admissible_commands") or ())

    @property
    def commands(self) -> Sequence[str]:
        """Admissible commands now.

        Raises:
            ConfigError: The environment offers none.
        """
        if not self.listed_commands:
            raise ConfigError("The environment lists no admissible commands. Make it with infos=('admissible_commands',).")
        return self.listed_commands

    def step(self, action: str) -> None:
        """Take one turn."""
        start = perf_counter()
        step = self.env.step(action)
        self.simulator_seconds += perf_counter() - start
        self.info = step[-1]
        self.record(action, step)


def collect(  # noqa: PLR0913  # the last three are keyword-only
    envs: Sequence[TextEnvironment],
    tasks: Sequence[Mapping[str, Any]],
    policy: LLMPolicy,
    seeds: Sequence[int],
    *,
    temperature: float = 1.0,
    begin: BeginWriting = TurnDecoder,
    recorder_class: type[LiveRecorder] = LiveRecorder,
    on_episode: Callable[[], None] | None = None,
) -> Rollout:
    """Play every task once, as many at a time as there are environments.

    What an episode becomes depends on its task, its seed and the policy, and neither on the number of environments nor on the
    other tasks; only the last bits of log-probabilities differ with the batch that they were computed in.

    Args:
        envs: Text environments.
        tasks: ``reset`` options, one per episode.
        policy: Writes the actions.
        seeds: One per task, at least 0: randomness of the environment and of sampling.
        temperature: 1 samples from the policy, 0 is greedy.
        begin: Starts what writes the actions; the default chooses among the admissible commands, which then must be listed.
        recorder_class: What plays and records one episode.
        on_episode: Called after each finished episode, for progress bars.
    """
    rollout = Rollout([], [])
    for start in range(0, len(tasks), len(envs)):
        part = slice(start, start + len(envs))
        wave = [recorder_class(*chosen) for chosen in zip(envs, tasks[part], seeds[part], strict=False)]
        openings = [policy.text.opening(recorder.info["task"], recorder.observation) for recorder in wave]
        writer = begin(policy, openings, seeds[part], temperature)
        for _ in _play(wave, writer, policy):
            if on_episode is not None:
                on_episode()
        played = zip(wave, writer.traces, strict=True)
        rollout.episodes.extend(_with_writings(recorder.episode(), trace, policy.text) for recorder, trace in played)
        rollout.traces.extend(writer.traces)
        rollout.simulator_seconds += sum(recorder.simulator_seconds for recorder in wave)
    return rollout


def draw_seeds(rng: np.random.Generator, count: int) -> list[int]:
    """Draw one seed per episode for ``collect``."""
    return [int(seed) for seed in rng.integers(2**32, size=count)]


def _play(wave: Sequence[LiveRecorder], writer: ActionWriter, policy: LLMPolicy) -> Iterator[LiveRecorder]:
    """Play a wave in lockstep, yielding each recorder when its episode ends."""
    running = list(zip(wave, writer.traces, strict=True))
    while running:
        actions = writer.act([recorder.listed_commands for recorder, _ in running])
        for (recorder, _), action in zip(running, actions, strict=True):
            recorder.step(action)
        keep = [place for place, (recorder, _) in enumerate(running) if not recorder.is_done]
        seen = [policy.text.observation(recorder.observation, is_last=recorder.is_done) for recorder, _ in running]
        writer.observe(keep, seen)
        finished = [(recorder, trace) for recorder, trace in running if recorder.is_done]
        lengths = [len(trace.ids) for _, trace in running]
        lengths += [len(with_hindsight(policy, recorder.episode(), trace).ids) for recorder, trace in finished]
        _check_length(max(lengths), policy.max_tokens)
        yield from (recorder for recorder, _ in finished)
        running = [running[place] for place in keep]


def _with_writings(episode: Episode, trace: TokenTrace, text: EpisodeText) -> Episode:
    """Keep what was written with the episode, unless it can be told from the actions."""
    if all(writing.ids == text.action(writing.action) for writing in trace.writings):
        return episode
    kept = [{name: value for name, value in asdict(writing).items() if name != "action"} for writing in trace.writings]
    return replace(episode, extra={**episode.extra, WRITTEN: kept})


def _check_length(longest: int, limit: int) -> None:
    """Refuse an episode that the model cannot read whole, with the hindsight questions behind it once it is finished."""
    if longest > limit:
        raise ConfigError(
            f"An episode has grown to {longest} tokens; the model reads at most {limit}. "
            "Lower games.max_turns, max_observation_tokens or max_action_tokens."
        )
