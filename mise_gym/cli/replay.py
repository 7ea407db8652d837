"""``mise-gym replay``: does a recording come out the same when it is played again?"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym

from mise_gym.cli.settings import make_text_env, parse_settings
from mise_gym.envs.wrappers.recording import MADE_AS
from mise_gym.envs.wrappers.replaying import first_difference, remake, replay
from mise_gym.errors import ConfigError, TrajectoryFormatError
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode

DIFFERENT = 1
"""Exit status when an episode came out differently."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym replay``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recorded episodes: .jsonl or .jsonl.gz")
    parser.add_argument("--id", help="the environment to replay in (default: what the recording says)")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="with --id: argument of the environment class"
    )
    parser.epilog = "Exit status: 0 if every episode came out as recorded, 1 if one did not, 2 if a file cannot be replayed."


def run(arguments: argparse.Namespace) -> int:
    """Replay the files, print what differs, and return 0 or 1."""
    settings = parse_settings("--setting", arguments.setting)
    if settings and arguments.id is None:
        raise ConfigError("--setting is for the environment that --id names. Add --id, or leave --setting out.")
    episodes = turns = different = 0
    with closing(_Stage(arguments.id, settings)) as stage:
        for name, episode in _numbered(arguments.files):
            _show_progress(f"{name} ")
            difference = stage.difference(episode)
            episodes, turns, different = episodes + 1, turns + len(episode), different + (difference is not None)
            if difference is not None:
                _show_progress("")
                print(f"{name} ({episode.task_id}): {difference}")
    _show_progress("")
    if not episodes:
        raise ConfigError(
            f"There is no episode in {', '.join(map(str, arguments.files))}. Record one with mise-gym play --record."
        )
    if different:
        print(f"{different} of {episodes} episodes came out differently.")
        return DIFFERENT
    print(f"{episodes} episodes replayed exactly ({turns} turns).")
    return 0


class _Stage:
    """The environment that episodes are replayed in; made anew when the next one was recorded in another."""

    def __init__(self, env_id: str | None, settings: dict[str, Any]) -> None:
        self._made_as: Any = None
        self._env: gym.Env[str, str] | None = make_text_env(env_id, settings) if env_id else None
        self._is_given = env_id is not None

    def difference(self, episode: Episode) -> str | None:
        """Replay an episode and say what came out differently."""
        env = self._for(episode)
        try:
            return first_difference(episode, replay(env, episode))
        except TrajectoryFormatError as error:
            return str(error)

    def close(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()

    def _for(self, episode: Episode) -> gym.Env[str, str]:
        made = episode.extra.get(MADE_AS)
        if self._env is None or not (self._is_given or made == self._made_as):
            self.close()
            self._env, self._made_as = remake(episode), made
        return self._env


def _numbered(files: list[Path]) -> Iterator[tuple[str, Episode]]:
    for file in files:
        for number, episode in enumerate(read_episodes(file), start=1):
            yield f"{file}, episode {number}", episode


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
