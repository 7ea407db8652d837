"""``mise-gym play``: a person plays an environment."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import gymnasium as gym
import numpy as np

from mise_gym.cli.settings import make_text_env, parse_settings
from mise_gym.cli.terminal import Terminal
from mise_gym.envs.wrappers.recording import MADE_AS, made_as
from mise_gym.recorder import EpisodeRecorder
from mise_gym.trajectories import EpisodeWriter

HELP: Final = """\
Type what you want to do, for example: look
  /commands  what the game understands now; /commands open: only those with "open" in them
  /task      the goal
  /undo      take the last turn back
  /restart   the same game from the start
  /help      this list
  /quit      stop (so does Ctrl-D)"""

FOR_PEOPLE: Final = MappingProxyType({"infos": ("admissible_commands",), "observation_mode": "text_rich"})
"""How environments that know these arguments are made, unless ``--setting`` says otherwise."""

_MOST_COMMANDS: Final = 60
"""So many are listed at once; ScienceWorld has thousands."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym play``."""
    parser.add_argument("id", help="an environment from `mise-gym list`, for example mise/FTWP-v0")
    parser.add_argument("--seed", type=int, help="chooses the game (default: a random one, which is shown)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="option of reset, such as game=3; may be repeated"
    )
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="argument of the environment class; may be repeated"
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the episodes to this .jsonl or .jsonl.gz file")


def run(arguments: argparse.Namespace) -> int:
    """Play until the player stops."""
    options = parse_settings("--option", arguments.option)
    settings = parse_settings("--setting", arguments.setting)
    seed = int(np.random.default_rng().integers(2**31)) if arguments.seed is None else arguments.seed
    writer = EpisodeWriter(arguments.record) if arguments.record else None
    try:
        env = make_text_env(arguments.id, settings, preferred=FOR_PEOPLE)
        try:
            Session(env, seed, options, writer).play()
            if writer is not None:
                print(f"Recorded. To read it: mise-gym view {writer.path}. To check it: mise-gym replay {writer.path}")
        finally:
            env.close()
    finally:
        if writer is not None:
            writer.close()
    return 0


class Session:
    """One sitting at one game.

    Args:
        env: A text environment.
        seed: Seed of ``reset``.
        options: Options of ``reset``.
        writer: Where played episodes go, finished or not; ``None`` keeps nothing.
    """

    def __init__(self, env: gym.Env[str, str], seed: int, options: Mapping[str, Any], writer: EpisodeWriter | None) -> None:
        self._env = env
        self._seed = seed
        self._options = dict(options)
        self._writer = writer
        made, chosen = made_as(env), {"options": self._options} if self._options else {}
        self._extra = chosen if made is None else {MADE_AS: made, **chosen}
        self._terminal = Terminal(self._admissible)
        self._actions: list[str] = []
        self._info: dict[str, Any] = {}
        self._start()

    def play(self) -> None:
        """Read and answer commands until the player stops."""
        what = self._info.get("task_id") or "a game"
        self._terminal.show(f"{what} · seed {self._seed} · /help lists the commands", "status")
        self._show_start()
        try:
            while (line := self._terminal.ask()) not in (None, "/quit"):
                self._answer(line or "")
        finally:
            self._save()

    def _answer(self, line: str) -> None:
        match line:
            case "":
                pass
            case "/help":
                self._terminal.show(HELP, "note")
            case "/task":
                self._terminal.show(str(self._info.get("task", "")), "note")
            case "/undo":
                self._undo()
            case "/restart":
                self._save()
                self._start()
                self._show_start()
            case _ if line.split()[0] == "/commands":
                self._show_commands(line.partition(" ")[2].strip())
            case _ if line.startswith("/"):
                self._terminal.show(f"There is no {line}. /help lists the commands.", "bad")
            case _ if self._recorder.is_done:
                self._terminal.show("The episode is over. /undo, /restart or /quit.", "note")
            case _:
                self._act(line)
                self._show_turn()

    def _start(self) -> None:
        observation, self._info = self._env.reset(seed=self._seed, options=self._options or None)
        self._recorder = EpisodeRecorder(observation, self._info, seed=self._seed, extra=self._extra)
        self._actions = []

    def _act(self, action: str) -> None:
        step = self._env.step(action)
        self._info = step[-1]
        self._recorder.record(action, step)
        self._actions.append(action)

    def _undo(self) -> None:
        """Play the game again from the start, without the last turn: simulators cannot step back, but they are deterministic."""
        if not self._actions:
            self._terminal.show("There is nothing to take back.", "note")
            return
        actions = self._actions[:-1]
        self._start()
        for action in actions:
            self._act(action)
        self._terminal.show("Took the last turn back.", "note")
        self._show_turn()

    def _save(self) -> None:
        if self._writer is not None and len(self._recorder):
            self._writer.write(self._recorder.episode())

    def _admissible(self) -> list[str]:
        return list(self._info.get("admissible_commands", ()))

    def _show_commands(self, part: str) -> None:
        commands = self._admissible()
        found = sorted((command for command in commands if part in command), key=lambda command: not command.startswith(part))
        lines = found[:_MOST_COMMANDS]
        if len(found) > len(lines):
            lines.append(f"... and {len(found) - len(lines)} more. Say which: /commands open")
        if not lines:
            lines = [f"There is none with {part!r} in it." if commands else "This environment does not tell."]
        self._terminal.show("\n".join(lines), "note")

    def _show_start(self) -> None:
        task = str(self._info.get("task", ""))
        if task not in self._recorder.observation:
            self._terminal.show(f"Task: {task}", "note")
        self._terminal.show("")
        self._show_turn()

    def _show_turn(self) -> None:
        self._terminal.show(self._recorder.observation)
        self._terminal.show(self._status(), "status")
        if self._recorder.is_done:
            self._show_end()

    def _status(self) -> str:
        info = self._info
        limit = getattr(self._env.unwrapped, "max_turns", None)
        parts = [f"turn {len(self._actions)}" + (f" of {limit}" if limit else "")]
        if "score" in info and info["max_score"] != 1:
            parts.append(f"score {info['score']:g} of {info['max_score']:g}")
        if "progress" in info:
            parts.append(f"progress {info['progress']:.0%}")
        if not info.get("valid_action", True):
            parts.append("not understood")
        return f"[{' · '.join(parts)}]"

    def _show_end(self) -> None:
        if self._info.get("success"):
            self._terminal.show("You won!", "good")
        elif self._recorder.episode().truncated:
            self._terminal.show("The step limit ended the episode.", "bad")
        else:
            self._terminal.show("The episode is over, and the goal was not reached.", "bad")
        self._terminal.show("/undo, /restart or /quit.", "note")
