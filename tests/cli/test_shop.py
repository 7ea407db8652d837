"""``mise-gym webshop serve``: what people do in the shop becomes episodes that the environment can play again."""

import argparse
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode
from urllib.request import urlopen

import gymnasium as gym
import pytest

import mise_gym  # noqa: F401  # registers mise/WebShop-v0
from mise_gym.cli import main
from mise_gym.cli import shop as ours
from mise_gym.cli.shop import VisitRecorder, episode_of
from mise_gym.envs.wrappers import replay
from mise_gym.trajectories import EpisodeWriter, read_episodes
from tests.webshop_server.shopper import Shopper
from tests.webshop_server.small_shop import small_catalogue
from webshop_server import command as theirs
from webshop_server.app import create_app
from webshop_server.config import ShopConfig
from webshop_server.past_visit import Errand, PastVisit
from webshop_server.storefront import Storefront

SETTINGS: dict[str, object] = {"quirks": "upstream", "show_attributes": False}
WAY = ["search[alderway trail shoes]", "click[b000000001]", "click[red]", "click[features]", "click[< prev]", "click[buy now]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_catalogue(tmp_path_factory.mktemp("shop")).folder


def buy_shoes(folder: Path, recorder: Callable[[PastVisit], None], way: list[str], **settings: object) -> Shopper:
    shopper = Shopper(create_app(ShopConfig(catalogue=folder, on_end=recorder, **settings)), goal=1)  # type: ignore[arg-type]
    for action in way:
        shopper.act(action)
    return shopper


def test_a_visit_is_recorded_and_the_environment_plays_it_again_with_equal_rewards(folder: Path, tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "people.jsonl") as writer:
        shopper = buy_shoes(folder, VisitRecorder(writer, SETTINGS), WAY)
    (episode,) = read_episodes(tmp_path / "people.jsonl")
    env = gym.make("mise/WebShop-v0", catalogue=str(folder), **episode.extra["settings"])

    assert replay(env, episode) == episode
    assert (episode.task_id, episode.progress, episode.terminated) == ("human-1", shopper.state["reward"], True)
    assert [turn.action for turn in episode.transitions] == WAY
    env.close()


def test_a_visit_without_a_purchase_is_recorded_as_truncated_and_can_be_played_judged_and_viewed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people, judged = tmp_path / "people.jsonl", tmp_path / "judged.jsonl"
    with EpisodeWriter(people) as writer:
        shopper = buy_shoes(folder, VisitRecorder(writer, SETTINGS), WAY[:-1])
        shopper.client.application.extensions["storefront"].close()
    (episode,) = read_episodes(people)
    env = gym.make("mise/WebShop-v0", catalogue=str(folder), **episode.extra["settings"])

    assert (episode.progress, episode.success, episode.terminated, episode.truncated) == (0.0, False, False, True)
    assert episode.extra["ending"] == "closed"
    assert replay(env, episode) == replace(episode, truncated=False)
    assert main(["relabel", str(people), str(judged), "--judge", "heuristic", "--quiet"]) == 0
    assert len(next(read_episodes(judged)).extra["mise"]["scores"]) == len(WAY) - 1
    assert main(["view", str(judged)]) == 0
    assert "click[features]" in capsys.readouterr().out
    env.close()


def test_visits_that_end_at_the_same_time_are_written_one_after_the_other(folder: Path) -> None:
    class SlowDisk:
        path = Path("people.jsonl")
        num_writing = 0
        written: ClassVar[list[int]] = []

        def write(self, episode: object) -> None:
            self.num_writing += 1
            time.sleep(0.01)
            self.written.append(self.num_writing)
            self.num_writing -= 1

    purchases: list[PastVisit] = []
    buy_shoes(folder, purchases.append, WAY[:2] + WAY[-1:])
    recorder = VisitRecorder(SlowDisk(), SETTINGS)  # type: ignore[arg-type]  # a writer with a slow disk
    threads = [threading.Thread(target=recorder, args=purchases) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert SlowDisk.written == [1, 1, 1, 1]


def test_a_goal_given_in_full_can_be_played_again(folder: Path) -> None:
    purchases: list[PastVisit] = []
    front = Storefront(ShopConfig(catalogue=folder, on_end=purchases.append))
    visit, step = front.open_visit(Errand(goal=front.errand("human", 1).goal)), 0
    for action in WAY:
        step = visit.act(step, action).step
    episode = episode_of(purchases[0], SETTINGS)
    env = gym.make("mise/WebShop-v0", catalogue=str(folder))

    assert [turn.reward for turn in replay(env, episode).transitions] == [turn.reward for turn in episode.transitions]
    env.close()


def test_a_full_disk_is_told_and_the_shop_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class FullDisk:
        path = Path("people.jsonl")

        def write(self, episode: object) -> None:
            raise OSError(28, "No space left on device")

    shopper = buy_shoes(folder, VisitRecorder(FullDisk(), SETTINGS), WAY)  # type: ignore[arg-type]  # a writer whose disk is full

    assert shopper.state["done"]
    assert capsys.readouterr().err == "mise-gym: A visit could not be recorded: No space left on device: 'people.jsonl'.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--catalogue", "/no/such/folder"], "'/no/such/folder' is not a catalogue"),
        (["--record", "people.txt"], "Recorded episodes end in .jsonl or .jsonl.gz; 'people.txt' does not. Rename it."),
        (["--host-name", "http://shop"], "The host name is 'http://shop'; it must be a bare name"),
        (["--port", "70000"], "The port is 70000"),
    ],
)
def test_bad_input_is_answered_with_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["webshop", "serve", "--port", "0", "--catalogue", str(folder), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mise-gym: ")
    assert error.count("\n") == 1
    assert sentence in error


@pytest.mark.integration
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_records_and_ends_when_told_to(folder: Path, tmp_path: Path, how: signal.Signals) -> None:
    record = tmp_path / "people.jsonl"
    command = [sys.executable, "-c", "import sys; from mise_gym.cli import main; sys.exit(main())", "webshop", "serve"]
    words = ["--port", "0", "--catalogue", str(folder), "--record", str(record)]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        with urlopen(f"{found[0]}/visits", urlencode({"goal": "0"}).encode()) as response:
            first = response.url.rpartition("/")[0]
        urlopen(f"{first}/0/search?q=tea").close()
        urlopen(f"{first}/1/click?name=b000000003").close()
        urlopen(f"{first}/2/buy", b"").close()
        with urlopen(f"{found[0]}/visits", urlencode({"goal": "1"}).encode()) as response:
            urlopen(f"{response.url.rpartition('/')[0]}/0/search?q=boots").close()
        process.send_signal(how)
        output, errors = process.communicate(timeout=30)

    assert (output, errors, process.returncode) == ("The shop is closed.\n", "", 0)
    assert [[turn.action for turn in episode.transitions] for episode in read_episodes(record)] == [
        ["search[tea]", "click[b000000003]", "click[buy now]"],
        ["search[boots]"],
    ]


def test_the_options_of_both_commands_are_the_same_but_for_recording() -> None:
    options = []
    for module in (ours, theirs):
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        options.append({action.dest for action in parser._actions})

    assert options[0] - options[1] == {"record"}
