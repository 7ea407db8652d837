"""The metrics file survives crashes, and every metric has a meaning."""

from pathlib import Path

import pytest

from mise_gym.train.metrics import GLOSSARY, MetricsFile


@pytest.fixture
def metrics(tmp_path: Path) -> MetricsFile:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for stage, step in (("warm_start", 20), ("ppo", 1), ("ppo", 2), ("ppo", 3)):
        file.append(stage, step, {"train/updates": float(step)})
    return file


def steps(metrics: MetricsFile) -> list[tuple[str, int]]:
    return [(record["stage"], record["step"]) for record in metrics.read()]


def test_records_come_back_in_order(metrics: MetricsFile) -> None:
    assert metrics.read()[-1] == {"stage": "ppo", "step": 3, "train/updates": 3.0}
    assert steps(metrics) == [("warm_start", 20), ("ppo", 1), ("ppo", 2), ("ppo", 3)]


def test_rewinding_forgets_only_the_later_records_of_its_stage(metrics: MetricsFile) -> None:
    metrics.rewind("ppo", 1)

    assert steps(metrics) == [("warm_start", 20), ("ppo", 1)]


def test_a_line_torn_by_a_crash_is_left_out_and_then_removed(metrics: MetricsFile) -> None:
    with metrics.path.open("a") as file:
        file.write('{"stage": "ppo", "st')
    assert steps(metrics)[-1] == ("ppo", 3)

    metrics.rewind("ppo", 3)
    metrics.append("ppo", 4, {})

    assert steps(metrics)[-2:] == [("ppo", 3), ("ppo", 4)]


def test_rewinding_what_does_not_exist_makes_an_empty_file(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.rewind("ppo", 0)

    assert metrics.read() == []


def test_a_metric_without_a_meaning_cannot_be_written(metrics: MetricsFile) -> None:
    with pytest.raises(AssertionError, match="train/luck"):
        metrics.append("ppo", 4, {"train/luck": 1.0})


@pytest.mark.parametrize("name", GLOSSARY)
def test_every_metric_is_named_room_slash_name_and_explained_in_sentences(name: str) -> None:
    assert name.count("/") == 1
    assert GLOSSARY[name].endswith(".")
