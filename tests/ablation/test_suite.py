"""Suites are checked before the first run, and every run is made of the settings that its environment and the suite give."""

from pathlib import Path
from typing import Any

import pytest

from mise_gym.ablation.suite import Suite, load_suite
from mise_gym.cli import main
from mise_gym.errors import ConfigError, UnknownNameError

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("ablation*.toml"))


def suite(**changes: Any) -> Suite:
    usual: dict[str, Any] = {
        "folder": Path("runs"),
        "arms": ("mise", "sparse"),
        "seeds": (3, 5),
        "environments": {"kitchen": {"games": {"max_turns": 30}}},
    }
    return Suite(**(usual | changes))


def test_every_seed_begins_with_the_warm_start_that_its_arms_share() -> None:
    jobs = suite().jobs()

    assert [(job.seed, job.arm) for job in jobs] == [
        (3, "sft"),
        (3, "mise"),
        (3, "sparse"),
        (5, "sft"),
        (5, "mise"),
        (5, "sparse"),
    ]


def test_a_run_has_the_settings_of_the_suite_and_those_of_its_environment_over_them() -> None:
    made = suite(settings={"games": {"max_turns": 7, "heldout": 9}, "threads": 1})

    config = made.jobs()[1].config

    assert (config.games.max_turns, config.games.heldout, config.threads) == (30, 9, 1)
    assert (config.reward, config.seed, config.run_dir) == ("mise", 3, Path("runs/kitchen/seed-3/mise"))


def test_a_variant_is_an_arm_with_settings_of_its_own() -> None:
    paid = {"reward": "process", "w_hindsight": 0.1, "ppo": {"hindsight_credit": "return"}}
    made = suite(arms=("mise", "paid"), settings={"ppo": {"iterations": 7}, "w_hindsight": 2.0}, variants={"paid": paid})

    _, mise, variant = (job.config for job in made.jobs()[:3])

    assert (mise.reward, mise.w_hindsight, mise.ppo.hindsight_credit) == ("mise", 2.0, "turn")
    assert (variant.reward, variant.w_hindsight, variant.ppo.hindsight_credit) == ("process", 0.1, "return")
    assert (variant.ppo.iterations, variant.run_dir) == (7, Path("runs/kitchen/seed-3/paid"))


def test_a_variant_that_is_named_after_a_reward_need_not_say_it() -> None:
    made = suite(variants={"sparse": {"w_hindsight": 0.5}})

    assert [(job.config.reward, job.config.w_hindsight) for job in made.jobs()[1:3]] == [("mise", 1.0), ("sparse", 0.5)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ()}, r"'arms' is \[\]; it must be a list of different values"),
        ({"seeds": (1, 1)}, r"'seeds' is \[1, 1\]"),
        ({"arms": ("misee",)}, "No arm named 'misee'. Did you mean 'mise'"),
        ({"settings": {"seed": 3}}, "'seed' is decided by the suite. Leave it out."),
        ({"environments": {"kitchen": {"reward": "mise"}}}, "'reward' is decided by the suite"),
        ({"environments": {"kitchen": {"env": "ftpw"}}}, "No environment to train on named 'ftpw'. Did you mean 'ftwp'"),
        ({"environments": {"kitchen": {"ppo": {"gama": 1}}}}, "'ppo.gama'. Did you mean 'ppo.gamma'"),
        ({"environments": {"kitchen": 3}}, "is 3; it must be a table"),
        ({"variants": {"sparse": 3}}, "is 3; it must be a table"),
        ({"variants": {"spares": {}}}, "'spares' is no arm of the suite"),
        ({"arms": ("mise", "mine"), "variants": {"mine": {}}}, "'mine' does not say its 'reward'. Known: sparse, dense"),
        ({"variants": {"sparse": {"games": {"train": 3}}}}, "'sparse' changes 'games'. All arms begin at the same warm start"),
        ({"arms": ("sft",), "variants": {"sft": {"ppo": {}}}}, "'sft' changes 'ppo'"),
        ({"variants": {"sparse": {"ppo": {"gama": 1}}}}, "'ppo.gama'. Did you mean 'ppo.gamma'"),
    ],
)
def test_a_wrong_suite_is_refused_before_anything_runs(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=sentence):
        suite(**changes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('arms = ["mise"]', "does not say seeds and environments"),
        ("sedes = [1]", "No setting of a suite named 'sedes'. Did you mean 'seeds'"),
        ("seeds = 3", "'seeds' of .* is 3; it must be a list"),
        ('arms = ["mise"]\nseeds = ["1"]\nenvironments = {a = {}}', "must be a list of whole numbers"),
    ],
)
def test_a_wrong_file_is_answered_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text)

    with pytest.raises((ConfigError, UnknownNameError), match=sentence):
        load_suite(path)
    assert main(["ablate", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_suites(path: Path) -> None:
    assert load_suite(path).jobs()


def test_the_folder_of_the_command_line_wins(tmp_path: Path) -> None:
    assert load_suite(EXAMPLES[0], folder=tmp_path).jobs()[0].config.run_dir.is_relative_to(tmp_path)


@pytest.fixture
def two_kitchens(tmp_path: Path) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(
        'arms = ["sparse", "mise"]\nseeds = [1, 2]\n[variants.mise]\nw_hindsight = 3\n'
        '[environments.small]\nenv = "ftwp"\n[environments.large]\nenv = "ftwp"\n'
    )
    return path


def test_a_part_of_a_suite_has_the_settings_of_the_whole(two_kitchens: Path) -> None:
    part = load_suite(two_kitchens, arms=["mise", "dense"], seeds=[7], environments=["large"])

    runs = [(job.environment, job.seed, job.arm, job.config.w_hindsight) for job in part.jobs()]

    assert runs == [("large", 7, "sft", 1.0), ("large", 7, "mise", 3.0), ("large", 7, "dense", 1.0)]


def test_variants_of_arms_that_are_left_out_are_left_out(two_kitchens: Path) -> None:
    assert [job.arm for job in load_suite(two_kitchens, arms=["sparse"], seeds=[1], environments=["small"]).jobs()] == [
        "sft",
        "sparse",
    ]


def test_an_environment_that_the_file_does_not_have_is_named(two_kitchens: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"named 'larg'\. Did you mean 'large'"):
        load_suite(two_kitchens, environments=["larg"])


def test_the_command_line_chooses_a_part(two_kitchens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", str(two_kitchens), "--dry-run", "--arms", "mise", "--seeds", "8", "9", "--environments", "small"]) == 0

    lines = [line.split()[:4] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert lines == [["small", "seed", seed, arm] for seed in ("8", "9") for arm in ("sft", "mise")]


def test_no_runs_at_a_time_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", str(EXAMPLES[0]), "--jobs", "0"]) == 2
    assert "--jobs is 0; it must be at least 1." in capsys.readouterr().err
