"""The shop through a real browser: the same as in process, and nothing left behind."""

import contextlib
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from mise_gym.envs.browser import Window
from mise_gym.envs.webshop import WebShopEnv
from mise_gym.envs.webshop_browser import LONGEST_QUERY, WebShopBrowserEnv
from mise_gym.errors import ConfigError, SimulatorCrashed
from tests.envs.test_contract import HOSTILE
from webshop_server.engine.generator import generate_catalogue

INFOS = ("admissible_commands", "clickables", "url", "score_parts")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("shop") / "catalogue"
    generate_catalogue(folder, 40)
    return str(folder)


@pytest.fixture(scope="module")
def env(catalogue: str) -> Iterator[WebShopBrowserEnv]:
    """One environment for many tests: starting a browser takes a second."""
    env = WebShopBrowserEnv(catalogue=catalogue, infos=INFOS, render_mode="rgb_array")
    yield env
    env.close()


def play(catalogue: str, episodes: range, **arguments: Any) -> tuple[list[Any], list[Any]]:
    """Return what random episodes look like through the browser and in process."""
    transcripts: tuple[list[Any], list[Any]] = ([], [])
    browser = WebShopBrowserEnv(catalogue=catalogue, infos=INFOS, **arguments)
    plain = WebShopEnv(catalogue=catalogue, infos=INFOS, **arguments)
    for seed in episodes:
        rng = random.Random(seed)
        actions = None
        first = [env.reset(seed=seed) for env in (browser, plain)]
        for turn in range(7):
            actions = first[1][1]["admissible_commands"] if turn == 0 else actions
            action = some_action(rng, actions or [], first[1][1]["task"])
            steps = [env.step(action) for env in (browser, plain)]
            for transcript, step in zip(transcripts, steps, strict=True):
                transcript.append((seed, action, step))
            actions = steps[1][4]["admissible_commands"]
            if steps[1][2]:
                break
        for transcript, start in zip(transcripts, first, strict=True):
            transcript.append(start)
    browser.close()
    return transcripts


def some_action(rng: random.Random, actions: list[str], task: str) -> str:
    """Choose a click with some bias towards products, a search, or now and then nonsense."""
    if rng.random() < 0.05:
        return rng.choice(["click[nothing]", "click[search]", "buy", "search[]", "Click[Buy Now]"])
    if "click[buy now]" in actions and rng.random() < 0.3:
        return "click[buy now]"
    choice = rng.choice(actions)
    if choice != "search[...]":
        return choice.upper().replace("CLICK", "click") if rng.random() < 0.1 else choice
    words = task.split()
    return f"search[{' '.join(rng.sample(words, rng.randint(1, min(6, len(words)))))}]"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("episodes", "arguments"),
    [
        (range(20), {}),
        (range(20, 40), {"observation_mode": "text_rich", "goals": "synthetic"}),
        (range(40, 52), {"observation_mode": "url", "quirks": "fixed", "show_attributes": True, "split": "test"}),
    ],
    ids=["text", "text_rich", "url"],
)
def test_random_episodes_are_the_same_as_in_process(catalogue: str, episodes: range, arguments: dict[str, Any]) -> None:
    browser, plain = play(catalogue, episodes, **arguments)

    assert browser == plain
    assert any(entry[2][2] for entry in plain if len(entry) == 3)


@pytest.mark.integration
def test_the_expert_buys_with_the_whole_reward(env: WebShopBrowserEnv) -> None:
    rewards = []
    for index in range(0, 80, 20):
        env.reset(options={"goal_index": index})
        rewards.append([env.step(action)[1] for action in env.expert_actions()][-1])

    assert rewards == [1.0] * 4


@pytest.mark.integration
def test_what_the_driver_runs_twice_is_done_once(env: WebShopBrowserEnv, catalogue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ChromeDriver runs a script again where the next page comes before the answer; "next" must not leaf two pages then."""
    run, moved = Window.run, "return location.href !== arguments[0] && document.readyState === 'complete'"

    def run_twice(window: Window, script: str, *arguments: Any) -> Any:
        is_action, address = len(arguments) == 2, run(window, "return location.href")
        found = run(window, script, *arguments)
        while is_action and not run(window, moved, address):
            time.sleep(0.01)
        return run(window, script, *arguments) if is_action else found

    plain = WebShopEnv(catalogue=catalogue, infos=INFOS)
    plain.reset(options={"goal_index": 0})
    env.reset(options={"goal_index": 0})
    monkeypatch.setattr(Window, "run", run_twice)
    seen = [
        (env.step(action)[0], plain.step(action)[0])
        for action in ("search[a]", "click[next >]", "click[next >]", "click[< prev]")
    ]

    assert [ours for ours, _ in seen] == [theirs for _, theirs in seen]
    assert len({ours for ours, _ in seen}) == 3


@pytest.mark.integration
@pytest.mark.parametrize("name", ["quotes", "page"])
def test_a_search_is_text_whatever_it_looks_like(env: WebShopBrowserEnv, catalogue: str, name: str) -> None:
    query = {"quotes": '"shoes" <b>\'&amp;%00+?#\\ \u2028 é 😀 \ud800', "page": "search_results page"}[name]
    plain = WebShopEnv(catalogue=catalogue)
    plain.reset(seed=1)
    env.reset(seed=1)

    assert env.step(f"search[{query}]")[0] == plain.step(f"search[{query}]")[0]


@pytest.mark.integration
def test_no_string_does_any_harm(env: WebShopBrowserEnv) -> None:
    env.reset(seed=3)
    expert = env.expert_actions()
    valid = [env.step(text)[4]["valid_action"] for text in [*HOSTILE.values(), f"search[{'x' * (LONGEST_QUERY + 1)}]"]]

    assert valid == [False] * (len(HOSTILE) + 1)
    assert [env.step(action)[1] for action in expert][-1] == 1.0


@pytest.mark.integration
def test_html_is_the_page_in_the_browser_and_the_same_each_time(catalogue: str) -> None:
    env = WebShopBrowserEnv(catalogue=catalogue, observation_mode="html")
    pages = [env.reset(seed=2)[0] for _ in range(2)]
    env.close()

    assert pages[0] == pages[1]
    assert 'id="search_input"' in pages[0]
    assert 'id="state"' not in pages[0]


@pytest.mark.integration
def test_a_picture_shows_the_window(env: WebShopBrowserEnv) -> None:
    env.reset(seed=1)
    first = env.render()
    env.step("search[shoes]")
    second = env.render()

    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    assert (first.dtype, first.shape[2], first.shape) == (np.uint8, 3, second.shape)
    assert first.shape[0] > 600
    assert (first != second).any()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An X server with a screen that nobody sees."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x1100x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with open(reading) as answer:
            display = f":{answer.readline().strip()}"
        monkeypatch.setenv("DISPLAY", display)
        yield display
        server.terminate()


def windows_on(screen: str, wanted: str = "") -> str:
    """Return what windows there are, as soon as ``wanted`` is among them: the name of a window follows its page."""
    command, deadline = ["xwininfo", "-root", "-tree", "-display", screen], time.monotonic() + 10
    while True:
        windows = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if wanted in windows or time.monotonic() > deadline:
            return windows
        time.sleep(0.05)


@pytest.mark.integration
def test_a_human_sees_a_window_that_follows_the_agent_and_goes_at_the_end(catalogue: str, screen: str) -> None:
    env = gym.make("mise/WebShopBrowser-v0", catalogue=catalogue, render_mode="human")
    before = windows_on(screen)
    env.reset(seed=1)
    at_the_start = windows_on(screen, "Search · Mise Market")
    env.step("search[shoes]")
    after_a_search = windows_on(screen, "“shoes” · Mise Market")
    env.close()

    assert "Mise Market" not in before
    assert re.search(r"Search · Mise Market.* 1280x1000\+", at_the_start)
    assert "“shoes” · Mise Market" in after_a_search
    assert "Mise Market" not in windows_on(screen)


@pytest.mark.integration
def test_environments_share_a_browser_and_have_a_window_each(env: WebShopBrowserEnv, catalogue: str) -> None:
    env.reset(seed=1)
    other = WebShopBrowserEnv(catalogue=catalogue)
    start, _ = other.reset(seed=2)
    env.step("search[shoes]")
    seen = other.step("nothing")[0]
    assert (other._shopper.window._browser, seen) == (env._shopper.window._browser, start)
    other.close()

    assert env.step("click[back to search]")[4]["valid_action"]


@pytest.mark.integration
def test_a_browser_that_was_killed_is_an_error_and_the_next_episode_has_a_new_one(catalogue: str) -> None:
    env = gym.make("mise/WebShopBrowser-v0", catalogue=catalogue)
    env.reset(seed=1)
    os.killpg(env.unwrapped._shopper.window._browser._guard.pid, signal.SIGKILL)
    with pytest.raises(SimulatorCrashed, match=r"reset\(\) starts a new one"):
        env.step("search[shoes]")
    _, info = env.reset(seed=1)
    env.close()

    assert info["turn"] == 0


@pytest.mark.integration
def test_closing_twice_leaves_nothing(catalogue: str) -> None:
    env = WebShopBrowserEnv(catalogue=catalogue, render_mode="ansi")
    env.reset(seed=1)
    window = env._shopper.window
    env.close()
    env.close()

    assert window._handle not in window._browser._windows
    assert "search" not in str(env.render())


ENDING = """
import os, signal, sys, threading, time
import gymnasium, mise_gym
env = gymnasium.make("mise/WebShopBrowser-v0", catalogue=sys.argv[1])
env.reset(seed=1)
browser = env.unwrapped._shopper.window._browser
print(browser._guard.pid, browser._profile, flush=True)
how = sys.argv[2]
if how == "error": raise RuntimeError("an error of the caller")
if how == "close": env.close()
if how == "Ctrl-C": os.kill(os.getpid(), signal.SIGINT)
if how == "SIGKILL": os.kill(os.getpid(), signal.SIGKILL)
if how == "os._exit": os._exit(3)
"""


def what_is_left(group: int, profile: str) -> list[str]:
    """Return what there is of a browser: its profile, and processes that know of it or are in its group."""
    left = [profile] if Path(profile).exists() else []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_dead = path.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not is_dead and (profile in path.joinpath("cmdline").read_text() or os.getpgid(int(path.name)) == group):
                left.append(path.joinpath("cmdline").read_text())
    return left


@pytest.mark.integration
@pytest.mark.parametrize("how", ["close", "the end", "error", "Ctrl-C", "os._exit", "SIGKILL"])
def test_no_process_and_no_file_is_left_however_python_ends(catalogue: str, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, catalogue, how], capture_output=True, text=True, check=False, timeout=120
    )
    group, profile = done.stdout.split()
    deadline = time.monotonic() + 5
    while (left := what_is_left(int(group), profile)) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert left == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chromium": "/no/such/chromium"}, "Chromium is not installed: there is no '/no/such/chromium'.*chromium="),
        ({"chromedriver": "/no/such/driver"}, "ChromeDriver is not installed.*apt install.*chromedriver="),
        ({"render_mode": "human"}, "needs a screen, and DISPLAY is not set"),
        ({"observation_mode": "txt"}, "Did you mean 'text'"),
        ({"catalogue": "/no/such/shop"}, "is not a catalogue"),
    ],
)
def test_what_cannot_work_is_said_when_the_environment_is_made(
    catalogue: str, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    with pytest.raises(ConfigError, match=message):
        WebShopBrowserEnv(**{"catalogue": catalogue, **arguments})


def test_a_program_that_is_no_driver_is_named(catalogue: str) -> None:
    with pytest.raises(ConfigError, match="'/bin/echo' is no working ChromeDriver; it said '--port=0'"):
        WebShopBrowserEnv(catalogue=catalogue, chromedriver="/bin/echo").reset()


REFUSING_DRIVER = """#!{python}
import http.server, json

class Driver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = "session not created: This version of ChromeDriver only supports Chrome version 99\\nCurrent version is 150"
        body = json.dumps({{"value": {{"error": "session not created", "message": text, "stacktrace": ""}}}}).encode()
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", 0), Driver)
print(f"ChromeDriver was started successfully on port {{server.server_port}}.", flush=True)
server.serve_forever()
"""


@pytest.mark.integration
def test_a_driver_of_another_version_is_explained(catalogue: str, tmp_path: Path) -> None:
    driver = tmp_path / "chromedriver"
    driver.write_text(REFUSING_DRIVER.format(python=sys.executable))
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)

    with pytest.raises(ConfigError, match=r"only supports Chrome version 99; Current version is 150\. Install Chromium"):
        WebShopBrowserEnv(catalogue=catalogue, chromedriver=str(driver)).reset()
