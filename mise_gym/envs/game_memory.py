"""GameMemory: what is known of a game file, among it every exchange that was ever had with it.

A game of TextWorld has no chance in it, so the same commands from the start always give the same answers. The exchanges form a
tree from the start of the game; an episode that follows known branches needs no interpreter at all.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.game_logic import load_game
from mise_gym.envs.interpreter import Exchange, InterpreterPool, Interpreters, version_of
from mise_gym.envs.tracker import Rulebook

_IDLE_INTERPRETERS: Final = 64
_CAPACITY: Final = 100_000
"""Most moments remembered in this process, over all games; one costs 1 to 5 kB, depending on what is asked for."""
_GAME: Final = 250
"""What a game counts besides, in moments: its description takes 0.6 MB, and its rulebook up to as much."""
_READ: Final = "examine cookbook"

INTERPRETERS: Final = InterpreterPool(_IDLE_INTERPRETERS)
"""The idle interpreters of this process."""


@dataclass(slots=True)
class Node:
    """A moment of a game: what was last said, and where each command known so far leads."""

    exchange: Exchange
    events: tuple[str, ...] = ()
    """The events that led here, as the story reports them; they tell the tracker what has changed."""
    children: dict[str, "Node"] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    """What else was found out about this moment (admissible commands, plan, ...)."""


class GameMemory:
    """What is known of one game file.

    Args:
        path: A ``.z8`` file with its ``.json`` file beside it.
        interpreters: Where an interpreter for its opening comes from.

    Raises:
        GameFileError: The files are missing, broken or not TextWorld's.
        SimulatorCrashed: The story ended its interpreter, which ran in a process of its own.
    """

    def __init__(self, path: Path, interpreters: Interpreters) -> None:
        self.path = path
        self.rulebook = Rulebook(load_game(path))
        self.max_score = float(self.game.max_score)
        """The score of a perfect game; TextWorld adds it up anew whenever it is asked."""
        interpreter = interpreters.take(path)
        opening, self.snapshot = interpreter.begin()
        interpreters.give_back(interpreter)
        self.root = Node(Exchange(text=opening, score=0))
        self.size = _GAME
        """What this memory takes, in moments."""

    @property
    def game(self) -> Any:
        """TextWorld's description of the game."""
        return self.rulebook.game

    def forget(self) -> None:
        """Forget all exchanges."""
        self.root = Node(self.root.exchange)
        self.size = _GAME

    def walkthrough(self) -> list[str]:
        """Return the generator's own solution; empty if it left none."""
        commands = self.game.metadata.get("walkthrough")
        if not commands:
            commands = next((quest.commands for quest in reversed(self.game.quests) if quest.commands), [])
        return [str(command) for command in commands]

    def solution(self) -> list[str]:
        """Return commands that win from the start, without needless ones if possible; empty if none are known.

        In a cooking game: go and read the cookbook as the walkthrough does, then follow the plan from there, so that what is done
        follows from what was read. In any other game: the plan. Without a plan: the walkthrough.
        """
        progress, opening, walkthrough = self.rulebook.beginning(True), [], self.walkthrough()
        if _READ in walkthrough:
            opening = [command for command in walkthrough[: walkthrough.index(_READ) + 1] if command != "inventory"]
            self.rulebook.play(progress, opening)
        plan = self.rulebook.commands_of(progress.winning_policy or ())
        return [*opening, *plan] if plan else walkthrough


class GameMemories:
    """The memories of this process; what was not used for longest is forgotten when there is too much.

    Args:
        capacity: Most moments remembered.
        load: Makes the memory of a file.
    """

    def __init__(self, capacity: int, load: Callable[[Path, Interpreters], GameMemory]) -> None:
        self._capacity = capacity
        self._load = load
        self._memories: OrderedDict[Path, tuple[tuple[int, int], GameMemory]] = OrderedDict()
        self._size = 0

    def of(self, path: Path, interpreters: Interpreters = INTERPRETERS) -> GameMemory:
        """Return the memory of a game file as it is now; errors as ``GameMemory``."""
        version = version_of(path)
        known, memory = self._memories.pop(path, (None, None))
        if memory is not None:
            self._size -= memory.size
        if memory is None or known != version:
            memory = self._load(path, interpreters)
        self._memories[path] = (version, memory)
        self._size += memory.size
        self._make_room()
        return memory

    def grow(self, memory: GameMemory, parent: Node, command: str, node: Node) -> None:
        """Remember where a command leads, unless the game itself was forgotten meanwhile."""
        if self._memories.get(memory.path, (None, None))[1] is memory:
            parent.children[command] = node
            memory.size += 1
            self._size += 1
            self._make_room()

    def _make_room(self) -> None:
        while self._size > self._capacity and len(self._memories) > 1:
            self._size -= self._memories.popitem(last=False)[1][1].size
        if self._size > self._capacity:
            memory = next(iter(self._memories.values()))[1]
            memory.forget()
            self._size = memory.size


MEMORIES: Final = GameMemories(_CAPACITY, GameMemory)
"""The memories of this process."""
