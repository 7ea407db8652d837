"""GameMemory: what is known of a game file, among it every exchange that was ever had with it.

A game of TextWorld has no chance in it, so the same commands from the start always give the same answers. The exchanges form a
tree from the start of the game; an episode that follows known branches needs no interpreter at all.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mise_gym.envs.game_logic import apply_command, load_game
from mise_gym.envs.interpreter import Exchange, InterpreterPool
from mise_gym.extras import require

_IDLE_INTERPRETERS: Final = 64
_MAX_NODES: Final = 100_000
"""Most exchanges remembered in this process, over all games; one costs about 2 kB."""
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

    Raises:
        GameFileError: The files are missing, broken or not TextWorld's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.game = load_game(path)
        self.inform7 = require("textworld.generator.inform7").Inform7Game(self.game)
        interpreter = INTERPRETERS.take(path)
        opening, self.snapshot = interpreter.begin()
        INTERPRETERS.give_back(interpreter)
        self.root = Node(Exchange(text=opening, score=0))
        self.size = 1
        """Nodes of the tree."""
        self._pristine: dict[bool, Any] = {}
        self._names: dict[str, str] = {}

    def beginning(self, track_quests: bool) -> Any:
        """Return a fresh tracker of the game's state (TextWorld's ``GameProgression``)."""
        if track_quests not in self._pristine:
            progression = require("textworld.generator.game").GameProgression
            self._pristine[track_quests] = progression(self.game, track_quests=track_quests)
        return self._pristine[track_quests].copy()

    def grow(self, parent: Node, command: str, node: Node) -> None:
        """Remember where a command leads."""
        parent.children[command] = node
        self.size += 1

    def forget(self) -> None:
        """Forget all exchanges."""
        self.root = Node(self.root.exchange)
        self.size = 1

    def commands_of(self, actions: Any) -> list[str]:
        """Return the commands of TextWorld's actions, each string kept once for the whole game."""
        return [self._names.setdefault(name, name) for name in self.inform7.gen_commands_from_actions(actions)]

    def walkthrough(self) -> list[str]:
        """Return the generator's own solution; empty if it left none."""
        metadata = self.game.metadata
        commands = metadata.get("walkthrough") or metadata.get("extras", {}).get("walkthrough")
        if not commands:
            commands = next((quest.commands for quest in reversed(self.game.quests) if quest.commands), [])
        return [str(command) for command in commands]

    def solution(self) -> list[str]:
        """Return commands that win from the start, without needless ones if possible; empty if none are known.

        In a cooking game: go and read the cookbook as the walkthrough does, then follow the plan from there, so that what is done
        follows from what was read. In any other game: the plan. Without a plan: the walkthrough.
        """
        progress, opening, walkthrough = self.beginning(True), [], self.walkthrough()
        if _READ in walkthrough:
            opening = [command for command in walkthrough[: walkthrough.index(_READ) + 1] if command != "inventory"]
            for command in opening:
                apply_command(progress, self.inform7, command)
        plan = self.commands_of(progress.winning_policy or ())
        return [*opening, *plan] if plan else walkthrough


class GameMemories:
    """The memories of this process; the least recently used games are forgotten when there are too many exchanges.

    Args:
        capacity: Most exchanges remembered.
        load: Makes the memory of a file.
    """

    def __init__(self, capacity: int, load: Callable[[Path], GameMemory]) -> None:
        self._capacity = capacity
        self._load = load
        self._memories: OrderedDict[Path, tuple[tuple[int, int], GameMemory]] = OrderedDict()

    def of(self, path: Path) -> GameMemory:
        """Return the memory of a game file as it is now; errors as ``GameMemory``."""
        version = _version(path)
        known, memory = self._memories.pop(path, (None, None))
        if memory is None or known != version:
            INTERPRETERS.forget(path)
            memory = self._load(path)
        self._memories[path] = (version, memory)
        self._make_room()
        return memory

    def _make_room(self) -> None:
        excess = sum(memory.size for _, memory in self._memories.values()) - self._capacity
        while excess > 0 and len(self._memories) > 1:
            excess -= self._memories.popitem(last=False)[1][1].size
        if excess > 0:
            next(iter(self._memories.values()))[1].forget()


MEMORIES: Final = GameMemories(_MAX_NODES, GameMemory)
"""The memories of this process."""


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # loading will say what is wrong
    return status.st_mtime_ns, status.st_size
