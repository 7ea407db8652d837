"""The commands ``relabel`` and ``diff``."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from mise_gym.cli import main
from mise_gym.rewards import JudgeResult
from mise_gym.rewards.labels import labels_of
from mise_gym.trajectories import read_episodes, write_episodes
from mise_gym.types import Episode, Transition

ROOT = Path(__file__).parents[2]


class PricedJudge:
    """Says beforehand what it would cost."""

    name = "priced"

    def judge(self, episodes: list[Episode]) -> list[JudgeResult]:
        raise AssertionError("a dry run asks nobody")

    def estimate(self, episodes: list[Episode]) -> str:
        return f"{len(episodes)} pennies"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    turns = [
        Transition(observation="A hall.", action="look", reward=0.0, next_observation="A hall."),
        Transition(observation="A hall.", action="go east", reward=1.0, next_observation="Out.", progress=1.0),
    ]
    facts = {"task": "Leave.", "progress": 1.0, "success": True, "terminated": True, "truncated": False}
    write_episodes(
        tmp_path / "in.jsonl", [Episode(transitions=tuple(turns), task_id=str(number), **facts) for number in range(6)]
    )
    return tmp_path / "in.jsonl"


def test_relabel_says_what_it_did(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relabel", str(source), str(source.with_name("out.jsonl")), "--judge", "heuristic"]) == 0

    shown = capsys.readouterr().out
    assert "6 episodes, 12 turns: 6 judged, 0 failed; asked about 6 now." in shown


def test_relabel_hands_the_arguments_on(source: Path) -> None:
    target = source.with_name("out.jsonl")
    words = [
        "--judge",
        "constant",
        "--judge-args",
        '{"score": 0.75}',
        "--calibrator",
        "centred",
        "--w-env",
        "2",
        "--w-hindsight",
        "3",
    ]
    assert main(["relabel", str(source), str(target), *words]) == 0

    labels = labels_of(next(read_episodes(target)))
    assert labels is not None
    assert (labels.scores, labels.step_rewards) == ((0.75, 0.75), (1.5, 3.5))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--judge", "heuristc"], "Did you mean 'heuristic'?"),
        (["--judge-args", "{score: 1}"], "is not JSON"),
        (["--judge-args", "[1]"], "is not a JSON object"),
        (["--batch", "0"], "Give 1 or more."),
        (["--calibrator-args", '{"windw": 3}'], "got arguments {'windw': 3}"),
    ],
)
def test_wrong_arguments_are_answered_with_one_sentence(
    source: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["relabel", str(source), str(source.with_name("out.jsonl")), *words]) == 2

    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_dry_run_writes_nothing_and_passes_on_the_estimate(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = source.with_name("out.jsonl")
    assert main(["relabel", str(source), str(target), "--judge", "tests.cli.test_relabel_and_diff:PricedJudge", "--dry-run"]) == 0

    assert capsys.readouterr().out == "6 episodes, 12 turns.\nestimate: 6 pennies\n"
    assert not target.exists()


def test_a_dry_run_says_when_the_judge_gives_no_estimate(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relabel", str(source), "x.jsonl", "--judge", "oracle", "--dry-run"]) == 0

    assert "gives no estimate" in capsys.readouterr().out


@pytest.mark.slow
def test_a_terminal_shows_a_progress_bar(source: Path) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    words = ["relabel", str(source), str(source.with_name("out.jsonl"))]
    program = f"import sys; from mise_gym.cli import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", program], stderr=slave, stdout=subprocess.PIPE, check=True, timeout=60)
    os.close(slave)

    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert "6/6" in shown
    assert b"6 judged" in done.stdout


@pytest.fixture
def relabelled(source: Path) -> tuple[str, str]:
    paths = [str(source.with_name(f"{name}.jsonl")) for name in ("a", "b")]
    main(["relabel", str(source), paths[0], "--judge", "heuristic", "--calibrator", "centred"])
    main(
        [
            "relabel",
            str(source),
            paths[1],
            "--judge",
            "flipped",
            "--judge-args",
            '{"judge": "heuristic"}',
            "--calibrator",
            "centred",
        ]
    )
    return paths[0], paths[1]


def test_diff_shows_the_figures(relabelled: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["diff", *relabelled]) == 0

    shown = capsys.readouterr().out
    assert "6 episodes with 12 turns, scored by both." in shown
    assert "flipped(heuristic)" in shown
    assert "episode 1 turn 2" in shown


def test_diff_as_json_holds_the_same(relabelled: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["diff", *relabelled, "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["rank_correlation"] == pytest.approx(-1.0)
    assert found["judges"][1]["name"] == "flipped(heuristic)"


def test_diff_refuses_an_impossible_discount(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "a.jsonl", "b.jsonl", "--gamma", "1.5"]) == 2

    assert "--gamma 1.5 is not a discount." in capsys.readouterr().err
