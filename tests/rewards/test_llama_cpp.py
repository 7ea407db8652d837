"""The HTTP judges against a real OpenAI-compatible server that knows token probabilities and schemas: llama.cpp's own."""

import json
import re
import subprocess
import sys

import httpx
import numpy as np
import pytest
import torch

from mise_gym.llm.cache import ReplyCache
from mise_gym.llm.chat import ChatReply
from mise_gym.rewards import JudgeStatus
from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.judges.http_logprob import HttpLogprobJudge
from tests.rewards.episodes import episode
from tests.rewards.llama_server import write_gguf
from tests.rewards.taught import taught, two_turns

pytestmark = pytest.mark.slow

EPISODES = [two_turns(number) for number in range(100, 106)]
ANSWERS = [json.dumps({"turns": [{"turn": 1, "score": a}, {"turn": 2, "score": b}]}) for a, b in ((6, 1), (8, 2), (8, 4))]
"""What the model has learnt to say; it wavers between the digits."""


@pytest.fixture(scope="module")
def model():
    """The model and its tokenizer, with which the server's answers are computed again."""
    return taught(HttpLogprobJudge("tiny", base_url="http://localhost/v1"), ANSWERS)


@pytest.fixture(scope="module")
def base_url(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    write_gguf(folder / "tiny.gguf", *model)
    command = [sys.executable, "-m", "tests.rewards.llama_server", str(folder / "tiny.gguf")]
    with (
        open(folder / "log.txt", "wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        address = server.stdout.readline().strip()
        assert address, (folder / "log.txt").read_text()
        yield f"{address}/v1"
        server.stdin.close()  # which ends it


@pytest.fixture
def ask(base_url):
    judges = []

    def make(kind, **options):
        judges.append(kind("tiny", base_url=base_url, **{"parameters": {"max_tokens": 60}} | options))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()


def expected_scores(model, judge, asked, text):
    """Return the expected digits of an answer, from the logits of transformers and all tokens that there are."""
    weights, tokenizer = model
    messages = judge._request(asked, next(judge._windows(asked))).messages
    prompt = tokenizer.encode(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    answer = tokenizer.encode(text)
    with torch.no_grad():
        logits = weights(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double().softmax(-1)
    ends = torch.tensor([len(tokenizer.decode(answer[: end + 1])) for end in range(len(answer))])
    return tuple(
        _expected_digit(tokenizer, logits[position := int((ends > place).nonzero()[0])], answer[position])
        for place in (match.start(1) for match in re.finditer(r'"score": (\d)', text))
    )


def _expected_digit(tokenizer, probabilities, token):
    """Return the expected digit at a token such as " 7", divided by 9."""
    form = tokenizer.decode([token])
    ids = [tokenizer.encode(re.sub(r"\d", str(digit), form)) for digit in range(10)]
    masses = torch.tensor([probabilities[each[0]] if len(each) == 1 else 0.0 for each in ids], dtype=torch.double)
    return float(masses @ torch.arange(10.0, dtype=torch.double) / masses.sum() / 9)


def test_the_server_says_what_the_model_says(model, base_url):
    weights, tokenizer = model
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "temperature": 0, "logprobs": True}
    reply = httpx.post(f"{base_url}/chat/completions", json=body | {"top_logprobs": 5}, trust_env=False).json()
    told = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    text = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
    with torch.no_grad():
        logprobs = weights(input_ids=torch.tensor([tokenizer.encode(text)])).logits[0, -1].log_softmax(-1)
    best = logprobs.topk(5)
    assert [entry["id"] for entry in told] == best.indices.tolist()
    assert [entry["logprob"] for entry in told] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_expected_scores_are_those_of_the_models_logits(ask, model, tmp_path):
    judge = ask(HttpLogprobJudge, cache=tmp_path / "replies.db")
    results = judge.judge(EPISODES)
    with ReplyCache(tmp_path / "replies.db") as cache:
        keys = [judge._key(judge._request(each, next(judge._windows(each)))) for each in EPISODES]
        texts = [ChatReply.from_json(cache.get(key)).text for key in keys]
    expected = [expected_scores(model, judge, asked, text) for asked, text in zip(EPISODES, texts, strict=True)]
    written = [tuple(entry["score"] / 9 for entry in json.loads(text)["turns"]) for text in texts]
    assert [result.status for result in results] == [JudgeStatus.OK] * len(EPISODES)
    assert [result.scores for result in results] == [pytest.approx(scores, abs=1e-4) for scores in expected]
    assert max(abs(np.subtract(expected, written)).ravel()) > 0.05  # not merely what was written


def test_one_request_per_episode_is_enough_for_a_server_that_knows_schemas(ask):
    judge = ask(HttpLogprobJudge)
    judge.judge(EPISODES[:3])
    assert judge.spent.calls == 3
    assert judge._session.client._knows_schemas


def test_a_schema_fixes_the_shape_of_an_answer_and_turn_numbers_are_checked_here(ask):
    (result,) = ask(HttpJudge, parameters={"max_tokens": 400}).judge([episode(4)])
    assert (result.status, result.scores) == (JudgeStatus.UNPARSABLE, None)
    assert "The entries must be of the turns 1 to 4" in result.message


def test_a_question_that_is_too_long_for_the_server_is_an_error_that_says_so(ask):
    (result,) = ask(HttpJudge).judge([episode(40, task="Word " * 700)])
    assert (result.status, result.scores) == (JudgeStatus.ERROR, None)
    assert "exceed" in result.message
