"""GameSession: one player's way through a TextWorld game, with the facts of its world tracked beside the story."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.commands import Refusal, to_command
from mise_gym.envs.game_memory import INTERPRETERS, MEMORIES, Node
from mise_gym.envs.interpreter import Exchange, Interpreters, Story
from mise_gym.envs.tracker import Tracker
from mise_gym.errors import SimulatorCrashed

_CRASHES: Final = (RuntimeError, OSError, UnicodeError, AttributeError, LookupError, ValueError, TypeError)
"""What the interpreter and the tracker raise when they lose their state."""


class GameSession:
    """One player's way through a game.

    The session follows the tree of known exchanges. Only when it leaves the tree does it have the interpreter catch up, and only
    when it is asked for something about the world that is not known yet, the tracker.

    Args:
        path: A ``.z8`` file with its ``.json`` file beside it.
        memoise: Whether exchanges are remembered beyond this session, and known ones taken from memory.
        interpreters: Where the interpreter comes from.

    Raises:
        GameFileError: The files are missing, broken or not TextWorld's.
        SimulatorCrashed: The interpreter ended at the very start of the story.
    """

    def __init__(self, path: Path, *, memoise: bool = True, interpreters: Interpreters = INTERPRETERS) -> None:
        self.path = path
        self.refused_actions = 0
        """How many actions were answered here instead of being passed on."""
        self._interpreters = interpreters
        self._interpreter: Story | None = None
        with self._guarded("its opening"):
            self._memory = MEMORIES.of(path, interpreters)
        self._memoise = memoise
        self._node = self._before = self._memory.root if memoise else Node(self._memory.root.exchange)
        self._refusal: Exchange | None = None
        self._path: list[tuple[str, Node]] = []
        """Every command passed on so far, and where it led."""
        self._commands_sent = 0
        """How many commands of the path the interpreter has played."""
        self._tracker: Tracker | None = None
        self._events_tracked = 0
        """How many commands of the path the tracker has seen."""

    @property
    def goal(self) -> str:
        """What the player is told to do."""
        return str(self._memory.game.objective)

    @property
    def max_score(self) -> float:
        """The score of a perfect game."""
        return self._memory.max_score

    @property
    def exchange(self) -> Exchange:
        """What was said last."""
        return self._refusal or self._node.exchange

    def walkthrough(self) -> list[str]:
        """Return the generator's own solution; empty if it left none."""
        return self._memory.walkthrough()

    def solution(self) -> list[str]:
        """Return commands that win from the start, without needless ones if possible; empty if none are known."""
        return self._memory.solution()

    def play(self, action: str) -> Exchange:
        """Apply one action of an agent.

        Raises:
            SimulatorCrashed: The interpreter or the tracker failed; this session must not be used again.
        """
        command = to_command(action)
        self._before, self._refusal = self._node, None
        if isinstance(command, Refusal):
            self.refused_actions += 1
            self._refusal = Exchange(text=command.text, score=self._node.exchange.score, is_understood=False)
            return self._refusal
        following = self._node.children.get(command)
        if following is None:
            following = self._send(command)
            if self._memoise:
                MEMORIES.grow(self._memory, self._node, command, following)
        self._path.append((command, following))
        self._node = following
        return following.exchange

    def admissible_commands(self) -> list[str]:
        """Return every command that does something in the current state, sorted."""
        return list(self._find_out("admissible", lambda: self._tracked().commands()))

    def policy_commands(self) -> list[str]:
        """Return commands that win from here; empty if the game cannot be won any more or has no such plan (``drop`` games)."""
        return list(self._plan() or ())

    def intermediate_reward(self) -> int:
        """Return 1 if the last action came nearer to the end of the winning plan, -1 if it led away or lost, otherwise 0."""
        if self.exchange.is_won or self.exchange.is_lost:
            return 1 if self.exchange.is_won else -1
        before, after = self._plan_before(), self._plan()
        if before is None:
            return 0
        nearer, farther = len(before) > len(after or ()), len(before) < len(after or ())
        return nearer - farther

    def facts(self) -> list[str]:
        """Return the facts of the world, with the names of things, sorted."""
        return list(self._find_out("facts", lambda: self._tracked().facts()))

    def look(self) -> str:
        """Return the description of the room."""
        return str(self._find_out("look", lambda: self._ask("look")))

    def inventory(self) -> str:
        """Return what the player carries."""
        return str(self._find_out("inventory", lambda: self._ask("inventory")))

    def close(self) -> None:
        """Leave the interpreter to others; a second call does nothing."""
        if self._interpreter is not None:
            self._interpreters.give_back(self._interpreter)
            self._interpreter = None

    def _plan(self) -> list[str] | None:
        """Return the winning plan from here; ``None`` if there is none."""
        plan: list[str] | None = self._find_out("plan", lambda: self._tracked(quests=True).plan())
        return plan

    def _plan_before(self) -> list[str] | None:
        """Return the winning plan from where the last action was taken; ``None`` if there is none."""
        if "plan" not in self._before.known and self._before is not self._node:
            tracker = Tracker(self._memory.rulebook, track_quests=True)
            with self._guarded("tracking the world"):
                for _, node in self._path[:-1]:
                    tracker.follow(node.events)
            self._before.known["plan"] = tracker.plan()
        return self._plan() if self._before is self._node else self._before.known["plan"]

    def _find_out(self, what: str, read: Callable[[], Any]) -> Any:
        """Return something about the current moment, from memory if it was read before."""
        if what not in self._node.known:
            self._node.known[what] = read()
        return self._node.known[what]

    def _tracked(self, *, quests: bool = False) -> Tracker:
        """Return the tracker at the current moment, from now on with the quests if they are asked for."""
        if self._tracker is None or (quests and not self._tracker.track_quests):
            self._tracker = Tracker(self._memory.rulebook, track_quests=quests)
            self._events_tracked = 0
        with self._guarded("tracking the world"):
            for _, node in self._path[self._events_tracked :]:
                self._tracker.follow(node.events)
        self._events_tracked = len(self._path)
        return self._tracker

    def _send(self, command: str) -> Node:
        """Play a command that is not known yet."""
        with self._guarded(f"the command {command!r}"):
            exchange, events = self._played().send(command, self._node.exchange.score)
        self._commands_sent += 1
        return Node(exchange, events)

    def _ask(self, command: str) -> str:
        """Return the answer to a command without playing it."""
        with self._guarded(f"the command {command!r}"):
            return self._played().ask(command)

    def _played(self) -> Story:
        """Return the interpreter at the current moment."""
        if self._interpreter is None:
            self._interpreter = self._interpreters.take(self.path)
            self._interpreter.restore(self._memory.snapshot)
        for command, _ in self._path[self._commands_sent :]:
            self._interpreter.send(command, 0)
        self._commands_sent = len(self._path)
        return self._interpreter

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        """Report whatever the simulator raises as its crash, and use this interpreter no more."""
        try:
            yield
        except _CRASHES as error:
            self._interpreter = None
            raise SimulatorCrashed(f"The game {self.path.name!r} died on {doing} ({error}). Call reset() to go on.") from error
