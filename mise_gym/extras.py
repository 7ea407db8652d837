"""Import optional packages, or say in one sentence how to get them."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Final

from mise_gym.errors import MissingExtraError

EXTRA_OF: Final = {
    "textworld": "textworld",
    "filelock": "textworld",
    "scienceworld": "scienceworld",
    "py4j": "scienceworld",
    "torch": "hf",
    "accelerate": "distributed",
    "ray": "ray",
    "transformers": "hf",
    "tokenizers": "hf",
    "peft": "lora",
    "sklearn": "calibration",
    "matplotlib": "plot",
    "tqdm": "judge",
    "scipy": "calibration",
    "jinja2": "plot",
    "stable_baselines3": "sb3",
    "httpx": "judge",
    "flask": "webshop",
    "waitress": "webshop",
    "selenium": "browser",
    "PIL": "browser",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
}
"""Top-level package -> the extra of mise-gym that installs it."""


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import ``module`` and return it.

    Args:
        module: Dotted module name, for example ``"textworld"``.
        extra: The extra to name when it is missing; ``None`` is the smallest that has it.

    Raises:
        MissingExtraError: The package is not installed; the message has the pip line.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise _missing(package, extra) from error


def version_of(package: str) -> str:
    """Return the installed version of ``package``, without importing it.

    Raises:
        MissingExtraError: The package is not installed; the message has the pip line.
    """
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise _missing(package) from error


def _missing(package: str, extra: str | None = None) -> MissingExtraError:
    extra = extra or EXTRA_OF.get(package)
    install = f"pip install 'mise-gym[{extra}]'" if extra else f"pip install {package}"
    return MissingExtraError(f"{package} is not installed. Run: {install}", name=package)
