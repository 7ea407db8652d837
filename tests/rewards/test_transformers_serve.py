"""The http judge against a real OpenAI-compatible server: ``transformers serve`` with a tiny model that is trained here."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import torch

from mise_gym.rewards import JudgeStatus
from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.judges.http_logprob import HttpLogprobJudge
from mise_gym.rewards.labels import labels_of
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.trajectories import read_episodes, write_episodes
from tests.rewards.episodes import episode

pytestmark = pytest.mark.slow

ANSWER = json.dumps({"turns": [{"turn": 1, "score": 0.75}, {"turn": 2, "score": 0.25}]})
CHAT = (
    "{% for message in messages %}<bos>{{ message['role'] }}\n{{ message['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<bos>assistant\n{% endif %}"
)
UPDATES = 60


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model that has learnt one thing: to answer a question about two turns in the format."""
    folder = tmp_path_factory.mktemp("judge")
    judge = HttpJudge("tiny", base_url="http://localhost/v1")
    questions = [judge._request(each, next(judge._windows(each))).messages for each in map(_two_turns, range(16))]
    tokenizer = train_tokenizer(["".join(part["content"] for part in question) + ANSWER for question in questions], 600)
    tokenizer.chat_template = CHAT
    model = build_tiny_model(tokenizer, TinyModelConfig(hidden_size=64, num_heads=4, intermediate_size=128), seed=0)
    _teach(model, tokenizer, questions)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _two_turns(number):
    rng = random.Random(number)
    return episode(2, name=f" {rng.randrange(1000)}", success=rng.random() < 0.5)


def _teach(model, tokenizer, questions):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    torch.manual_seed(0)
    answer = tokenizer.encode(ANSWER + "<eos>")
    for update in range(UPDATES):
        text = tokenizer.apply_chat_template(questions[update % len(questions)], tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([tokenizer.encode(text) + answer])
        labels = torch.full_like(ids, -100)
        labels[0, -len(answer) :] = ids[0, -len(answer) :]
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


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
    results = judge.judge([_two_turns(100), _two_turns(101)])
    assert [(result.status, result.scores) for result in results] == [(JudgeStatus.OK, (0.75, 0.25))] * 2
    assert results[0].tokens > 300
    assert judge.spent.calls == 2


def test_an_answer_about_other_turns_is_not_used(ask):
    (result,) = ask(repairs=0).judge([episode(5)])
    assert (result.status, result.scores) == (JudgeStatus.UNPARSABLE, None)


def test_an_answer_that_is_cut_is_not_used(ask):
    (result,) = ask(parameters={"max_tokens": 8}, repairs=0).judge([_two_turns(102)])
    assert result.status is JudgeStatus.UNPARSABLE
    assert "token limit" in result.message


def test_a_server_without_token_probabilities_gives_no_expected_scores(ask):
    (result,) = ask(HttpLogprobJudge, repairs=0).judge([_two_turns(103)])
    assert (result.status, result.scores) == (JudgeStatus.UNPARSABLE, None)


def test_a_model_that_is_not_there_is_an_error_that_says_so(ask, base_url):
    judge = HttpJudge("no/such-model", base_url=base_url, retry={"retries": 0})
    (result,) = judge.judge([_two_turns(104)])
    judge.close()
    assert (result.status, result.scores) == (JudgeStatus.ERROR, None)
    assert "no/such-model" in result.message


def test_the_command_relabel_asks_a_real_server_once_about_every_episode(base_url, model_folder, tmp_path):
    write_episodes(tmp_path / "in.jsonl", map(_two_turns, (105, 106, 107)))
    arguments = {"model": str(model_folder), "base_url": base_url, "parameters": {"max_tokens": 60}, "limits": {"concurrency": 2}}
    files = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    program = str(Path(sys.executable).with_name("mise-gym"))
    command = [program, "relabel", *files, "--judge", "http", "--judge-args", json.dumps(arguments)]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2))
    assert "3 episodes, 6 turns: 3 judged, 0 failed; asked about 3 now." in first
    assert "Judge http: 3 calls, " in first
    assert "asked about 0 now." in second
    assert [labels_of(judged).scores for judged in read_episodes(tmp_path / "out.jsonl")] == [(0.75, 0.25)] * 3
