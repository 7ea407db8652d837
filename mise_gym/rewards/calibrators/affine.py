"""AffineCalibrator: Platt scaling."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mise_gym.extras import require
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.calibrators.crossfit import CrossFittedCalibrator
from mise_gym.rewards.calibrators.windowed import Curve


class AffineCalibrator(CrossFittedCalibrator):
    """c(s) from Platt scaling: E[R | s] = sigmoid(a s + b), the score made affine on the scale of log-odds.

    Two numbers are learnt, so few episodes are enough; a negative slope turns an inverted judge round. The curve is shrunk to 0
    as far as it fails to predict episodes that it was not fitted to (``cross_fitted``). scikit-learn does the fitting.

    Args:
        window: Number of recent episodes to learn from.
        shrinkage: How many episodes the assumption "scores say nothing" is worth. 0 trusts the cross-fit alone.

    Raises:
        ConfigError: An argument is out of range.
        MissingExtraError: scikit-learn is not installed.

    References:
        Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods", in Advances
        in Large Margin Classifiers (1999).
    """

    name = "affine"

    @staticmethod
    def fit(levels: FloatArray, means: FloatArray, weights: FloatArray) -> Curve:
        """Fit a line to the log-odds."""
        return logistic(lambda scores: scores[:, None], levels, means, weights)[0]


def logistic(
    features: Callable[[FloatArray], FloatArray], levels: FloatArray, means: FloatArray, weights: FloatArray
) -> tuple[Curve, FloatArray]:
    """Fit a logistic regression of mean outcomes on features of the score.

    The features are standardised, and a standard normal prior on their coefficients, worth a fraction of one episode, keeps
    separable data from running away.

    Args:
        features: From scores, shape ``(N,)``, to features, shape ``(N, F)``.
        levels: Levels of the score. Shape ``(B,)``.
        means: Mean outcome at each, strictly between 0 and 1. Shape ``(B,)``.
        weights: Weight of each, in episodes. Shape ``(B,)``.

    Returns:
        The curve of E[R | s], and the coefficients of the standardised features, shape ``(F,)``.
    """
    inputs = features(levels)
    centre = np.average(inputs, axis=0, weights=weights)
    spread = np.sqrt(np.average((inputs - centre) ** 2, axis=0, weights=weights))
    spread = np.where(spread > 0, spread, 1.0)
    rows = np.tile((inputs - centre) / spread, (2, 1))
    labels = np.repeat([1, 0], len(levels))
    model: Any = require("sklearn.linear_model").LogisticRegression(C=1.0)
    model.fit(rows, labels, sample_weight=np.concatenate([weights * means, weights * (1 - means)]))

    def curve(scores: FloatArray) -> FloatArray:
        log_odds = (features(scores) - centre) / spread @ model.coef_[0] + model.intercept_[0]
        return np.asarray(1 / (1 + np.exp(-log_odds)))

    return curve, np.asarray(model.coef_[0])
