"""How far apart are two reward functions, up to differences that cannot matter? EPIC and STARC on recorded transitions."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.rewards.base import FloatArray

END: Final = -1
"""State after the last turn of an episode; its potential is 0."""

_NOTHING_LEFT: Final = 1e-7
_LEAST_SQUARES: Final = {"atol": 1e-13, "btol": 1e-13, "conlim": 0.0, "maxiter": 20_000}

States = NDArray[np.int64]


def canonical(rewards: FloatArray, sources: States, targets: States, *, gamma: float, constants: bool = False) -> FloatArray:
    """Return what is left of rewards when the nearest potential shaping is taken away.

    Shaping adds gamma * Phi(s') - Phi(s) to the reward of every transition, which changes no optimal policy. Of all rewards that
    differ from the given ones by shaping, this is the one with the smallest Euclidean norm on the recorded transitions, found by
    least squares over Phi.

    Args:
        rewards: Reward of each recorded transition. Shape ``(N,)``.
        sources: Number of the state before it, from 0. Shape ``(N,)``.
        targets: Number of the state after it, or ``END``. Shape ``(N,)``.
        gamma: Discount per turn, in (0, 1].
        constants: Whether a constant that is added to every reward is taken away too.

    Returns:
        Shape ``(N,)``.

    Raises:
        MissingExtraError: SciPy is not installed.

    Example:
        >>> rewards, sources, targets = np.array([1.0, 5.0]), np.array([0, 0]), np.array([END, END])
        >>> canonical(rewards, sources, targets, gamma=1.0).round(6).tolist()  # which of two ways is better, and nothing else
        [-2.0, 2.0]
    """
    shaping = _shaping(sources, targets, gamma, constants)
    potential = require("scipy.sparse.linalg").lsmr(shaping, rewards, **_LEAST_SQUARES)[0]
    return np.asarray(rewards - shaping @ potential)


def epic_distance(first: FloatArray, second: FloatArray, sources: States, targets: States, *, gamma: float) -> float | None:
    """Return the EPIC distance of two rewards on recorded transitions: 0 is the same up to shaping, scale and a constant.

    The original compares rewards by the Pearson distance sqrt((1 - rho) / 2) after a canonicalisation that averages each reward
    over transitions from every state to every other. A judge can say nothing of transitions that nobody took. So the
    canonicalisation here is ``canonical`` with ``constants=True``, which is invariant to the same changes and needs recorded
    transitions only; each of them counts once.

    Args:
        first: Rewards. Shape ``(N,)``.
        second: Other rewards of the same transitions. Shape ``(N,)``.
        sources: As in ``canonical``. Shape ``(N,)``.
        targets: As in ``canonical``. Shape ``(N,)``.
        gamma: As in ``canonical``.

    Returns:
        In [0, 1]; 1 when one is the other turned round. ``None`` when one of them is, on these transitions, nothing but shaping
        and a constant, so that there is nothing to compare.

    Raises:
        ConfigError: The shapes differ.
        MissingExtraError: SciPy is not installed.

    References:
        Gleave, Dennis, Legg, Russell and Leike, "Quantifying differences in reward functions", ICLR 2021, arXiv 2006.13900.
    """
    return _distance(first, second, sources, targets, gamma=gamma, constants=True)


def starc_distance(first: FloatArray, second: FloatArray, sources: States, targets: States, *, gamma: float) -> float | None:
    """Return a STARC distance of two rewards on recorded transitions: 0 is the same up to shaping and scale.

    Canonicalised by ``canonical`` (the minimal canonicalisation, in the Euclidean norm over recorded transitions), divided by
    their norms, compared by half the Euclidean distance. Unlike EPIC, a constant per turn counts: in episodes that end it pays
    for being slow.

    Args:
        first: Rewards. Shape ``(N,)``.
        second: Other rewards of the same transitions. Shape ``(N,)``.
        sources: As in ``canonical``. Shape ``(N,)``.
        targets: As in ``canonical``. Shape ``(N,)``.
        gamma: As in ``canonical``.

    Returns:
        In [0, 1]; 1 when one is the other turned round. ``None`` when one of them is, on these transitions, nothing but shaping.

    Raises:
        ConfigError: The shapes differ.
        MissingExtraError: SciPy is not installed.

    References:
        Skalse, Farnik, Motwani, Jenner, Gleave and Abate, "STARC: a general framework for quantifying differences between reward
        functions", ICLR 2024, arXiv 2309.15257.
    """
    return _distance(first, second, sources, targets, gamma=gamma, constants=False)


def _distance(
    first: FloatArray, second: FloatArray, sources: States, targets: States, *, gamma: float, constants: bool
) -> float | None:
    if not first.shape == second.shape == sources.shape == targets.shape:
        shapes = first.shape, second.shape, sources.shape, targets.shape
        raise ConfigError(f"Rewards and states must be of one length, one per transition; they have the shapes {shapes}.")
    units = [
        _unit(rewards, canonical(rewards, sources, targets, gamma=gamma, constants=constants)) for rewards in (first, second)
    ]
    if units[0] is None or units[1] is None:
        return None
    return float(np.linalg.norm(units[0] - units[1]) / 2)


def _unit(rewards: FloatArray, left: FloatArray) -> FloatArray | None:
    norm = np.linalg.norm(left)
    return np.asarray(left / norm) if norm > _NOTHING_LEFT * np.linalg.norm(rewards) else None


def _shaping(sources: States, targets: States, gamma: float, constants: bool) -> Any:
    """Return the matrix from potentials to what they add to each transition. Shape ``(N, S)``, or ``(N, S + 1)``."""
    rows = np.arange(len(sources))
    goes_on = targets != END
    entries = np.concatenate([np.full(len(sources), -1.0), np.full(int(goes_on.sum()), gamma)])
    places = np.concatenate([rows, rows[goes_on]]), np.concatenate([sources, targets[goes_on]])
    width = int(max(sources.max(initial=-1), targets.max(initial=-1))) + 1
    sparse = require("scipy.sparse")
    matrix = sparse.csr_array((entries, places), shape=(len(sources), width))  # equal places add up: a turn that changes nothing
    return sparse.hstack([matrix, np.ones((len(sources), 1))], format="csr") if constants else matrix
