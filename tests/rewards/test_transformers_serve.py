"""The http judge against a real OpenAI-compatible server: ``transformers serve`` with a tiny model that is trained here."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from mise_gym.rewards import JudgeStatus
from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.judges.http_logprob import HttpLogprobJudge
from mise_gym.rewards.labels import labels_of
from mise_gym.trajectories import read_episodes, write_episodes
from tests.rewards.episodes import episode
from tests.rewards.taught import taught, two_turns

pytestmark = pytest.mark.slow

ANSWER = json.dumps({"turns": [{"turn": 1, "score": 0.75}, {"turn": 2, "score": 0.25}]})


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model that has learnt one thing: to answer a question about two turns in the format."""
    folder = tmp_path_factory.mktemp("judge")
    model, tokenizer = taught(HttpJudge("tiny", base_url="http://localhost/v1"), [ANSWER])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base_url(model_folder):
    """The address of the server, which is ended by its process id."""
    port = _free_port()
    command = [Path(sys.executable).with_name("transformers"), "serve", model_folder, "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(model_folder / "log.txt", "wb") as log:
        server = subprocess.Popen([*command, "--device", "cpu"], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_it_answers(server, f"http://127.0.0.1:{port}/health", model_folder / "log.txt")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(timeout=30)


def _free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_it_answers(server, url, log):
    for _ in range(1200):
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture
def ask(base_url, model_folder):
    judges = []

    def make(kind=HttpJudge, **options):
        settings = {"parameters": {"max_tokens": 60}, "limits": {"concurrency": 1}}
        judges.append(kind(str(model_folder), base_url=base_url, **settings | options))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()


def test_a_real_server_is_asked_and_its_answer_becomes_scores(ask):
    judge = ask()
    results = judge.judge([two_turns(100), two_turns(101)])
    assert [(result.status, result.scores) for result in results] == [(JudgeStatus.OK, (0.75, 0.25))] * 2
    assert results[0].tokens > 300
    assert judge.spent.calls == 2


def test_an_answer_about_other_turns_is_not_used(ask):
    (result,) = ask(repairs=0).judge([episode(5)])
    assert (result.status, result.scores) == (JudgeStatus.UNPARSABLE, None)


def test_an_answer_that_is_cut_is_not_used(ask):
    (result,) = ask(parameters={"max_tokens": 8}, repairs=0).judge([two_turns(102)])
    assert result.status is JudgeStatus.UNPARSABLE
    assert "token limit" in result.message


def test_a_server_without_token_probabilities_gives_no_expected_scores(ask):
    (result,) = ask(HttpLogprobJudge, repairs=0).judge([two_turns(103)])
    assert (result.status, result.scores) == (JudgeStatus.UNPARSABLE, None)


def test_a_model_that_is_not_there_is_an_error_that_says_so(ask, base_url):
    judge = HttpJudge("no/such-model", base_url=base_url, retry={"retries": 0})
    (result,) = judge.judge([two_turns(104)])
    judge.close()
    assert (result.status, result.scores) == (JudgeStatus.ERROR, None)
    assert "no/such-model" in result.message


def test_the_command_relabel_asks_a_real_server_once_about_every_episode(base_url, model_folder, tmp_path):
    write_episodes(tmp_path / "in.jsonl", map(two_turns, (105, 106, 107)))
    arguments = {"model": str(model_folder), "base_url": base_url, "parameters": {"max_tokens": 60}, "limits": {"concurrency": 2}}
    files = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    program = str(Path(sys.executable).with_name("mise-gym"))
    command = [program, "relabel", *files, "--judge", "http", "--judge-args", json.dumps(arguments)]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2))
    assert "3 episodes, 6 turns: 3 judged, 0 failed; asked about 3 now." in first
    assert "Judge http: 3 calls, " in first
    assert "asked about 0 now." in second
    assert [labels_of(judged).scores for judged in read_episodes(tmp_path / "out.jsonl")] == [(0.75, 0.25)] * 3
