"""From the files that runs leave behind to tables, curves, estimates and the file of all metrics."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mise_gym.ablation.report import write_results
from mise_gym.ablation.results import RunState, read_state, remaining_seconds
from mise_gym.ablation.suite import Suite

SECONDS = {"collect": 2.0, "judge": 0.5, "update": 1.5}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    kitchen = {"ppo": {"iterations": 4}}
    return Suite(folder=tmp_path, arms=("sparse", "mise"), seeds=(0, 1), environments={"kitchen": kitchen, "shop": kitchen})


def leave(suite: Suite, arm: str, seed: int, *, success: float, iterations: int = 4, is_finished: bool = True) -> None:
    """Write what a run in the kitchen would leave behind."""
    folder = suite.folder / "kitchen" / f"seed-{seed}" / arm
    folder.mkdir(parents=True)
    times = {f"time/{name}_seconds": value for name, value in SECONDS.items()}
    records = [{"stage": "ppo", "step": step + 1, "rollout/success_rate": success, **times} for step in range(iterations)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if is_finished:
        (folder / "summary.json").write_text(json.dumps(summary(success)))


def summary(success: float) -> dict[str, Any]:
    return {
        "heldout_success_before": 0.1,
        "heldout_success_after": success,
        "overconfidence_before": 0.4,
        "overconfidence_after": 0.1,
        "auroc_before": None,
        "auroc_after": 0.9,
        "turn_auroc_before": 0.6,
        "turn_auroc_after": 0.8,
        "seconds": 1030.0,
        "peak_memory_mb": 512.4,
        "stage_seconds": {"warm_start": 10.0, "evaluation_after": 20.0, "ppo": 1000.0},
        "details": {"after": {"sampled": {"overconfidence_all": 0.05}}},
    }


def states_of(suite: Suite) -> list[RunState]:
    return [read_state(job) for job in suite.jobs()]


def page_of(suite: Suite) -> str:
    return write_results(suite, states_of(suite), "mise-gym ablate suite.toml").read_text()


def test_the_table_has_the_means_of_the_seeds_with_their_intervals(suite: Suite) -> None:
    leave(suite, "mise", 0, success=0.6)
    leave(suite, "mise", 1, success=0.8)
    leave(suite, "sparse", 0, success=0.5)

    page = page_of(suite)

    assert (
        "| mise | 2 | 0.100 ± 0.000 | 0.700 ± 1.271 | 0.400 ± 0.000 | 0.100 ± 0.000 | 0.050 ± 0.000 | n/a | 0.900 ± 0.000 |"
        in page
    )
    assert "| sparse | 1 | 0.100 (one seed) | 0.500 (one seed) |" in page
    assert "| mise | sparse | 0.100 (one seed) |" in page
    assert "| mise | 17.2 | 512 |" in page
    assert "3 of 12 runs are finished, 12 of 32 iterations done." in page


def test_the_page_says_which_claims_have_not_been_run(suite: Suite) -> None:
    leave(suite, "mise", 0, success=0.6)

    page = page_of(suite)

    assert "without calibration | **not run** | needs mise and mise-nocal |" in page
    assert "raises the AUROC of the self-evaluation | **not shown** |" in page
    assert "## shop" not in page


def test_verdicts_and_figures_are_there_for_other_programs(suite: Suite) -> None:
    for seed, ours, theirs in ((0, 0.9, 0.1), (1, 0.91, 0.11)):
        leave(suite, "mise", seed, success=ours)
        leave(suite, "sparse", seed, success=theirs)
    page_of(suite)

    results = json.loads((suite.folder / "results.json").read_text())

    assert results["figures"]["kitchen"]["mise"]["1"]["success_after"] == 0.91
    assert results["verdicts"][0]["environments"]["kitchen"]["outcome"] == "shown"
    assert results["verdicts"][0]["overall"] == "shown"


def test_all_metrics_go_into_one_file_with_the_run_that_they_are_of(suite: Suite) -> None:
    leave(suite, "mise", 1, success=0.6, iterations=2, is_finished=False)
    page_of(suite)

    lines = [json.loads(line) for line in gzip.decompress((suite.folder / "metrics.jsonl.gz").read_bytes()).splitlines()]

    assert [(line["environment"], line["arm"], line["seed"], line["step"]) for line in lines] == [
        ("kitchen", "mise", 1, 1),
        ("kitchen", "mise", 1, 2),
    ]


@pytest.mark.parametrize("name", ["learning_kitchen.png", "heldout_kitchen.png"])
def test_pictures_are_drawn(suite: Suite, name: str) -> None:
    leave(suite, "mise", 0, success=0.6)
    leave(suite, "mise", 1, success=0.7)
    page_of(suite)

    assert (suite.folder / name).read_bytes().startswith(b"\x89PNG")


def test_an_estimate_adds_iterations_and_what_is_around_them(suite: Suite) -> None:
    leave(suite, "sparse", 0, success=0.5)
    leave(suite, "sparse", 1, success=0.5, iterations=1, is_finished=False)

    # sparse has 3 of its iterations left and mise 4 twice, 4 s each; two warm starts and three arms are unfinished, 30 s each
    assert remaining_seconds(states_of(suite), "kitchen") == pytest.approx((3 + 8) * 4 + 5 * 30)


def test_there_is_no_estimate_before_the_first_iteration(suite: Suite) -> None:
    assert remaining_seconds(states_of(suite), "shop") is None
