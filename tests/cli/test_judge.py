"""The command ``judge``: what a judge says of recorded episodes, at what cost, and what it would be asked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mise_gym.cli import main
from mise_gym.rewards import make_calibrator
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.rewards.rehearsal import RehearsalServer
from mise_gym.trajectories import write_episodes
from mise_gym.types import Episode, Transition

PRICES = {"input_price": 1000.0, "output_price": 1000.0}


@pytest.fixture
def file(tmp_path: Path) -> str:
    turns = (
        Transition(observation="A hall.", action="look", reward=0.0, next_observation="A hall."),
        Transition(observation="A hall.", action="go \x1b[2J east", reward=1.0, next_observation="Out.", progress=1.0),
    )
    facts = {"task": "Leave.", "progress": 1.0, "success": True, "terminated": True, "truncated": False}
    write_episodes(tmp_path / "in.jsonl", [Episode(transitions=turns, task_id=f"task {n}", **facts) for n in (1, 2, 3)])
    return str(tmp_path / "in.jsonl")


@pytest.fixture
def server() -> Iterator[RehearsalServer]:
    with RehearsalServer(scorer=lambda _: [0.25, 0.75]) as running:
        yield running


def over_http(server: RehearsalServer, **settings: object) -> list[str]:
    arguments = {"model": "m", "base_url": server.base_url, "budget": PRICES, "api_key": "sk-very-secret", **settings}
    return ["--judge", "http", "--judge-args", json.dumps(arguments)]


def test_every_turn_of_every_episode_is_shown_with_its_score(
    file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", file, *over_http(server)]) == 0

    shown = capsys.readouterr().out
    assert shown.count("  1 [0.25] > look\n") == shown.count("  2 [0.75] > go") == len(server.requests) == 3


def test_one_episode_is_asked_about_alone(file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", file, "--episode", "2", *over_http(server)]) == 0

    assert len(server.requests) == 1
    assert "episode 2 · won · progress 100% · 2 turns · mean score 0.50 · task 2" in capsys.readouterr().out


def test_the_cost_of_an_episode_is_shown(file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]) -> None:
    main(["judge", file, "--episode", "1", *over_http(server)])

    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith("ok: 1 calls, ")
    assert float(line.rpartition("cost ")[2]) > 0


def test_a_failure_is_shown_with_its_reason_and_is_the_exit_status(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with RehearsalServer(iter(["refusal"])) as server:
        assert main(["judge", file, *over_http(server)]) == 1

    shown = capsys.readouterr().out
    assert "judge http: no scores, refused. The model refused: 'I cannot help with that.'." in shown
    assert shown.count("\nok: ") == 2


def test_a_dry_run_shows_requests_and_estimate_and_sends_nothing(
    file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", file, "--dry-run", *over_http(server)]) == 0

    shown = capsys.readouterr().out
    assert shown.count(f"POST {server.base_url}/chat/completions\n") == shown.count('{"turn": 1, "action": "look"') == 3
    assert "requests: 3\n" in shown
    assert float(shown.rpartition("cost: ")[2]) > 0
    assert not server.requests


def test_the_prompt_that_is_shown_is_the_one_that_is_sent(
    file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["judge", file, "--episode", "1", "--show-prompt", *over_http(server)])

    shown = capsys.readouterr().out
    assert all(message["content"] in shown for message in server.requests[0]["messages"])


def test_neither_key_nor_escape_sequence_reaches_the_terminal(
    file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["judge", file, "--show-prompt", *over_http(server)])
    main(["judge", file, "--dry-run", *over_http(server)])

    shown = capsys.readouterr().out
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "text", ['{"api_key": "sk-very-secret" "model": "m"}', '["api_key", "sk-very-secret"]', "api_key=sk-very-secret"]
)
def test_arguments_that_cannot_be_read_are_shown_without_their_key(
    file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", file, "--judge", "http", "--judge-args", text]) == 2

    error = capsys.readouterr().err
    assert "JSON" in error
    assert "sk-very-secret" not in error


def test_without_a_calibrator_scores_earn_nothing(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["judge", file, "--episode", "1", "--judge", "constant"])

    shown = capsys.readouterr().out
    assert "environment +1.00 · total +1.00" in shown
    assert "c(s)" not in shown


def test_a_fixed_calibrator_makes_rewards_of_scores(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--judge", "constant", "--judge-args", '{"score": 1.0}', "--calibrator", "centred", "--w-hindsight", "0.5"]
    main(["judge", file, "--episode", "1", *words])

    assert "e +1.00  c(s) +1.00  r +1.50" in capsys.readouterr().out


@pytest.mark.parametrize("kept", ["calibrator", "pipeline", "checkpoint"])
def test_what_a_calibrator_has_learnt_decides_the_reward(
    file: str, tmp_path: Path, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrator = make_calibrator("outcome")
    for _ in range(500):
        calibrator.update([0.75], 0.0)  # a judge that praises what fails
        calibrator.update([0.25], 1.0)
    pipeline = RewardPipeline("constant", calibrator)
    states = {"calibrator": calibrator.state_dict(), "pipeline": pipeline.state_dict()}
    states["checkpoint"] = {"iteration": 3, "pipeline": states["pipeline"]}
    (tmp_path / "state.json").write_text(json.dumps(states[kept]))

    words = ["--judge", "constant", "--judge-args", '{"score": 0.75}', "--calibrator-state", str(tmp_path / "state.json")]
    assert main(["judge", file, "--episode", "1", *words]) == 0

    assert "c(s) -0.9" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"nothing": 1}'])
def test_a_file_without_a_state_is_refused_before_anything_is_asked(
    file: str, server: RehearsalServer, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state.json").write_text(text)

    assert main(["judge", file, "--calibrator-state", str(tmp_path / "state.json"), *over_http(server)]) == 2
    assert "state" in capsys.readouterr().err
    assert not server.requests


def test_an_episode_that_is_not_there_is_an_error(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", file, "--episode", "9"]) == 2

    assert "has no such episode" in capsys.readouterr().err


def test_a_judge_without_a_model_says_that_it_asks_none(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", file, "--episode", "1", "--dry-run"]) == 0

    shown = capsys.readouterr().out
    assert "The judge 'heuristic' asks no model." in shown
    assert "1 episodes, 2 turns." in shown


def test_an_ensemble_shows_the_requests_of_its_members(
    file: str, server: RehearsalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    member = {"judge": "http", "judge_kwargs": {"model": "m", "base_url": server.base_url}}
    words = ["--judge", "ensemble", "--judge-args", json.dumps({"judges": ["heuristic", member, member]})]
    assert main(["judge", file, "--episode", "1", "--dry-run", *words]) == 0

    assert capsys.readouterr().out.count("POST ") == 2
