"""``mise-gym relabel`` as a process that asks a server, is killed in the middle, and goes on without asking twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mise_gym.llm.cache import ReplyCache
from mise_gym.rewards.labels import labels_of
from mise_gym.rewards.rehearsal import RehearsalServer
from mise_gym.trajectories import read_episodes, write_episodes
from tests.rewards.episodes import episode

pytestmark = pytest.mark.slow

EPISODES, TURNS, BATCH, AT_ONCE = 40, 3, 10, 5
KEY = "sk-not-to-be-found-anywhere"
DONE = f"{EPISODES} episodes, {EPISODES * TURNS} turns: {EPISODES} judged, 0 failed; asked about"


@pytest.fixture
def server() -> Iterator[RehearsalServer]:
    with RehearsalServer(latency_seconds=0.1) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, server: RehearsalServer) -> list[str]:
    write_episodes(tmp_path / "in.jsonl", (episode(TURNS, name=f" {number}") for number in range(EPISODES)))
    return relabelling(tmp_path, server)


def relabelling(folder: Path, server: RehearsalServer, **settings: object) -> list[str]:
    arguments = {"model": "any", "base_url": server.base_url, "api_key": KEY, "limits": {"concurrency": AT_ONCE}, **settings}
    program = str(Path(sys.executable).with_name("mise-gym"))
    files = [str(folder / "in.jsonl"), str(folder / "out.jsonl")]
    return [program, "relabel", *files, "--batch", str(BATCH), "--judge", "http", "--judge-args", json.dumps(arguments)]


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def kill_after(command: list[str], server: RehearsalServer, requests: int) -> None:
    """Start a command and kill it when the server has answered so many requests."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(server.sound_scores) < requests:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def wait_until_idle(server: RehearsalServer) -> int:
    """Return how many requests have come, when none is under way any more."""
    while server._open_requests:
        time.sleep(0.01)
    return len(server.requests)


def test_a_killed_relabelling_asks_only_about_what_is_not_in_its_file(
    command: list[str], server: RehearsalServer, tmp_path: Path
) -> None:
    kill_after(command, server, requests=2 * BATCH + 1)
    kept = sum(1 for _ in read_episodes(tmp_path / "judging-out.jsonl"))
    before = wait_until_idle(server)
    shown = run(command)

    assert kept == 2 * BATCH
    assert len(server.requests) - before == EPISODES - kept
    assert f"{DONE} {EPISODES - kept} now." in shown


def test_with_a_cache_it_asks_only_about_what_no_reply_is_kept_of(
    command: list[str], server: RehearsalServer, tmp_path: Path
) -> None:
    command = relabelling(tmp_path, server, cache=str(tmp_path / "replies.db"))
    kill_after(command, server, requests=2 * BATCH + AT_ONCE + 1)
    before = wait_until_idle(server)
    with ReplyCache(tmp_path / "replies.db") as cache:
        kept = len(cache)
    run(command)

    assert kept > 2 * BATCH  # the batch that was under way counts too
    assert len(server.requests) - before == EPISODES - kept


def test_what_is_done_is_not_asked_again_and_what_is_there_is_what_was_answered(
    command: list[str], server: RehearsalServer, tmp_path: Path
) -> None:
    shown = run(command)
    assert f"{DONE} {EPISODES} now." in shown
    assert f"Judge http: {EPISODES} calls, " in shown
    assert server.most_at_once == AT_ONCE

    assert f"{DONE} 0 now." in run(command)
    assert len(server.requests) == EPISODES
    for judged in read_episodes(tmp_path / "out.jsonl"):
        labels = labels_of(judged)
        assert labels is not None
        assert labels.scores in server.sound_scores


def test_the_key_is_in_no_file_and_no_output(command: list[str], server: RehearsalServer, tmp_path: Path) -> None:
    command = relabelling(tmp_path, server, cache=str(tmp_path / "replies.db"))
    kill_after(command, server, requests=BATCH + 1)
    shown = run(command)

    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    written = [Path(folder) / name for folder, _, names in os.walk(tmp_path) for name in names]
    assert {"in.jsonl", "out.jsonl", "replies.db"} <= {path.name for path in written}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in shown
