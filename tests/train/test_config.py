"""Settings from files and flags: what is accepted, what is refused, and what the refusal says."""

import inspect
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from mise_gym.cli import main
from mise_gym.errors import ConfigError, UnknownNameError
from mise_gym.train.config import REWARD_ARMS, GamesConfig, TrainConfig, from_mapping, load_toml
from mise_gym.train.model import TinyModelConfig
from mise_gym.train.ppo import PPOConfig
from mise_gym.train.warm_start import WarmStartConfig

TABLES = {"": TrainConfig} | {f"{name}.": hint for name, hint in get_type_hints(TrainConfig).items() if is_dataclass(hint)}
SETTINGS = [
    prefix + field.name for prefix, cls in TABLES.items() for field in fields(cls) if f"{field.name}." not in TABLES or prefix
]


def nested(name: str, value: Any) -> dict[str, Any]:
    table, _, setting = name.rpartition(".")
    return {table: {setting: value}} if table else {setting: value}


def test_what_is_not_named_keeps_its_default() -> None:
    config = from_mapping({"seed": 7, "ppo": {"gamma": 0.5}})

    assert config == TrainConfig(seed=7, ppo=PPOConfig(gamma=0.5))


def test_settings_survive_json_and_back() -> None:
    config = TrainConfig(run_dir=Path("somewhere"), reward="dense", threads=2, games=GamesConfig(train=300))

    assert from_mapping({k: v for k, v in json.loads(config.to_json()).items() if v is not None}) == config


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sede": 1}, "No setting named 'sede'. Did you mean 'seed'?"),
        ({"ppo": {"learning_rat": 1}}, "No setting named 'ppo.learning_rat'. Did you mean 'ppo.learning_rate'?"),
        ({"reward": "misee"}, "No reward named 'misee'. Did you mean 'mise'?"),
        ({"calibrator": "afine"}, "No calibrator named 'afine'. Did you mean 'affine'?"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(sentence)):
        from_mapping(settings)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("seed", "1", "int"),
        ("seed", 1.0, "int"),
        ("seed", True, "int"),
        ("ppo.gamma", "0.9", "float"),
        ("reward", 3, "str"),
        ("run_dir", 3, "Path"),
        ("model", 3, "str or nothing"),
        ("ppo", 3, "a table of settings"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_right_one(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"The setting {name!r} is {value!r}; it must be {expected}.")):
        from_mapping(nested(name, value))


def test_a_whole_number_is_taken_where_a_fraction_may_stand() -> None:
    assert from_mapping({"ppo": {"gamma": 1}}).ppo.gamma == 1.0


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("seed", -1, "at least 0"),
        ("w_hindsight", -0.1, "at least 0"),
        ("w_hindsight", float("nan"), "at least 0"),
        ("checkpoint_every", 0, "at least 1"),
        ("threads", 0, "at least 1"),
        ("max_observation_tokens", 0, "at least 2"),
        ("games.train", 0, "at least 1"),
        ("games.heldout", -5, "at least 1"),
        ("games.max_turns", 0, "at least 1"),
        ("tiny.num_layers", 0, "at least 1"),
        ("warm_start.expert_episodes", -1, "at least 0"),
        ("warm_start.max_mistake_rate", 1.5, "from 0 to 1"),
        ("warm_start.learning_rate", float("inf"), "at least 0"),
        ("warm_start.muon_learning_rate", -0.01, "at least 0"),
        ("ppo.iterations", -1, "at least 0"),
        ("ppo.num_envs", 0, "at least 1"),
        ("ppo.episodes_per_iteration", 0, "at least 1"),
        ("ppo.num_epochs", 0, "at least 1"),
        ("ppo.minibatch_episodes", 0, "at least 1"),
        ("warm_start.batch_episodes", 0, "at least 1"),
        ("ppo.learning_rate", float("nan"), "at least 0"),
        ("model_config.max_tokens_per_pass", 0, "at least 1"),
        ("lora.rank", -1, "at least 0"),
        ("lora.dropout", 1.0, "from 0 to 0.9"),
        ("ppo.gamma", 1.01, "from 0 to 1"),
        ("ppo.gae_lambda", 2.0, "from 0 to 1"),
        ("ppo.clip_range", 1.5, "from 0 to 1"),
        ("ppo.clip_range_high", -0.1, "at least 0"),
        ("ppo.group_size", 0, "at least 1"),
        ("ppo.warmup_iterations", -1, "at least 0"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(name: str, value: Any, limits: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"The setting {name!r} is {value!r}; it must be {limits}.")):
        from_mapping(nested(name, value))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kl_estimator": "k1"}, "'k1' for a term of the loss, where its gradient is zero on average. Give 'exact' or 'k3'"),
        ({"reference_kl_target": 0.0}, "'ppo.reference_kl_target' is 0.0"),
        ({"reference_kl_target": 0.1, "kl_coef": 0.0}, "'ppo.kl_coef', which it adapts, 0.0; both must be above 0."),
        ({"group_size": 7}, "'ppo.episodes_per_iteration' is 64; it must be a multiple of ppo.group_size, 7."),
        ({"baseline": "rloo"}, "The baseline 'rloo' compares episodes of one task, and 'ppo.group_size' is 1."),
        ({"baseline": "grpo", "group_size": 8, "advantages": "token"}, "the baseline 'grpo' has no critic."),
        ({"baseline": "rlo"}, "No ppo.baseline named 'rlo'. Did you mean 'rloo'?"),
    ],
)
def test_options_that_contradict_each_other_are_refused_with_a_way_out(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        from_mapping({"ppo": settings})


def test_a_warm_start_that_wants_more_games_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"wants 9 expert, 5 judge and 0 own episodes.* only 8 training games"):
        TrainConfig(games=GamesConfig(train=8), warm_start=WarmStartConfig(expert_episodes=9, judge_episodes=5))


@pytest.mark.parametrize("settings", [{"lora": {"rank": 4}}, {"model_config": {"sharding": "fsdp"}}])
def test_muon_is_refused_where_weights_are_not_whole(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Muon works on whole weights only\. Leave it out"):
        from_mapping({"warm_start": {"muon_learning_rate": 0.01}, **settings})


def test_heads_that_do_not_share_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tiny\.hidden_size is 30 and tiny\.num_heads is 4"):
        TinyModelConfig(hidden_size=30, num_heads=4)


@pytest.mark.parametrize("text", ["seed = ", "\udcff", None], ids=["not TOML", "not UTF-8", "missing"])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "settings.toml"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(ConfigError, match=re.escape(f"Cannot read the settings in {str(path)!r}")):
        load_toml(path)


@pytest.mark.parametrize(
    ("in_file", "flag", "sentence"),
    [
        ("checkpoint_every = 0", [], "'checkpoint_every' is 0"),
        ("checkpoint_every = 0", ["--checkpoint-every", "-1"], "'checkpoint_every' is -1"),
        ("[ppo]\ngamma = 3\ngae_lambda = 1", ["--ppo.gamma", "2"], "'ppo.gamma' is 2.0"),
        ("[ppo]\nclip_range = -3", ["--ppo.gamma", "0.5"], "'ppo.clip_range' is -3.0"),
        ("", ["--reward", "mise-nocall"], "No reward named 'mise-nocall'. Did you mean 'mise-nocal'?"),
    ],
)
def test_flags_go_over_the_file_and_the_file_over_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_file: str, flag: list[str], sentence: str
) -> None:
    (tmp_path / "settings.toml").write_text(in_file)

    assert main(["train", "--config", str(tmp_path / "settings.toml"), "--run-dir", str(tmp_path / "run"), *flag]) == 2

    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def help_text() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        from mise_gym.cli import build_parser

        (subparsers,) = (action for action in build_parser("train")._actions if hasattr(action, "choices") and action.choices)
        return " ".join(subparsers.choices["train"].format_help().split())


@pytest.mark.parametrize("name", SETTINGS)
def test_help_has_a_flag_for_every_setting_with_what_stands_below_it(help_text: str, name: str) -> None:
    table, _, setting = name.rpartition(".")
    source = inspect.getsource(TABLES[f"{table}." if table else ""])
    documented = re.search(rf'^    {setting}: .*\n    """(.+?)"""', source, flags=re.MULTILINE | re.DOTALL)

    assert documented is not None
    assert re.search(rf"--{name.replace('_', '-')}[ ,]", help_text)
    assert " ".join(documented[1].split()) in help_text


def test_help_lists_the_rewards(help_text: str) -> None:
    assert "--reward {" + ",".join(REWARD_ARMS) + "}" in help_text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator": "in process"}, "must be 'in-process' or the address of a server"),
        ({"generator": "http://127.0.0.1:8000/v1"}, "Give --decoding free too"),
        (
            {"generator": "http://127.0.0.1:8000/v1", "decoding": "free", "rollout_backend": "ray"},
            r"Workers of Ray write actions themselves.*Leave out --rollout-backend, or --generator\.",
        ),
        ({"decoding": "fre"}, "Did you mean 'free'"),
        ({"max_action_tokens": 0}, "max_action_tokens"),
    ],
)
def test_impossible_ways_of_writing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(settings)
