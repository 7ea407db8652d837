"""A process that makes games: one JSON request per line on its input, one JSON answer per line on its output.

It is a process of its own because the order of sets, and with it the bytes of a game, depends on PYTHONHASHSEED, which must be
set before the interpreter starts; and because the shortcuts below replace functions of TextWorld, which must not leak.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from mise_gym.envs.compiler import Compiler
from mise_gym.envs.game_logic import fingerprint_of
from mise_gym.envs.tracker import apply_command
from mise_gym.errors import GameGenerationError, MiseError
from mise_gym.extras import require


class Workshop:
    """Makes one game after another; what they share is parsed once.

    Args:
        scratch: An existing folder for this process alone.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._compiler = Compiler.find(scratch)
        self._textworld = require("textworld")
        self._challenges = require("textworld.challenges").CHALLENGES
        self._inform7 = require("textworld.generator.inform7")
        _parse_once()
        _walk_without_compiling()

    def make(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make one game.

        Args:
            request: ``challenge``, ``settings`` and ``seed`` for the generator; ``stem``, the path of the files to write without
                their suffixes, or ``None`` to write none; ``share``, ``None`` or ``[index, total]``: refuse the game unless the
                hash of its content falls into this share.

        Returns:
            ``fingerprint`` (``None`` if there is no such game) and ``sha256`` of the files written, by suffix.
        """
        try:
            game = self._generate(request)
        except (ValueError, self._textworld.generator.QuestGenerationError):
            return {"fingerprint": None, "sha256": {}}
        document = game.serialize()
        document["KB"]["text_grammars_path"] = ""  # an absolute path of this machine, not needed to play
        fingerprint = fingerprint_of(document)
        if request["share"] is not None and int(fingerprint, 16) % request["share"][1] != request["share"][0]:
            return {"fingerprint": None, "sha256": {}}
        if request["stem"] is None:
            return {"fingerprint": fingerprint, "sha256": {}}
        story = self._compiler.compile(self._inform7.generate_inform7_source(game), self._scratch)
        files = {".json": json.dumps(document).encode(), ".z8": story}
        sums = {suffix: _write(Path(request["stem"] + suffix), content) for suffix, content in files.items()}
        return {"fingerprint": fingerprint, "sha256": sums}

    def _generate(self, request: Mapping[str, Any]) -> Any:
        options = self._textworld.GameOptions()
        options.seeds = request["seed"]
        if request["challenge"] == "custom":
            return self._generate_custom(request["settings"], options)
        _, make, _ = self._challenges[request["challenge"]]
        return make({**request["settings"], "seed": request["seed"]}, options)

    def _generate_custom(self, settings: Mapping[str, Any], options: Any) -> Any:
        """Make a game as ``tw-make custom`` does."""
        options.nb_rooms, options.nb_objects = settings["rooms"], settings["objects"]
        options.nb_parallel_quests = settings["quests"]
        options.quest_length, options.quest_breadth = settings["quest_length"], settings["quest_breadth"]
        options.grammar.theme, options.grammar.include_adj = settings["theme"], settings["adjectives"]
        return self._textworld.generator.make_game(options)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that other processes see all of it or nothing.

    Raises:
        GameGenerationError: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        advice = "free some space" if error.errno == errno.ENOSPC else "choose another folder"
        raise GameGenerationError(
            f"Cannot write {str(path)!r}: {error.strerror}. Please {advice} and run again; finished games are kept."
        ) from error


def _write(path: Path, content: bytes) -> str:
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def _parse_once() -> None:
    """Parse each file and expression of the game logic once per process instead of once per game."""
    logic: Any = require("textworld.logic")
    load: Callable[..., Any] = logic.GameLogic.load.__func__

    @functools.cache
    def load_once(paths: tuple[str, ...]) -> Any:
        return load(logic.GameLogic, paths)

    logic.GameLogic.load = classmethod(lambda _, paths: load_once(tuple(paths)))
    logic._parse_and_convert = functools.cache(logic._parse_and_convert)


def _walk_without_compiling() -> None:
    """Let ``GameMaker.set_walkthrough`` play on the game's logic instead of compiling the game and playing that."""
    maker = require("textworld.generator.maker")
    progression = require("textworld.generator.game").GameProgression
    inform7_game = require("textworld.generator.inform7").Inform7Game

    def set_walkthrough(self: Any, commands: list[str]) -> None:
        game = self.build()
        self._working_game = game
        inform7, progress = inform7_game(game), progression(game, track_quests=True)
        events = {event: event.copy() for quest in self.quests for event in quest.win_events}
        trackers = [tracker for quest in progress.quest_progressions for tracker in quest.win_events]
        actions: list[Any] = []
        action: Any = None
        for count, command in enumerate(commands, start=1):
            if progress.done:
                raise ValueError("Game has ended before finishing playing all commands.")
            waiting = [tracker for tracker in trackers if not tracker.triggered]
            action = (
                apply_command(progress, inform7, command) or action
            )  # a command without effect counts as the action before it
            actions.append(action)
            for tracker in waiting:
                if tracker.triggered:
                    events[tracker.event].actions = list(actions)
                    events[tracker.event].commands = commands[:count]
        for event, played in events.items():
            event.actions, event.commands = played.actions, played.commands

    maker.GameMaker.set_walkthrough = set_walkthrough


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until an empty line or the end of the input; an error of ours becomes the answer ``{"error": message}``."""
    with tempfile.TemporaryDirectory(prefix="mise_gym_") as scratch:
        workshop: Workshop | None = None
        for line in iter(requests.readline, ""):
            if not line.strip():
                return
            try:
                workshop = workshop or Workshop(Path(scratch))
                answer = workshop.make(json.loads(line))
            except MiseError as error:
                answer = {"error": str(error)}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    output = sys.stdout
    sys.stdout = sys.stderr  # whatever TextWorld prints must not mix with the answers
    serve(sys.stdin, output)
