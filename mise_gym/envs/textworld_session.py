"""GameSession: one TextWorld game in the interpreter, with the facts of its world tracked beside it."""

import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.commands import Refusal, to_command
from mise_gym.envs.compiler import header_problem
from mise_gym.envs.game_logic import apply_command, load_game
from mise_gym.errors import GameFileError, SimulatorCrashed
from mise_gym.extras import require

_CRASHES: Final = (RuntimeError, OSError, UnicodeError, AttributeError, LookupError, ValueError, TypeError)
"""What the interpreter and the tracker raise when they lose their state."""
_EVENT = re.compile(r"\[[^\]]+\]\n?")
_SCORE = re.compile(r"<score>\s*(-?\d+)\s*</score>")
_TAGS = re.compile(r"<(score|moves)>.*?</\1>", re.DOTALL)
_STATUS_BAR = re.compile(r"\n>[^\n]*-= [^\n]*\s*\Z")
_READ: Final = "examine cookbook"
_WON: Final = "*** The End ***"
_LOST: Final = "*** You lost! ***"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What one command did."""

    text: str
    score: int
    is_won: bool = False
    is_lost: bool = False
    is_understood: bool = True


class GameSession:
    """One game file, loaded once and started as often as wanted.

    Args:
        path: A ``.z8`` file with its ``.json`` file beside it.

    Raises:
        GameFileError: The files are missing, broken or not TextWorld's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._game = load_game(path)
        self._inform7 = require("textworld.generator.inform7").Inform7Game(self._game)
        self._progression_class = require("textworld.generator.game").GameProgression
        self._interpreter = _load_interpreter(path)
        opening, _ = self._interpreter.reset()
        self._opening = _clean_opening(opening)
        self._interpreter.step("tw-trace-actions")
        self._interpreter.step("tw-extra-infos score")
        self._snapshot = self._interpreter.get_state()
        self._pristine: dict[bool, Any] = {}
        self._progress: Any = None
        self._policy: tuple[Any, ...] | None = None
        self._policy_before: tuple[Any, ...] | None = None
        self._last = Exchange(text=self._opening, score=0)

    @property
    def goal(self) -> str:
        """What the player is told to do."""
        return str(self._game.objective)

    @property
    def max_score(self) -> float:
        """The score of a perfect game."""
        return float(self._game.max_score)

    @property
    def walkthrough(self) -> list[str]:
        """The generator's own solution; empty if it left none."""
        metadata = self._game.metadata
        commands = metadata.get("walkthrough") or metadata.get("extras", {}).get("walkthrough")
        if not commands:
            commands = next((quest.commands for quest in reversed(self._game.quests) if quest.commands), [])
        return [str(command) for command in commands]

    def solution(self) -> list[str]:
        """Return commands that win from the start, without needless ones if possible; empty if none are known.

        In a cooking game: go and read the cookbook as the walkthrough does, then follow the plan from there, so that what is done
        follows from what was read. In any other game: the plan. Without a plan: the walkthrough.
        """
        progress, opening = self._beginning(True), []
        if _READ in self.walkthrough:
            opening = [command for command in self.walkthrough[: self.walkthrough.index(_READ) + 1] if command != "inventory"]
            for command in opening:
                apply_command(progress, self._inform7, command)
        plan = self._inform7.gen_commands_from_actions(progress.winning_policy or ())
        return [*opening, *plan] if plan else self.walkthrough

    def start(self, *, track_quests: bool) -> Exchange:
        """Return to the beginning of the game.

        Args:
            track_quests: Whether ``policy_commands`` and ``intermediate_reward`` will be asked for; costs 2-10 ms per command.
        """
        self._interpreter.set_state(self._snapshot)
        self._progress = self._beginning(track_quests)
        self._policy = self._policy_before = self._progress.winning_policy
        self._last = Exchange(text=self._opening, score=0)
        return self._last

    def _beginning(self, track_quests: bool) -> Any:
        """Return a fresh tracker of the game's state."""
        if track_quests not in self._pristine:
            self._pristine[track_quests] = self._progression_class(self._game, track_quests=track_quests)
        return self._pristine[track_quests].copy()

    def play(self, action: str) -> Exchange:
        """Apply one action of an agent.

        Raises:
            SimulatorCrashed: The interpreter or the tracker failed; this session must not be used again.
        """
        command = to_command(action)
        self._policy_before = self._policy
        if isinstance(command, Refusal):
            self._last = Exchange(text=command.text, score=self._last.score, is_understood=False)
            return self._last
        try:
            self._last = self._send(command)
        except _CRASHES as error:
            raise SimulatorCrashed(
                f"The game {self.path.name!r} died on the command {command!r} ({error!r}). Call reset() to go on."
            ) from error
        return self._last

    def _send(self, command: str) -> Exchange:
        raw = self._interpreter.step(command)[0]
        scores = _SCORE.findall(raw)
        events = [event.strip()[1:-1] for event in _EVENT.findall(raw)]
        for event in events:
            name, succeeded, _ = event.partition(" - succeeded")
            if succeeded and "(" not in name and ")" not in name:
                self._track(name)
        return Exchange(
            text=_clean(raw),
            score=int(scores[-1]) if scores else self._last.score,
            is_won=_WON in raw,
            is_lost=_LOST in raw,
            is_understood=bool(events),
        )

    def _track(self, event: str) -> None:
        action = self._inform7.detect_action(event, self._progress.valid_actions)
        if action is not None:
            self._progress.update(action)
            self._policy = self._progress.winning_policy

    def admissible_commands(self) -> list[str]:
        """Return every command that does something in the current state, sorted."""
        return sorted(set(self._inform7.gen_commands_from_actions(self._progress.valid_actions)))

    def policy_commands(self) -> list[str]:
        """Return commands that win from here; empty if the game cannot be won any more or has no such plan (``drop`` games)."""
        return list(self._inform7.gen_commands_from_actions(self._policy or ()))

    def intermediate_reward(self) -> int:
        """Return 1 if the last action came nearer to the end of the winning plan, -1 if it led away or lost, otherwise 0."""
        if self._last.is_won or self._last.is_lost:
            return 1 if self._last.is_won else -1
        if self._policy_before is None:
            return 0
        before, after = len(self._policy_before), len(self._policy or ())
        return (before > after) - (before < after)

    def facts(self) -> list[str]:
        """Return the facts of the world, with the names of things, sorted."""
        return sorted(str(self._inform7.get_human_readable_fact(fact)) for fact in self._progress.state.facts)

    def ask(self, command: str) -> str:
        """Return the answer to a command such as "look" without playing it."""
        state = self._interpreter.get_state()
        raw = self._interpreter.step(command)[0]
        self._interpreter.set_state(state)
        return _clean(raw)

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter.close()


class SessionPool:
    """Loaded games that no environment uses at the moment, the most recently used ones.

    Args:
        capacity: Most idle games kept; each costs about 2 MB.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._idle: OrderedDict[Path, GameSession] = OrderedDict()

    def take(self, path: Path) -> GameSession:
        """Return a session of this game for the caller alone; errors as ``GameSession``."""
        return self._idle.pop(path, None) or GameSession(path)

    def give_back(self, session: GameSession) -> None:
        """Keep a session for whoever wants its game next."""
        for outdated in (self._idle.pop(session.path, None), self._oldest()):
            if outdated is not None:
                outdated.close()
        self._idle[session.path] = session

    def _oldest(self) -> GameSession | None:
        return self._idle.popitem(last=False)[1] if len(self._idle) >= self._capacity else None


def _load_interpreter(path: Path) -> Any:
    """Load a story file, after making sure that it cannot take the process down."""
    try:
        problem = header_problem(path.read_bytes())
    except OSError as error:
        raise GameFileError(f"Cannot read the game {str(path)!r}: {error.strerror}. Check the path.") from error
    if problem:
        raise GameFileError(f"{str(path)!r} is not a playable game: {problem}. Copy the game again or make it anew.")
    jericho = require("jericho")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jericho.UnsupportedGameWarning)  # it means: not one of the classics it knows by heart
        return jericho.FrotzEnv(str(path))


def _clean(raw: str) -> str:
    """Drop what only the tracker reads, and empty lines beyond the first."""
    return re.sub(r"\n{3,}", "\n\n", _TAGS.sub("", _EVENT.sub("", raw))).strip()


def _clean_opening(raw: str) -> str:
    """Drop the logo in ASCII art and the status bar from the first text of a game."""
    lines = raw.rstrip().splitlines()
    art = [number for number, line in enumerate(lines) if "$$" in line]
    text = "\n".join(lines[art[-1] + 1 :] if art else lines)
    return _clean(_STATUS_BAR.sub("", text))
