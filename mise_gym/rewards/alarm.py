"""HackingAlarm: the judge is more and more pleased, and the task is not done any better."""

from collections import deque
from typing import Any

import numpy as np

from mise_gym.errors import CheckpointError, ConfigError


class HackingAlarm:
    """Watches the judge's mean score and the success rate, iteration by iteration.

    It rings while, over the last ``window`` iterations, the score has a clear upward trend (the t-statistic of its slope is at
    least ``threshold``), success has none (below a third of that), and the score lies above the success rate. An
    under-confident judge that catches up with what the policy can do is therefore no alarm.

    Args:
        window: Iterations that the trends are taken over, at least 4. A short window rings sooner, and sooner without reason.
        threshold: Least t-statistic of a trend that counts, above 0.

    Raises:
        ConfigError: An argument is out of range.

    Example:
        >>> alarm = HackingAlarm(window=5)
        >>> [alarm.update(score, success) for score, success in
        ...  [(0.5, 0.3), (0.55, 0.32), (0.6, 0.29), (0.66, 0.31), (0.7, 0.3), (0.75, 0.31)]]
        [False, False, False, False, True, True]

    References:
        Gao, Schulman and Hilton, "Scaling laws for reward model overoptimization", ICML 2023, for what it watches out for.
    """

    def __init__(self, window: int = 10, threshold: float = 3.0) -> None:
        if window < 4 or not threshold > 0:
            raise ConfigError(f"HackingAlarm got window={window!r}, threshold={threshold!r}. Give window >= 4 and threshold > 0.")
        self.threshold = threshold
        self._seen: deque[tuple[float, float]] = deque(maxlen=window)

    def update(self, score: float, success: float) -> bool:
        """Take in one iteration and return whether the alarm rings.

        Args:
            score: Mean score of the judge over the iteration's turns or episodes, in [0, 1].
            success: Share of the iteration's episodes that succeeded.
        """
        self._seen.append((float(score), float(success)))
        if len(self._seen) < (self._seen.maxlen or 0):
            return False
        scores, successes = np.array(self._seen).T
        is_pleased = trend(scores) >= self.threshold and scores.mean() > successes.mean()
        return bool(is_pleased and trend(successes) < self.threshold / 3)

    def state_dict(self) -> dict[str, Any]:
        """Return the iterations in the window."""
        return {"seen": [list(pair) for pair in self._seen]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            CheckpointError: The state is not that of an alarm.
        """
        try:
            seen = [(float(score), float(success)) for score, success in state["seen"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The state of a hacking alarm must be {{'seen': [[score, success], ...]}}; it has the keys {sorted(state)!r}."
            ) from error
        self._seen.clear()
        self._seen.extend(seen)


def trend(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return the t-statistic of the slope of a straight line through the values; plus or minus infinity for an exact line.

    Args:
        values: Shape ``(N,)``, N >= 3.
    """
    times = np.arange(len(values)) - (len(values) - 1) / 2
    slope = times @ values / (times @ times)
    residuals = values - values.mean() - slope * times
    error = np.sqrt(residuals @ residuals / (len(values) - 2) / (times @ times))
    if error < 1e-12:
        return float(np.sign(slope) * np.inf) if abs(slope) > 1e-12 else 0.0
    return float(slope / error)
