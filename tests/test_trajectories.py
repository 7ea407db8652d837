"""The JSONL format: round trips, torn ends, damage."""

import gzip
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mise_gym.errors import TrajectoryFormatError
from mise_gym.trajectories import EpisodeWriter, read_episodes, write_episodes
from mise_gym.types import Episode, Transition

BOTH = pytest.mark.parametrize("name", ["episodes.jsonl", "episodes.jsonl.gz"])


def episode(task_id: str = "a", action: str = "take fork") -> Episode:
    turn = Transition(observation="A fork.", action=action, reward=0.5, next_observation="Taken.", progress=0.5)
    return Episode(
        task="Tidy up.",
        transitions=(turn, turn),
        progress=0.5,
        success=False,
        terminated=False,
        truncated=True,
        task_id=task_id,
        split="train",
        seed=7,
        extra={"options": {"game": 3}},
    )


@BOTH
def test_what_is_read_is_what_was_written(tmp_path: Path, name: str) -> None:
    episodes = [episode("a"), episode("b", action="\ud800 \x00 \n öffne die Tür 🍴")]

    count = write_episodes(tmp_path / name, episodes)

    assert count == 2
    assert list(read_episodes(tmp_path / name)) == episodes


@BOTH
def test_a_writer_continues_an_existing_file(tmp_path: Path, name: str) -> None:
    write_episodes(tmp_path / name, [episode("a")])

    with EpisodeWriter(tmp_path / name) as writer:
        writer.write(episode("b"))

    assert [read.task_id for read in read_episodes(tmp_path / name)] == ["a", "b"]


@BOTH
def test_an_episode_is_on_disk_before_the_writer_is_closed(tmp_path: Path, name: str) -> None:
    with EpisodeWriter(tmp_path / name) as writer:
        writer.write(episode("a"))
        assert [read.task_id for read in read_episodes(tmp_path / name)] == ["a"]


@BOTH
@pytest.mark.parametrize("lost", [40, 60])
def test_a_torn_last_line_is_skipped_by_readers_with_a_warning(
    tmp_path: Path, name: str, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    write_episodes(path, [episode("a"), episode("b")])
    path.write_bytes(path.read_bytes()[:-lost])

    with caplog.at_level(logging.WARNING):
        read = [each.task_id for each in read_episodes(path)]

    assert read == ["a"]
    assert "unfinished line 2" in caplog.text


@BOTH
@pytest.mark.parametrize("lost", [2, 40])
def test_a_torn_last_line_is_removed_before_appending(tmp_path: Path, name: str, lost: int) -> None:
    path = tmp_path / name
    write_episodes(path, [episode("a"), episode("b")])
    path.write_bytes(path.read_bytes()[:-lost])

    with EpisodeWriter(path) as writer:
        writer.write(episode("c"))

    assert [read.task_id for read in read_episodes(path)] == ["a", "c"]


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    write_episodes(path, [episode("a"), episode("b")])
    path.write_bytes(path.read_bytes()[:-1])

    with EpisodeWriter(path) as writer:
        writer.write(episode("c"))

    assert [read.task_id for read in read_episodes(path)] == ["a", "b", "c"]


def test_damage_in_the_middle_names_the_line_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    write_episodes(path, [episode("a"), episode("b")])
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{second[:20]}\n{first}\n")

    with pytest.raises(TrajectoryFormatError, match=r"Line 2 of .*Remove that line"):
        list(read_episodes(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "schema version is 99"),
        ({"seed": "seven"}, "'seed' holds a str"),
        ({"progress": True}, "'progress' holds a bool"),
        ({"colour": "red"}, "unknown fields: colour"),
        ({"transitions": ["take"]}, "a transition is a str"),
    ],
)
def test_a_line_with_the_wrong_schema_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "episodes.jsonl"
    write_episodes(path, [episode()])
    path.write_text(json.dumps(json.loads(path.read_text()) | change) + "\n")

    with pytest.raises(TrajectoryFormatError, match=message):
        list(read_episodes(path))


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n") + b"not gzip")

    with pytest.raises(TrajectoryFormatError, match="damaged"):
        EpisodeWriter(path)


def test_a_plain_file_called_gz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl.gz"
    path.write_text("{}\n")

    with pytest.raises(TrajectoryFormatError, match="damaged after line 0"):
        list(read_episodes(path))


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryFormatError, match=r"end in \.jsonl or \.jsonl\.gz; .* does not"):
        EpisodeWriter(tmp_path / "episodes.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryFormatError, match=r"No file .*gone\.jsonl"):
        list(read_episodes(tmp_path / "gone.jsonl"))


def test_what_json_cannot_hold_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    write_episodes(path, [episode("a")])
    bad = Episode(task="", transitions=(), progress=float("nan"), success=False, terminated=True, truncated=False, extra={"x": 1})

    with pytest.raises(TrajectoryFormatError, match="cannot be written as JSON"):
        write_episodes(path, [episode("b"), bad])

    assert [read.task_id for read in read_episodes(path)] == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["episodes.jsonl"]


FILL_THE_DISK = """
import resource, sys
from tests_episode import episode
from mise_gym.trajectories import EpisodeWriter
writer = EpisodeWriter(sys.argv[1])
writer.write(episode("a"))
size = writer.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))
try:
    writer.write(episode("b"))
except OSError:
    print("full")
"""


def test_a_full_disk_leaves_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    (tmp_path / "tests_episode.py").write_text(Path(__file__).read_text())
    (tmp_path / "fill.py").write_text(FILL_THE_DISK)

    done = subprocess.run([sys.executable, str(tmp_path / "fill.py"), str(path)], capture_output=True, text=True, check=False)

    assert done.stdout == "full\n", done.stderr
    assert path.read_bytes().endswith(b"\n")
    assert [read.task_id for read in read_episodes(path)] == ["a"]
