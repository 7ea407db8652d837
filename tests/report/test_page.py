"""The report: what is on the page, for a run at any stage and for a file of episodes."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from mise_gym.cli import main
from mise_gym.errors import ConfigError, TrajectoryFormatError
from mise_gym.report import write_report
from mise_gym.report.material import Judged
from mise_gym.report.page import LONGEST_TEXT, worst_disagreements
from mise_gym.rewards import JudgeStatus, RewardBreakdown
from mise_gym.rewards.labels import with_labels
from mise_gym.train.metrics import MetricsFile, rollout_metrics
from mise_gym.trajectories import write_episodes
from mise_gym.types import Episode, Transition

HOSTILE = "<script>alert(1)</script> lone \ud800 surrogate"


def labels(score: float | None, env: tuple[float, ...]) -> RewardBreakdown:
    scores = None if score is None else (score,) * len(env)
    return RewardBreakdown(
        env_rewards=env,
        scores=scores,
        calibrated=scores,
        step_rewards=env,
        status=JudgeStatus.TIMEOUT if score is None else JudgeStatus.OK,
        judge={
            "name": "wise",
            "calls": 2,
            "tokens": 300,
            "seconds": 0.5,
            "reasons": ["It said so."] * len(env) if scores else [],
        },
    )


def episode(number: int, score: float | None, *, won: bool, text: str = "A hall.") -> Episode:
    turns = tuple(
        Transition(observation=text, action=f"{text} {turn}", reward=float(won and turn == 1), next_observation=text)
        for turn in range(2)
    )
    facts = {"progress": float(won), "success": won, "terminated": won, "truncated": not won}
    bare = Episode(task="Leave.", transitions=turns, task_id=f"hall-{number}", **facts)
    return with_labels(bare, labels(score, tuple(turn.reward for turn in turns)))


def sixty(text: str = "A hall.") -> list[Episode]:
    """Sixty episodes; the judge is over-confident, and fails on the last one."""
    made = [episode(number, 0.6 + 0.3 * (number % 3 == 0), won=number % 3 == 0, text=text) for number in range(59)]
    return [*made, episode(59, None, won=False)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "e.jsonl.gz"
    write_episodes(path, sixty())
    return path


@pytest.fixture(scope="module")
def page(file: Path) -> Path:
    return write_report(file, file.with_name("page.html"))


@pytest.fixture(scope="module")
def hostile_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of episodes whose text is a script, no text at all, and a flood."""
    folder = tmp_path_factory.mktemp("hostile")
    write_episodes(folder / "e.jsonl", sixty(HOSTILE + "x" * (LONGEST_TEXT + 1234 - len(HOSTILE))))
    return write_report(folder / "e.jsonl", folder / "e.html").read_text()


def headings(page: Path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text())


def rows(page: Path) -> dict[str, list[str]]:
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page.read_text())]
    return {name: rest for name, *rest in filter(None, cells)}


def test_the_page_of_a_file_has_every_part_but_times(page: Path) -> None:
    assert headings(page) == [
        "Success",
        "Parts of the reward",
        "Reliability of the judge",
        "Score against outcome",
        "Drift of the judge",
        "The judge in numbers",
        "Cost of judging",
        "Worst disagreements between judge and outcome",
    ]


def test_the_numbers_are_those_of_the_episodes(page: Path) -> None:
    found = rows(page)

    assert found["episodes"] == ["59", "59"]
    assert found["mean belief"][0] == f"{0.6 + 0.3 * 20 / 59:.3f}"
    assert found["over-confidence on failures"][0] == "0.600"
    assert (found["failed"], found["calls"], found["tokens"]) == (["timeout 1"], ["120"], ["18,000"])


def test_a_transcript_shows_why(page: Path) -> None:
    assert '<p class="reason">It said so.</p>' in page.read_text()


def test_calibration_is_seen_to_help(page: Path) -> None:
    found = rows(page)
    raw, calibrated = map(float, found["calibration error (ECE)"])

    assert calibrated < raw / 3


def test_hostile_text_stays_text(hostile_text: str) -> None:
    assert "<script" not in hostile_text
    assert "&lt;script&gt;alert(1)" in hostile_text


def test_text_that_no_file_can_hold_is_escaped(hostile_text: str) -> None:
    assert r"lone \ud800 surrogate" in hostile_text


def test_a_flood_of_text_is_cut(hostile_text: str) -> None:
    assert "(1,234 characters more)" in hostile_text
    assert max(map(len, re.findall("x+", hostile_text))) == LONGEST_TEXT - len(HOSTILE)


def test_nothing_on_the_page_points_elsewhere(page: Path) -> None:
    text = page.read_text()

    assert [link for link in re.findall(r"""(?:href|src)=["']([^"']*)""", text) if not link.startswith("#")] == []


def test_every_ringed_dot_leads_to_a_transcript(page: Path) -> None:
    text = page.read_text()
    links = set(re.findall(r'href="#(transcript-\d+)"', text))

    assert links
    assert links == set(re.findall(r'id="(transcript-\d+)"', text))


def test_no_name_stands_on_the_page_twice(page: Path) -> None:
    names = re.findall(r'<(?!path|clipPath)\w+[^>]* id="([^"]*)"', page.read_text())

    assert len(names) == len(set(names))


def test_the_same_file_gives_the_same_page(file: Path, page: Path) -> None:
    assert write_report(file, file.with_name("again.html")).read_text() == page.read_text()


def test_the_worst_are_overrated_failures_then_underrated_successes() -> None:
    beliefs = [(0.9, False), (0.2, True), (0.5, True), (0.8, False), (0.0, False), (1.0, True)]
    judged = [
        Judged(place="", episode=episode(0, score, won=won), labels=labels(score, (0.0, float(won)))) for score, won in beliefs
    ]

    assert worst_disagreements(judged) == [0, 3, 1, 2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that has just begun."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"reward": "mise", "seed": 3, "model": None, "games": {"level": "cook<b>"}}))
    return folder


def add_heldout(run: Path, when: str, score: float) -> None:
    beliefs = [(episode(number, None, won=number % 2 == 0), score) for number in range(8)]
    stripped = [
        Episode(**{**vars_of(each), "extra": {"self_evaluation": {"scores": [0.5] * 2, "belief": belief}}})
        for each, belief in beliefs
    ]
    write_episodes(run / f"heldout_{when}_sampled.jsonl.gz", stripped)


def vars_of(each: Episode) -> dict[str, object]:
    return {**asdict(each), "transitions": each.transitions}


def add_iteration(run: Path, number: int) -> None:
    episodes = sixty()
    write_episodes(run / "episodes" / f"iteration-{number:05d}.jsonl.gz", episodes)
    values = rollout_metrics(episodes, [labels(0.6, (0.0, 0.0))] * len(episodes))
    times = {f"time/{part}_seconds": 1.0 for part in ("collect", "judge", "update")}
    MetricsFile(run / "metrics.jsonl").append("ppo", number, values | times)


def test_a_run_that_has_just_begun_has_a_page(run: Path) -> None:
    page = write_report(run, run / "report.html")

    assert headings(page) == []
    assert "cook&lt;b&gt;" in page.read_text()


def test_a_running_run_shows_its_newest_iteration(run: Path) -> None:
    add_heldout(run, "before", 0.9)
    add_iteration(run, 1)
    add_iteration(run, 2)

    page = write_report(run, run / "report.html")
    assert "From training episodes of the newest iteration" in page.read_text()
    assert "Time per iteration" in headings(page)
    assert rows(page)["episodes judged"] == ["118"]


def test_iterations_in_which_the_alarm_rang_are_named(run: Path) -> None:
    add_iteration(run, 1)
    metrics = run / "metrics.jsonl"
    record = json.loads(metrics.read_text())
    metrics.write_text("".join(json.dumps(record | {"step": step, "judge/hacking_alarm": step > 1}) + "\n" for step in (1, 2, 3)))

    assert "<b>The alarm rang</b> in iteration 2, 3." in write_report(run, run / "report.html").read_text()


def test_a_finished_run_shows_before_and_after(run: Path) -> None:
    add_heldout(run, "before", 0.9)
    add_iteration(run, 1)
    add_heldout(run, "after", 0.5)
    (run / "cost.json").write_text(json.dumps({"seconds": {"ppo": 12.0}, "peak_memory_mb": 900.0}))

    page = write_report(run, run / "report.html")
    assert rows(page)["over-confidence"] == ["0.400", "0.000"]
    assert "From held-out episodes after training" in page.read_text()
    assert "Time per stage" in headings(page)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no training run"):
        write_report(tmp_path, tmp_path / "report.html")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a training run's folder"):
        write_report(tmp_path / "x.csv", tmp_path / "report.html")


def test_episodes_without_scores_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_episodes(tmp_path / "e.jsonl", [episode(0, None, won=False)])

    with pytest.raises(TrajectoryFormatError, match="Score them with mise-gym relabel"):
        write_report(tmp_path / "e.jsonl", tmp_path / "e.html")


def test_the_command_puts_the_page_beside_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(file)]) == 0

    assert capsys.readouterr().out == f"Written to {file.with_name('e.html')}. Open it in any browser.\n"
    assert file.with_name("e.html").exists()


def test_the_command_puts_the_page_of_a_run_into_its_folder(run: Path) -> None:
    assert main(["report", str(run)]) == 0

    assert (run / "report.html").exists()


def test_a_page_needs_a_name_that_browsers_understand(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(file), "--out", "page.txt"]) == 2

    assert "does not end in .html" in capsys.readouterr().err
