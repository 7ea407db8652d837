"""Suite: which rewards, seeds and environments are compared, read from a TOML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name
from mise_gym.train.config import REWARD_ARMS, TrainConfig, from_mapping, load_toml

SHARED_ARM: Final = "sft"
"""The arm that ends after the warm start. It is run first for every seed, and all others of the seed begin where it ended."""
_OF_THE_SUITE: Final = frozenset({"run_dir", "reward", "seed"})
_OF_A_VARIANT: Final = frozenset({"reward", "calibrator", "w_hindsight", "ppo", "old_logprobs"})
"""What may differ between arms that begin at the same warm start."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a suite."""

    environment: str
    """Its name in the suite."""
    arm: str
    seed: int
    config: TrainConfig


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is compared.

    Raises:
        ConfigError: A list is empty or names something twice, a setting is wrong or belongs to the suite.
        UnknownNameError: An arm or a setting is not known.
    """

    folder: Path
    """Where the runs and the results go."""
    arms: tuple[str, ...]
    """Values of ``--reward``, and names of variants."""
    seeds: tuple[int, ...]
    environments: Mapping[str, Mapping[str, Any]]
    """Name -> settings of ``TrainConfig``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of all environments; those of an environment win."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name of an arm -> settings of its own, which win over all others. An arm whose name is no reward says its ``reward``."""

    def __post_init__(self) -> None:
        """Check everything that can be wrong before the first run."""
        for name, values in (("arms", self.arms), ("seeds", self.seeds), ("environments", tuple(self.environments))):
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"The setting {name!r} is {list(values)!r}; it must be a list of different values.")
        for arm in self.arms:
            if arm not in REWARD_ARMS and arm not in self.variants:
                raise unknown_name("arm", arm, [*REWARD_ARMS, *self.variants])
        for table in (self.settings, *self.environments.values(), *self.variants.values()):
            if not isinstance(table, Mapping):
                raise ConfigError(f"An environment or a variant is {table!r}; it must be a table of settings.")
        for arm, table in self.variants.items():
            self._check_variant(arm, table)
        for table in (self.settings, *self.environments.values()):
            for name in sorted(_OF_THE_SUITE & set(table)):
                raise ConfigError(f"The setting {name!r} is decided by the suite. Leave it out.")
        self.jobs()

    def _check_variant(self, arm: str, table: Mapping[str, Any]) -> None:
        if arm not in self.arms:
            raise ConfigError(f"The variant {arm!r} is no arm of the suite. Name it in 'arms', or leave it out.")
        if "reward" not in table and arm not in REWARD_ARMS:
            raise ConfigError(f"The variant {arm!r} does not say its 'reward'. Known: {', '.join(REWARD_ARMS)}.")
        if arm == SHARED_ARM or not table.keys() <= _OF_A_VARIANT:
            raise ConfigError(
                f"The variant {arm!r} changes {', '.join(map(repr, table))}. All arms begin at the same warm start, the arm "
                f"{SHARED_ARM!r}; the others may differ in {', '.join(sorted(_OF_A_VARIANT))}."
            )

    def jobs(self) -> list[Job]:
        """Return every run, seed by seed, the warm start of a seed first."""
        arms = dict.fromkeys((SHARED_ARM, *self.arms))
        return [
            Job(environment=environment, arm=arm, seed=seed, config=self._config(environment, arm, seed))
            for seed in self.seeds
            for environment in self.environments
            for arm in arms
        ]

    def _config(self, environment: str, arm: str, seed: int) -> TrainConfig:
        settings = _merged(self.settings, self.environments[environment])
        settings = _merged(settings, {"reward": arm, **self.variants.get(arm, {})})
        return from_mapping(settings | {"run_dir": self.folder / environment / f"seed-{seed}" / arm, "seed": seed})


def load_suite(
    path: Path,
    *,
    folder: Path | None = None,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    environments: Sequence[str] | None = None,
) -> Suite:
    """Read a suite, or a part of it, from a TOML file.

    Args:
        path: The file: ``folder``, ``arms``, ``seeds``, a table ``settings``, one table ``environments.NAME`` each, with the
            settings of ``mise-gym train``, and tables ``variants.NAME`` for arms with settings of their own.
        folder: Where the runs go instead of where the file says.
        arms: The arms instead of the file's; variants of others are left out.
        seeds: The seeds instead of the file's.
        environments: Names of those of the file's environments that are run; all by default.

    Raises:
        ConfigError: The file cannot be read, a value is missing or wrong.
        UnknownNameError: A name in it is not known.
    """
    table = load_toml(path)
    known = {"folder": str, "arms": list, "seeds": list, "environments": dict, "settings": dict, "variants": dict}
    for name, value in table.items():
        if name not in known:
            raise unknown_name("setting of a suite", name, list(known))
        if not isinstance(value, known[name]):
            raise ConfigError(f"The setting {name!r} of {str(path)!r} is {value!r}; it must be a {known[name].__name__}.")
    missing = [name for name in ("arms", "seeds", "environments") if name not in table]
    if missing:
        raise ConfigError(f"{str(path)!r} does not say {' and '.join(missing)}. See examples/ablation_small.toml.")
    chosen = tuple(arms or table["arms"])
    left_out = [arm for arm in table["arms"] if arm not in chosen]
    return Suite(
        folder=folder or Path(table.get("folder", f"runs/{path.stem}")),
        arms=chosen,
        seeds=_whole_numbers(seeds or table["seeds"]),
        environments=_chosen(table["environments"], environments),
        settings=table.get("settings", {}),
        variants={arm: changes for arm, changes in table.get("variants", {}).items() if arm not in left_out},
    )


def _chosen(known: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    for name in names or ():
        if name not in known:
            raise unknown_name("environment of the suite", name, list(known))
    return {name: known[name] for name in names or known}


def _whole_numbers(values: Sequence[Any]) -> tuple[int, ...]:
    if any(type(value) is not int for value in values):
        raise ConfigError(f"The setting 'seeds' is {list(values)!r}; it must be a list of whole numbers.")
    return tuple(values)


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings; where both say something, the second."""
    result = dict(first)
    for name, value in second.items():
        both_are_tables = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = _merged(result[name], value) if both_are_tables else value
    return result
