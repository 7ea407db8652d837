"""What the simulator is asked, in two ways: through our bridge, one round trip a turn, or without it, several.

The calls of a server must not overlap. They raise what Py4J raises; ``machine`` turns that into our errors.
"""

import os
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mise_gym.extras import require

EXTRAS: Final = {"look": 1, "inventory": 2, "admissible_commands": 4, "task": 8}
"""What a reply can hold beyond the necessary -> the bit that asks for it."""
_SEPARATOR: Final = "\x1e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the simulator says about a moment."""

    text: str
    score: int
    """From 0 to 100; negative when the task has failed."""
    is_done: bool
    """Whether every goal is reached."""
    is_ambiguous: bool
    """Whether the parser waits for the number of one of several readings of the last input."""
    moves: int
    """The simulator's own clock."""
    error: str
    """What stopped the simulator for good; empty if nothing did."""
    extras: dict[str, str]
    """What was wanted, by its name in ``EXTRAS``."""


class Server(Protocol):
    """What a machine offers. A world is one episode at a time, with all that it changes."""

    def open(self) -> int:
        """Make a world without a task; return its number."""

    def load(self, world: int, task: str, variation: int, simplifications: str, wanted: int) -> Reply:
        """Begin an episode and look around."""

    def step(self, world: int, action: str, wanted: int) -> Reply:
        """Take one action."""

    def gold(self, task: str, variation: int, simplifications: str) -> list[str]:
        """Compute the simulator's own solution."""

    def close(self, world: int) -> None:
        """Forget a world."""


class BridgeServer:
    """The simulator through ``bridge.jar``.

    Args:
        gateway: A ``JavaGateway`` whose machine has the bridge on its class path.

    Raises:
        TypeError: It has not.
        Py4JError: It does not fit the simulator.
    """

    def __init__(self, gateway: Any) -> None:
        bridge = gateway.jvm.misegym.Bridge
        bridge.hush()
        self._open, self._load, self._step, self._gold, self._close = (
            getattr(bridge, name) for name in ("open", "load", "step", "gold", "close")
        )
        world = self.open()
        self.load(world, "boil", 0, "", sum(EXTRAS.values()))
        self.close(world)

    def open(self) -> int:
        """See ``Server``."""
        return int(self._open())

    def load(self, world: int, task: str, variation: int, simplifications: str, wanted: int) -> Reply:
        """See ``Server``."""
        return _parse(self._load(world, task, variation, simplifications, wanted), wanted)

    def step(self, world: int, action: str, wanted: int) -> Reply:
        """See ``Server``."""
        return _parse(self._step(world, action, wanted), wanted)

    def gold(self, task: str, variation: int, simplifications: str) -> list[str]:
        """See ``Server``."""
        return [line for line in self._gold(task, variation, simplifications).split("\n") if line]

    def close(self, world: int) -> None:
        """See ``Server``."""
        self._close(world)


def _parse(reply: str, wanted: int) -> Reply:
    score, is_done, is_ambiguous, moves, error, text, *extras = reply.split(_SEPARATOR)
    names = [name for name, bit in EXTRAS.items() if wanted & bit]
    return Reply(
        text=text,
        score=_percent(float(score)),
        is_done=is_done == "1",
        is_ambiguous=is_ambiguous == "1",
        moves=int(moves),
        error=error,
        extras=dict(zip(names, extras, strict=True)),
    )


def _percent(score: float) -> int:
    return round(100 * score)


@dataclass(kw_only=True)
class _PlainWorld:
    """One episode, with a copy of its own of what the simulator keeps for all episodes together."""

    server: Any
    random: Any
    agent: Any = None
    object_count: int = 0
    simplifications: str = ""


class PlainServer:
    """The simulator as it comes; the same answers as through the bridge, several round trips a turn.

    Args:
        gateway: A ``JavaGateway``.
    """

    def __init__(self, gateway: Any) -> None:
        jvm = gateway.jvm
        jvm.java.lang.System.setOut(jvm.java.io.PrintStream(os.devnull))
        self._jvm = jvm
        self._chance = jvm.java.lang.Class.forName("scala.util.Random").getDeclaredField("self")
        self._chance.setAccessible(True)
        self._chance_holder = jvm.java.lang.Class.forName("scala.util.Random$").getField("MODULE$").get(None)
        self._tie_breaks = jvm.java.util.Random(0)
        self._join = jvm.java.lang.String.join
        self._counter = jvm.util.UniqueIdentifier
        self._simplify = jvm.main.scala.scienceworld.runtime.SimplifierProcessor.parseSimplificationStr
        self._worlds: dict[int, _PlainWorld] = {}
        self._opened = 0
        self._active: _PlainWorld | None = None

    def open(self) -> int:
        """See ``Server``."""
        self._opened += 1
        self._worlds[self._opened] = self._make_world()
        return self._opened

    def load(self, world: int, task: str, variation: int, simplifications: str, wanted: int) -> Reply:
        """See ``Server``."""
        here = self._enter(self._worlds[world])
        self._begin(here, task, variation, simplifications, with_gold=False)
        return self.step(world, "look around", wanted)

    def step(self, world: int, action: str, wanted: int) -> Reply:
        """See ``Server``."""
        here = self._enter(self._worlds[world])
        text = here.server.step(action)
        readers = {
            "look": here.agent.freeActionLook,
            "inventory": here.agent.freeActionInventory,
            "admissible_commands": lambda: self._valid_actions(here),
            "task": here.agent.getTaskDescription,
        }
        return Reply(
            text=text,
            score=_percent(here.server.getScore()),
            is_done=here.server.getCompleted(),
            is_ambiguous=here.agent.inputParser().isInAmbiguousState(),
            moves=here.agent.getCurIterations(),
            error=here.agent.getErrorStateMessage() if here.agent.isInErrorState() else "",
            extras={name: readers[name]() for name, bit in EXTRAS.items() if wanted & bit},
        )

    def gold(self, task: str, variation: int, simplifications: str) -> list[str]:
        """See ``Server``."""
        here = self._make_world()
        self._begin(here, task, variation, simplifications, with_gold=True)
        self._active = None
        return [line for line in self._join("\n", here.server.getGoldActionSequence()).split("\n") if line]

    def close(self, world: int) -> None:
        """See ``Server``."""
        if self._worlds.pop(world) is self._active:
            self._active = None

    def _make_world(self) -> _PlainWorld:
        world = _PlainWorld(server=None, random=self._jvm.java.util.Random(0))
        self._enter(world)
        world.server = self._jvm.scienceworld.runtime.pythonapi.PythonInterface()  # draws random numbers
        return world

    def _begin(self, world: _PlainWorld, task: str, variation: int, simplifications: str, *, with_gold: bool) -> None:
        error = world.server.load(task, variation, simplifications, with_gold)
        if error:
            raise require("py4j.protocol").Py4JError(error)
        world.agent = world.server.agentInterface().get()
        world.simplifications = simplifications

    def _valid_actions(self, world: _PlainWorld) -> str:
        """Return them, one a line, without touching the episode's chance: ties between names are broken in one way."""
        self._tie_breaks.setSeed(0)
        self._chance.set(self._chance_holder, self._tie_breaks)
        try:
            return str(self._join("\n", world.server.getValidActionObjectCombinations()))
        finally:
            self._chance.set(self._chance_holder, world.random)

    def _enter(self, world: _PlainWorld) -> _PlainWorld:
        """Put a world's share of the simulator's global state in place."""
        if self._active is not world:
            if self._active is not None:
                self._active.object_count = self._counter.count()
            self._chance.set(self._chance_holder, world.random)
            getattr(self._counter, "count_$eq")(world.object_count)
            self._simplify(world.simplifications)
            self._active = world
        return world
