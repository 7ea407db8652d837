"""The interpreter in a process of its own: whatever happens there, this process goes on and leaves nothing behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs import textworld_session
from mise_gym.envs.game_memory import INTERPRETERS, GameMemories, GameMemory
from mise_gym.envs.games import make_game
from mise_gym.envs.interpreter import Interpreter
from mise_gym.envs.isolation import IsolatedInterpreter, IsolatedInterpreters
from mise_gym.errors import ConfigError, GameFileError, SimulatorCrashed, UnknownNameError

pytestmark = pytest.mark.integration

EVERYTHING = ("admissible_commands", "look", "inventory", "facts")


@pytest.fixture(scope="module")
def game() -> Path:
    return make_game("recipe1+take1+cook+cut+open", "train", 0)


@pytest.fixture
def home() -> Iterator[IsolatedInterpreters]:
    home = IsolatedInterpreters(timeout_seconds=1.0)
    yield home
    home.close()


@pytest.fixture
def story(home: IsolatedInterpreters, game: Path) -> IsolatedInterpreter:
    story = home.take(game)
    story.begin()
    return story


def make(game: Path, **kwargs: Any) -> gym.Env[str, str]:
    return gym.make("mise/FTWP-v0", games=game, isolate="process", memoise=False, **kwargs).unwrapped


def is_gone(process: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


class TestTheProcess:
    def test_a_crash_of_the_c_code_is_an_error_here(self, story: IsolatedInterpreter) -> None:
        with pytest.raises(SimulatorCrashed, match=f"ended with status {-signal.SIGSEGV}"):
            story.send("look\x00x", 0)

    def test_an_endless_loop_of_the_c_code_is_an_error_here(self, story: IsolatedInterpreter) -> None:
        with pytest.raises(SimulatorCrashed, match="did not answer within 1 seconds"):
            story.send("\x00", 0)

    def test_an_error_of_python_there_is_told_here(self, story: IsolatedInterpreter) -> None:
        with pytest.raises(SimulatorCrashed, match="UnicodeEncodeError"):
            story.send("\ud800", 0)

    def test_after_a_crash_the_next_request_finds_a_new_process(self, story: IsolatedInterpreter) -> None:
        with pytest.raises(SimulatorCrashed):
            story.send("look\x00x", 0)
        story.begin()
        assert story.send("wait", 0)[0].text == "Time passes."

    def test_it_tells_the_same_story_as_an_interpreter_here(self, story: IsolatedInterpreter, game: Path) -> None:
        here = Interpreter(game)
        assert here.begin()[0] == story.begin()[0]
        commands = ["open fridge", "examine cookbook", "xyzzy"]
        assert [here.send(command, 0) for command in commands] == [story.send(command, 0) for command in commands]
        assert here.ask("look") == story.ask("look")

    def test_a_snapshot_can_be_handed_from_one_process_to_another(self, story: IsolatedInterpreter, game: Path) -> None:
        here = Interpreter(game)
        _, snapshot = here.begin()
        story.send("open fridge", 0)
        story.restore(snapshot)
        assert story.send("open fridge", 0) == here.send("open fridge", 0)

    def test_a_file_that_is_no_game_is_explained_and_harms_nobody(self, home: IsolatedInterpreters, tmp_path: Path) -> None:
        (tmp_path / "a.z8").write_bytes(b"no game")
        with pytest.raises(GameFileError, match="is not a playable game"):
            home.take(tmp_path / "a.z8").begin()
        assert home.process_id is not None

    def test_it_does_not_start_before_it_is_needed(self, home: IsolatedInterpreters, game: Path) -> None:
        home.take(game)
        assert home.process_id is None

    def test_closing_ends_it_and_closing_twice_is_harmless(self, home: IsolatedInterpreters, story: IsolatedInterpreter) -> None:
        process = home.process_id
        home.close()
        home.close()
        assert process is not None
        assert is_gone(process)


class TestTheEnvironment:
    def test_it_plays_like_the_environment_without_isolation(self, game: Path) -> None:
        isolated, plain = make(game, infos=EVERYTHING), gym.make("mise/FTWP-v0", games=game, infos=EVERYTHING, memoise=False)
        actions = ["xyzzy", "look. look", *isolated.expert_actions()] if isolated.reset() and plain.reset() else []
        assert [isolated.step(action) for action in actions] == [plain.step(action) for action in actions]
        isolated.close()

    def test_a_crash_ends_the_episode_and_reset_begins_the_next(self, game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        env = make(game)
        first, _ = env.reset()
        with monkeypatch.context() as unguarded:
            unguarded.setattr(textworld_session, "to_command", str)
            with pytest.raises(SimulatorCrashed, match=r"died on the command 'look\\x00x' .*status -11.*Call reset\(\)"):
                env.step("look\x00x")
        assert env.reset()[0] == first
        assert env.step("wait")[0] == "Time passes."
        env.close()

    def test_an_info_that_nobody_answers_ends_the_episode_too(self, game: Path) -> None:
        env = make(game)
        env.reset()
        env.step("wait")
        os.kill(env._interpreters.process_id, signal.SIGKILL)
        with pytest.raises(SimulatorCrashed, match="died on the command 'inventory'"):
            env.find_out("inventory")
        env.reset()
        assert env.find_out("inventory") == "You are carrying nothing."
        env.close()

    def test_a_story_that_dies_at_its_opening_is_an_error_of_reset(self, game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def die(*_: Any) -> None:
            raise SimulatorCrashed("the interpreter's process ended with status 1")

        env = make(game)
        with monkeypatch.context() as patched:
            patched.setattr(textworld_session, "MEMORIES", GameMemories(1000, GameMemory))
            patched.setattr(IsolatedInterpreter, "begin", die)
            with pytest.raises(SimulatorCrashed, match=r"died on its opening .*ended with status 1"):
                env.reset()
        assert env.reset()
        env.close()

    def test_no_process_is_left_after_the_environment_is_forgotten(self, game: Path) -> None:
        env = make(game)
        env.reset()
        env.step("wait")
        process = env._interpreters.process_id
        del env
        gc.collect()
        assert is_gone(process)

    @pytest.mark.parametrize("busy", [False, True], ids=["waiting", "in an endless loop"])
    def test_no_process_is_left_after_python_was_killed(self, game: Path, busy: bool) -> None:
        parent = subprocess.Popen([sys.executable, "-c", KILLED, str(game), str(busy)], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
        parent.communicate()
        assert is_gone(process)

    def test_a_forked_process_does_not_disturb_the_episode_and_begins_its_own(self, game: Path) -> None:
        done = subprocess.run([sys.executable, "-c", FORKED, str(game)], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == ["child: SimulatorCrashed", "child: Time passes.", "parent: Time passes."], done.stderr

    def test_a_vector_of_processes_plays_it(self, game: Path) -> None:
        envs = gym.make_vec("mise/FTWP-v0", num_envs=2, vectorization="async", games=str(game), isolate="process")
        envs.reset(seed=[1, 2])
        observations, *_ = envs.step(("wait", "wait"))
        envs.close()
        assert observations == ("Time passes.",) * 2

    def test_the_spec_survives_json(self, game: Path) -> None:
        spec = gym.make("mise/FTWP-v0", games=str(game), isolate="process", timeout_seconds=3).spec
        assert gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json())).unwrapped._interpreters is not INTERPRETERS

    def test_another_isolation_is_refused(self) -> None:
        with pytest.raises(UnknownNameError, match=r"No isolation named 'proces'\. Did you mean 'process'"):
            gym.make("mise/FTWP-v0", isolate="proces")

    @pytest.mark.parametrize("seconds", [0, -1.0])
    def test_a_time_limit_of_nothing_is_refused(self, seconds: float) -> None:
        with pytest.raises(ConfigError, match="it must be above 0"):
            gym.make("mise/FTWP-v0", isolate="process", timeout_seconds=seconds)


FORKED = """
import os, sys
import gymnasium as gym
import mise_gym
from mise_gym.errors import SimulatorCrashed
env = gym.make("mise/FTWP-v0", games=sys.argv[1], isolate="process", memoise=False).unwrapped
env.reset()
env.step("wait")
child = os.fork()
if child == 0:
    try:
        env.step("wait")
    except SimulatorCrashed as error:
        print("child:", type(error).__name__)
    env.reset()
    print("child:", env.step("wait")[0], flush=True)
    env.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent:", env.step("wait")[0])
env.close()
"""
KILLED = """
import sys, time
from pathlib import Path
from mise_gym.envs.isolation import IsolatedInterpreters
home = IsolatedInterpreters(60)
story = home.take(Path(sys.argv[1]))
story.begin()
print(home.process_id, flush=True)
story.send("\\x00", 0) if sys.argv[2] == "True" else time.sleep(60)
"""
