"""The Java machine of this process: one serves all its ScienceWorld environments and ends with the last of them."""

import atexit
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from mise_gym.envs.science.bridge.build import JAR
from mise_gym.envs.science.java import start_java
from mise_gym.envs.science.overlay import overlay_jar, simulator_jar
from mise_gym.envs.science.server import BridgeServer, PlainServer, Reply, Server
from mise_gym.errors import SimulatorCrashed
from mise_gym.extras import require

logger = logging.getLogger(__name__)

_STUCK_SECONDS: Final = 300.0
"""A machine that is silent for longer is given up. The slowest answer, a solution of mendelian genetics, takes 20 seconds."""
_FLAGS: Final = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xms32m", "-Xmx1g")
_STABLE_HASH_FLAGS: Final = ("-XX:+UnlockExperimentalVMOptions", "-XX:hashCode=2")
"""Repeatable too, but a third slower than the overlay."""

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class Machine:
    """A Java machine with the simulator, for any number of worlds.

    Any thread may call; the calls wait for each other.

    Args:
        use_bridge: Whether to answer through our bridge if it fits the simulator.

    Raises:
        MissingExtraError: scienceworld is not installed, or there is no Java.
        SimulatorCrashed: Java did not start.
    """

    def __init__(self, *, use_bridge: bool = True) -> None:
        gateways, self._protocol = require("py4j.java_gateway"), require("py4j.protocol")
        overlay, jar = overlay_jar(), simulator_jar()
        flags = _FLAGS if overlay else (*_FLAGS, *_STABLE_HASH_FLAGS)
        py4j = Path(gateways.find_jar_path())  # the simulator's jar has one too, an older one without tokens
        jars = [JAR] * use_bridge + ([overlay] if overlay else []) + [py4j, jar]
        java = start_java(flags, jars, jar.parent)
        self.process: subprocess.Popen[bytes] | None = java.process
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._worlds: set[int] = set()
        self._leaving: deque[int] = deque()
        parameters = gateways.GatewayParameters(port=java.port, auth_token=java.token, read_timeout=_STUCK_SECONDS)
        self._gateway = gateways.JavaGateway(gateway_parameters=parameters)
        self._server: Server = self._call(self._connect, use_bridge)

    @property
    def is_usable(self) -> bool:
        """Whether the machine runs and belongs to this process."""
        return self.process is not None and self._owner == os.getpid() and self.process.poll() is None

    @property
    def has_bridge(self) -> bool:
        """Whether answers come through our bridge."""
        return isinstance(self._server, BridgeServer)

    def open(self) -> int:
        """Make a world without a task; return its number."""

        def make() -> int:
            world = self._server.open()
            self._worlds.add(world)
            return world

        return self._call(make)

    def load(self, world: int, task: str, variation: int, simplifications: str, wanted: int) -> Reply:
        """Begin an episode and look around; errors as ``step``."""
        return self._call(self._server.load, world, task, variation, simplifications, wanted)

    def step(self, world: int, action: str, wanted: int) -> Reply:
        """Take one action.

        Args:
            world: Where.
            action: Text without lone surrogates.
            wanted: The sum of bits of ``server.EXTRAS``.

        Raises:
            SimulatorCrashed: The simulator failed, or the machine died, got stuck or belongs to another process.
        """
        return self._call(self._server.step, world, action, wanted)

    def gold(self, task: str, variation: int, simplifications: str) -> list[str]:
        """Compute the simulator's own solution: 0.05 to 20 seconds; errors as ``step``."""
        return self._call(self._server.gold, task, variation, simplifications)

    def leave(self, world: int) -> None:
        """Forget a world, and end the machine with the last one. May be called at any time, also by the garbage collector."""
        self._leaving.append(world)
        self._let_go()

    def end(self) -> None:
        """End the machine; a second call does nothing."""
        process = self._hang_up()
        if process is not None:
            process.kill()
            process.wait()

    def disown(self) -> None:
        """Forget, in a forked child, what belongs to the parent."""
        process = self._hang_up()
        if process is not None:
            process.returncode = 0  # there is nothing to wait for here

    def _hang_up(self) -> subprocess.Popen[bytes] | None:
        """Close this process's ends of what leads to the machine: it ends when all are closed."""
        process, self.process = self.process, None
        if process is not None:
            client = self._gateway._gateway_client
            client.is_connected = False  # so that Py4J does not report to the machine what Python's garbage collector finds
            for connection in list(client.deque):
                connection.socket.close()
            assert process.stdin is not None
            process.stdin.close()
        return process

    def _connect(self, use_bridge: bool) -> Server:
        try:
            server: Server = BridgeServer(self._gateway) if use_bridge else PlainServer(self._gateway)
        except (TypeError, self._protocol.Py4JJavaError) as error:
            logger.warning("ScienceWorld runs without the bridge, and slower: %s.", str(error).partition("\n")[0])
            server = PlainServer(self._gateway)
        self._answer_at_once()
        return server

    def _answer_at_once(self) -> None:
        """Turn off Nagle's algorithm in the machine: with it, answers beyond 8 kB take 40 ms more."""
        jvm = self._gateway.jvm
        field = jvm.java.lang.Class.forName("py4j.GatewayServer").getDeclaredField("connections")
        field.setAccessible(True)
        connections = field.get(self._gateway.java_gateway_server)
        for number in range(connections.size()):
            connections.get(number).getSocket().setTcpNoDelay(True)

    def _call(self, ask: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        self._check()  # before the lock too, which a thread may have held for ever when this process was forked
        try:
            with self._lock:
                return self._ask(ask, *args, **kwargs)
        finally:
            self._let_go()

    def _ask(self, ask: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        self._check()
        try:
            return ask(*args, **kwargs)
        except self._protocol.Py4JJavaError as error:
            reason = str(error.java_exception.toString())
            raise SimulatorCrashed(f"ScienceWorld failed: {reason}. Call reset() to go on.") from error
        except (self._protocol.Py4JError, OSError) as error:
            self.end()
            raise SimulatorCrashed("ScienceWorld's Java died or did not answer any more. Call reset() to go on.") from error
        except BaseException:
            self.end()  # an interrupted call leaves its answer behind, which the next one would take for its own
            raise

    def _check(self) -> None:
        if not self.is_usable:
            raise SimulatorCrashed("ScienceWorld's Java has ended, or belongs to another process. Call reset() to go on.")

    def _let_go(self) -> None:
        """Forget the worlds that were left, unless another thread or frame is calling: it will do so at its end."""
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                self._forget_worlds()
            finally:
                self._lock.release()

    def _forget_worlds(self) -> None:
        while self._leaving:
            world = self._leaving.popleft()
            if world in self._worlds:
                self._worlds.remove(world)
                if self._worlds and self.is_usable:
                    with suppress(SimulatorCrashed):  # what is left need not be told
                        self._ask(self._server.close, world)
        if not self._worlds:
            self.end()


_guard = threading.Lock()
_machine: Machine | None = None


def shared_machine() -> tuple[Machine, int]:
    """Return this process's machine, started if there is none, and a new world in it; errors as ``Machine``."""
    global _machine
    with _guard:
        if _machine is not None:
            with suppress(SimulatorCrashed):  # it has ended, perhaps just now with the last environment of another thread
                return _machine, _machine.open()
        _machine = Machine()
        return _machine, _machine.open()


def _end_shared() -> None:
    if _machine is not None:
        _machine.end()


def _after_fork() -> None:
    global _machine, _guard
    _guard = threading.Lock()
    if _machine is not None:
        _machine.disown()
        _machine = None


atexit.register(_end_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
