"""Student's t intervals over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mise_gym.extras import require


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    half_width: float
    """Infinite for a single value."""
    count: int
    """Of how many values."""

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width

    def __str__(self) -> str:
        """Return it as in "0.31 ± 0.04"; a single value stands alone."""
        return f"{self.mean:.3f}" + (f" ± {self.half_width:.3f}" if math.isfinite(self.half_width) else " (one seed)")


def t_interval(values: Sequence[float]) -> Interval:
    """Return the 95 % interval of the mean.

    Args:
        values: Shape ``(N,)``, at least one.

    Example:
        >>> str(t_interval([0.2, 0.3, 0.4]))
        '0.300 ± 0.248'
    """
    count = len(values)
    if count == 1:
        return Interval(values[0], math.inf, 1)
    quantile = float(require("scipy.stats", extra="train").t.ppf(0.975, count - 1))
    return Interval(statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(count), count)
