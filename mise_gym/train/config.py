"""TrainConfig: everything that decides a training run, and how it is read from a file."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from mise_gym.errors import ConfigError
from mise_gym.registry import unknown_name
from mise_gym.rewards.catalog import make_calibrator
from mise_gym.train.adapter import LoRAConfig
from mise_gym.train.forms import Decoding
from mise_gym.train.frame import ChatTemplate
from mise_gym.train.model import TinyModelConfig
from mise_gym.train.placement import ModelConfig
from mise_gym.train.ppo import JudgeRole, PPOConfig
from mise_gym.train.ranges import check_ranges
from mise_gym.train.server import IN_PROCESS, ServerConfig
from mise_gym.train.task_sets.scienceworld import ScienceWorldConfig
from mise_gym.train.task_sets.textworld import TextWorldConfig
from mise_gym.train.task_sets.webshop import WebShopConfig
from mise_gym.train.tasks import check_env
from mise_gym.train.warm_start import WarmStartConfig

RewardName = Literal["sparse", "dense", "mise", "mise-nocal", "mise-flipped", "mise-flipped-cal", "process", "sft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardArm:
    """What a choice of ``--reward`` means."""

    reward_mode: Literal["sparse", "dense"] = "sparse"
    """What the environment pays: its outcome at the end, or its progress turn by turn."""
    judge: JudgeRole = "measured"
    """Whether the self-evaluation is part of the reward, and whether r^C trains it. It is measured in every arm."""
    calibrator: str | None = None
    """How scores become rewards; none is the setting ``calibrator``."""
    is_flipped: bool = False
    """Whether the self-evaluation is turned into its opposite."""
    trains_policy: bool = True
    """Whether there is reinforcement learning at all, or only the warm start and its evaluation."""


REWARD_ARMS: Final[Mapping[str, RewardArm]] = {
    "sparse": RewardArm(),
    "dense": RewardArm(reward_mode="dense"),
    "mise": RewardArm(judge="trained"),
    "mise-nocal": RewardArm(judge="used", calibrator="centred"),
    "mise-flipped": RewardArm(judge="used", calibrator="centred", is_flipped=True),
    "mise-flipped-cal": RewardArm(judge="trained", is_flipped=True),
    "process": RewardArm(judge="used", calibrator="identity"),
    "sft": RewardArm(trains_policy=False),
}
"""Value of ``--reward`` -> what it means."""


@dataclass(frozen=True, kw_only=True)
class GamesConfig:
    """Which games are played, a game being any task of an environment, and how long."""

    level: str = "recipe1+take1+cook+open+mixed"
    """Difficulty of the games of --env ftwp, as in ``mise/FTWP-v0``; "mixed" lets all splits share one set of ingredients."""
    train: int = 400
    """Games to train on."""
    heldout: int = 200
    """Games of the valid split, only for evaluation."""
    max_turns: int = 20
    """Episodes are truncated after so many turns."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_ranges("games", self, "train", "heldout", "max_turns", least=1)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Playing games of the valid split between iterations; the model that played best is kept."""

    every: int = 0
    """Iterations between two evaluations; 0 is none, and the last model is the result."""
    episodes: int = 50
    """Valid games that are played each time, with sampled actions."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_ranges("evaluation", self, "every")
        check_ranges("evaluation", self, "episodes", least=1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. Flags on the command line have the same names."""

    run_dir: Path = Path("runs/demo")
    """Folder of the run. Called again with the same settings, the run goes on where it stopped."""
    env: str = "ftwp"
    """Where to play: ftwp, textworld, scienceworld or webshop, or the registered id of one of them."""
    reward: RewardName = "mise"
    """The reward: sparse outcome, the simulator's dense progress, or sparse outcome plus the model's own hindsight evaluation;
    sft stops after the warm start."""
    model: str | None = None
    """Folder or hub id of a causal language model; none builds a tiny one from nothing."""
    seed: int = 0
    """Decides everything that is drawn at random."""
    w_hindsight: float = 1.0
    """Weight of a turn's hindsight reward, beside an outcome between 0 and 1 per episode; where it adds up over turns, with
    --ppo.hindsight-credit return, take 0.1."""
    calibrator: str = "outcome"
    """How scores become rewards in the arms that calibrate: outcome, affine, beta, isotonic, per-task or potential."""
    max_observation_tokens: int = 256
    """Longer observations lose their middle."""
    decoding: Decoding = "constrained"
    """What the model may write as an action: one of the admissible commands, or any text."""
    thinking: bool = False
    """The model may write thoughts before each action. They are trained like the action, and the environment never sees them."""
    chat_template: ChatTemplate = "auto"
    """What an episode looks like to the model: a conversation in its own chat format, if its tokenizer has one, or plain text."""
    max_action_tokens: int = 32
    """Longest free text per turn, thoughts included; what is cut off counts as malformed. With thoughts take 128 or more."""
    generator: str = IN_PROCESS
    """Where actions are written: in-process, or the address of a server, such as http://127.0.0.1:8000/v1."""
    old_logprobs: Literal["writer", "learner"] = "writer"
    """Whose log-probabilities PPO's ratio starts from: those that the actions were written with, or the learner's own."""
    checkpoint_every: int = 1
    """Iterations between checkpoints."""
    threads: int | None = None
    """CPU threads of torch; none leaves torch's choice."""
    rollout_backend: Literal["in-process", "ray"] = "in-process"
    """Where training games are played: in the process that learns, or in workers that Ray keeps on one machine or many."""
    rollout_workers: int = 2
    """Worker processes, with Ray; they share ppo.num_envs."""
    deterministic: bool = False
    """Use only operations that give the same bits every time; slower on a GPU, and without effect on a CPU."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, into the run's folder."""
    wandb_project: str | None = None
    """Send the metrics to this project of Weights & Biases too."""
    games: GamesConfig = field(default_factory=GamesConfig)
    textworld: TextWorldConfig = field(default_factory=TextWorldConfig)
    scienceworld: ScienceWorldConfig = field(default_factory=ScienceWorldConfig)
    webshop: WebShopConfig = field(default_factory=WebShopConfig)
    model_config: ModelConfig = field(default_factory=ModelConfig)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    tiny: TinyModelConfig = field(default_factory=TinyModelConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        """Check names and ranges."""
        check_env(self.env)
        if self.reward not in REWARD_ARMS:
            raise unknown_name("reward", self.reward, list(REWARD_ARMS))
        make_calibrator(self.calibrator)
        check_ranges("", self, "seed", "w_hindsight")
        check_ranges("", self, "checkpoint_every", "threads", "rollout_workers", least=1)
        check_ranges("", self, "max_observation_tokens", least=2)
        check_ranges("", self, "max_action_tokens", least=1)
        self._check_generator()
        if self.warm_start.muon_learning_rate is not None and (self.lora.is_used or self.model_config.is_sharded):
            raise ConfigError(
                "warm_start.muon_learning_rate is given, and Muon works on whole weights only. Leave it out, or do without "
                "lora.rank and model_config.sharding."
            )
        wanted = (self.warm_start.expert_episodes, self.warm_start.judge_episodes, self.warm_start.own_episodes)
        if max(wanted) > self.games.train:
            raise ConfigError(
                f"The warm start wants {wanted[0]} expert, {wanted[1]} judge and {wanted[2]} own episodes, one game each, "
                f"but there are only {self.games.train} training games. Raise games.train."
            )
        if self.evaluation.every and self.evaluation.episodes > self.games.heldout:
            raise ConfigError(
                f"evaluation.episodes is {self.evaluation.episodes}, but there are only {self.games.heldout} valid games. "
                "Raise games.heldout."
            )

    def _check_generator(self) -> None:
        if self.generator == IN_PROCESS:
            return
        if not self.generator.startswith(("http://", "https://")):
            raise ConfigError(
                f"The generator is {self.generator!r}; it must be {IN_PROCESS!r} or the address of a server, "
                "such as 'http://127.0.0.1:8000/v1'."
            )
        if self.decoding != "free":
            raise ConfigError(
                f"The generator is {self.generator!r} and the decoding is {self.decoding!r}: a server cannot be held to the "
                "admissible commands. Give --decoding free too, or leave the generator in-process."
            )
        if self.rollout_backend == "ray":
            raise ConfigError(
                f"Workers of Ray write actions themselves, and the generator is {self.generator!r}. "
                "Leave out --rollout-backend, or --generator."
            )

    def to_json(self) -> str:
        """Return the whole configuration as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, default=str)


def from_mapping(settings: Mapping[str, Any]) -> TrainConfig:
    """Build a configuration from nested names and values; what is not named keeps its default.

    Raises:
        ConfigError: An unknown name, a value of the wrong type or out of range.
    """
    config = _build(TrainConfig, settings, "")
    assert isinstance(config, TrainConfig)
    return config


def load_toml(path: Path) -> dict[str, Any]:
    """Read nested settings from a TOML file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Cannot read the settings in {str(path)!r}: {error}.") from error


def _build(config_class: Any, settings: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(config_class)
    values = {}
    for name, value in settings.items():
        if name not in hints:
            raise unknown_name("setting", prefix + name, [prefix + known for known in hints])
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"The setting {prefix + name!r} is {value!r}; it must be a table of settings.")
            values[name] = _build(hints[name], value, f"{prefix}{name}.")
        else:
            values[name] = _convert(value, hints[name], prefix + name)
    return config_class(**values)


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Return ``value`` as the type of its setting, without guessing."""
    if get_origin(hint) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            return tuple(value)
        raise ConfigError(f"The setting {name!r} is {value!r}; it must be a list of names.")
    if get_origin(hint) is Literal and isinstance(value, str) and value not in get_args(hint):
        raise unknown_name(name, value, list(get_args(hint)))
    accepted = [kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type)] or [str]
    if Path in accepted and isinstance(value, str):
        return Path(value)
    if float in accepted and type(value) is int:
        return float(value)
    if type(value) in accepted or any(kind is Path and isinstance(value, Path) for kind in accepted):
        return value
    names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in accepted)
    raise ConfigError(f"The setting {name!r} is {value!r}; it must be {names}.")
