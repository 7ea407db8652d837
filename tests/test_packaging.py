"""The project file: a small core, every extra there, one version."""

import re
import tomllib
from pathlib import Path

import mise_gym
from mise_gym.extras import EXTRA_OF

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ;]", requirement)[0] for requirement in requirements}


def test_the_core_is_gymnasium_and_numpy() -> None:
    assert names(PROJECT["dependencies"]) == {"gymnasium", "numpy"}


def test_every_extra_is_there() -> None:
    assert set(EXTRAS) == {
        "textworld", "scienceworld", "webshop", "browser", "judge", "hf", "train", "sb3", "plot", "dev", "all",
    }  # fmt: skip


def test_all_has_every_extra_but_dev() -> None:
    (everything,) = EXTRAS["all"]

    assert set(re.findall(r"\w+", everything.partition("[")[2])) == set(EXTRAS) - {"all", "dev"}


def test_the_extra_named_in_an_error_exists() -> None:
    assert set(EXTRA_OF.values()) <= set(EXTRAS)


def test_the_version_is_the_same_in_both_places() -> None:
    assert mise_gym.__version__ == PROJECT["version"]


def test_the_changelog_has_the_changes_that_are_not_released_yet() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_development_versions_are_exact_and_come_from_the_registry() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()

    assert "torch==2.13.0" in lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
