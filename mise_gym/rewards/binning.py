"""Equal-mass binning of scores, shared by the outcome calibrator and the metrics."""

import numpy as np
from numpy.typing import NDArray

from mise_gym.rewards.base import FloatArray


def equal_mass_bins(values: FloatArray, max_bins: int) -> NDArray[np.intp]:
    """Put values into bins of about equal mass, never splitting equal values between bins.

    Every distinct value gets its own bin when there are at most ``max_bins`` of them. Otherwise a value goes where its mid-rank
    quantile lies, so that scores crowded into [0.7, 0.9] are told apart as well as scores spread over [0, 1].

    Args:
        values: Numbers to bin. Shape ``(N,)``.
        max_bins: Largest number of bins, at least 1.

    Returns:
        Bin of each value, numbered upwards from 0 without gaps. Shape ``(N,)``.

    Example:
        >>> equal_mass_bins(np.array([0.9, 0.1, 0.9, 0.8]), max_bins=10).tolist()
        [2, 0, 2, 1]
    """
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) <= max_bins:
        return inverse.astype(np.intp)
    mid_ranks = np.cumsum(counts) - counts / 2
    coarse = np.floor(mid_ranks / len(values) * max_bins)
    _, labels = np.unique(coarse, return_inverse=True)
    return labels[inverse].astype(np.intp)
