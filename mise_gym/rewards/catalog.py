"""The tables of judges and calibrators, and how a name becomes one.

A new judge or calibrator is one file and one row here. Somebody else's needs no row: give ``"package.module:Class"``.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Final, cast

from mise_gym.errors import ConfigError
from mise_gym.registry import Registry
from mise_gym.rewards.base import Calibrator, Judge

_JUDGES: Final = "mise_gym.rewards.judges"
_CALIBRATORS: Final = "mise_gym.rewards.calibrators"

JUDGES: Final = Registry(
    "judge",
    {
        "auto": f"{_JUDGES}.heuristic:HeuristicJudge",
        "constant": f"{_JUDGES}.constant:ConstantJudge",
        "ensemble": f"{_JUDGES}.ensemble:EnsembleJudge",
        "flipped": f"{_JUDGES}.wrapped:FlippedJudge",
        "heuristic": f"{_JUDGES}.heuristic:HeuristicJudge",
        "http": f"{_JUDGES}.http:HttpJudge",
        "http-logprob": f"{_JUDGES}.http_logprob:HttpLogprobJudge",
        "noisy": f"{_JUDGES}.wrapped:NoisyJudge",
        "oracle": f"{_JUDGES}.oracle:OracleJudge",
        "recorded": f"{_JUDGES}.recorded:RecordedJudge",
        "self": f"{_JUDGES}.self_evaluation:SelfEvaluationJudge",
        "transformers": f"{_JUDGES}.transformers:TransformersJudge",
    },
)
"""Judges by name; "auto" is what a wrapper uses when nothing is said: the heuristic judge, which needs no model."""

CALIBRATORS: Final = Registry(
    "calibrator",
    {
        "affine": f"{_CALIBRATORS}.affine:AffineCalibrator",
        "beta": f"{_CALIBRATORS}.beta:BetaCalibrator",
        "centred": f"{_CALIBRATORS}.identity:CentredCalibrator",
        "identity": f"{_CALIBRATORS}.identity:IdentityCalibrator",
        "isotonic": f"{_CALIBRATORS}.isotonic:IsotonicCalibrator",
        "outcome": f"{_CALIBRATORS}.outcome:OutcomeCalibrator",
        "per-task": f"{_CALIBRATORS}.per_task:PerTaskCalibrator",
        "potential": f"{_CALIBRATORS}.potential:PotentialCalibrator",
    },
)
"""Calibrators by name."""

LIVE_PREFIX: Final = "live:"
"""What ``spec_of`` puts before the class name of a live object; such a spec can be read by people but not built."""


def make_judge(judge: str | Judge, kwargs: Mapping[str, Any] | None = None) -> Judge:
    """Return the judge that a spec stands for.

    Args:
        judge: A name in ``JUDGES``, ``"module:Class"``, or a judge, which is returned as it is.
        kwargs: Keyword arguments of the class; only for names.

    Raises:
        UnknownNameError: No such judge.
        ConfigError: The keyword arguments do not fit, or a live object is not a judge.
    """
    return cast(Judge, _make(JUDGES, judge, kwargs, method="judge"))


def make_calibrator(calibrator: str | Calibrator, kwargs: Mapping[str, Any] | None = None) -> Calibrator:
    """Return the calibrator that a spec stands for; see ``make_judge``.

    Raises:
        UnknownNameError: No such calibrator.
        ConfigError: The keyword arguments do not fit, or a live object is not a calibrator.
    """
    return cast(Calibrator, _make(CALIBRATORS, calibrator, kwargs, method="update"))


def spec_of(part: object) -> str:
    """Return the string that stands for a judge or calibrator in a recorded environment spec.

    Example:
        >>> spec_of("oracle"), spec_of(make_judge("oracle"))
        ('oracle', 'live:OracleJudge')
    """
    return part if isinstance(part, str) else f"{LIVE_PREFIX}{type(part).__name__}"


def without_secrets(value: Any) -> Any:
    """Return a copy of nested mappings and sequences without the entries named ``api_key``, and with names of live judges.

    Example:
        >>> without_secrets({"judges": [{"model": "m", "api_key": "sk-1"}, make_judge("oracle")]})
        {'judges': [{'model': 'm'}, 'live:OracleJudge']}
    """
    if callable(getattr(value, "judge", None)):
        return spec_of(value)
    if isinstance(value, Mapping):
        return {key: without_secrets(entry) for key, entry in value.items() if key != "api_key"}
    return [without_secrets(entry) for entry in value] if isinstance(value, list | tuple) else value


def _make(table: Registry, spec: object, kwargs: Mapping[str, Any] | None, method: str) -> object:
    if not isinstance(spec, str):
        return _check_live(table.kind, spec, kwargs, method)
    if spec.startswith(LIVE_PREFIX):
        raise ConfigError(
            f"The {table.kind} {spec!r} was a live object when the spec was recorded and cannot be built from it. "
            f"Make the environment without the wrapper and wrap it again with {table.kind}=<your object>."
        )
    target = table.load(spec)
    if not callable(target):
        raise ConfigError(f"The {table.kind} {spec!r} is {target!r}, not a class. Give 'module:Class'.")
    arguments, signature = dict(kwargs or {}), inspect.signature(target)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known, shown = ", ".join(signature.parameters) or "none", without_secrets(arguments)
        raise ConfigError(f"The {table.kind} {spec!r} got arguments {shown!r}: {error}. It takes: {known}.") from error
    return _check_live(table.kind, target(**arguments), None, method)


def _check_live(kind: str, part: object, kwargs: Mapping[str, Any] | None, method: str) -> object:
    if kwargs:
        raise ConfigError(
            f"Arguments {without_secrets(kwargs)!r} were given beside a live {kind} {part!r}. Give them to its constructor."
        )
    if not callable(getattr(part, method, None)):
        raise ConfigError(
            f"{part!r} is not a {kind}: it has no method {method!r}. See mise_gym.rewards.base for what it must do."
        )
    return part
