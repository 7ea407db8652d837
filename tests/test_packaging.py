"""The project file: a small core, every extra there, one version."""

import re
import tomllib
from pathlib import Path

import mise_gym
from mise_gym.extras import EXTRA_OF
from tests.core_only import run_with_the_core_only

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ;]", requirement)[0] for requirement in requirements}


def test_the_core_is_gymnasium_and_numpy() -> None:
    assert names(PROJECT["dependencies"]) == {"gymnasium", "numpy"}


def test_every_extra_is_there() -> None:
    assert set(EXTRAS) == {
        "textworld", "scienceworld", "webshop", "browser", "judge", "calibration", "hf", "train", "lora", "distributed",
        "ray", "sb3", "rllib", "plot", "tensorboard", "wandb", "dev", "all",
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


def test_the_package_its_wrappers_and_its_rewards_work_with_the_core_only(tmp_path: Path) -> None:
    done = run_with_the_core_only(tmp_path, "import mise_gym, mise_gym.envs.wrappers, mise_gym.rewards; print('works')")

    assert done.stdout == "works\n", done.stderr


def test_the_list_of_names_needs_the_core_only(tmp_path: Path) -> None:
    done = run_with_the_core_only(tmp_path, "from mise_gym.cli import main; sys.exit(main(['list']))")

    assert "mise/FTWP-v0" in done.stdout, done.stderr


def test_playing_without_the_extra_says_which_to_install(tmp_path: Path) -> None:
    done = run_with_the_core_only(tmp_path, "from mise_gym.cli import main; sys.exit(main(['play', 'mise/FTWP-v0']))")

    assert done.returncode == 2
    assert done.stderr == "mise-gym: textworld is not installed. Run: pip install 'mise-gym[textworld]'\n"
