"""BetaCalibrator: beta calibration, made for scores in [0, 1]."""

from typing import Final

import numpy as np

from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.calibrators.affine import logistic
from mise_gym.rewards.calibrators.crossfit import CrossFittedCalibrator
from mise_gym.rewards.calibrators.windowed import Curve

_EDGE: Final = 1e-3


class BetaCalibrator(CrossFittedCalibrator):
    """c(s) from beta calibration: log-odds of R = a ln s - b ln(1 - s) + c, with a and b at least 0.

    The family holds the identity, sigmoids, inverse sigmoids, and curves bent on one side only, which is what over-confidence
    looks like; Platt scaling cannot leave a well calibrated judge alone. Where higher scores go with worse outcomes the same is
    fitted to 1 - s, so that an inverted judge is turned round. The curve is shrunk to 0 as far as it fails to predict episodes
    that it was not fitted to (``cross_fitted``). scikit-learn does the fitting.

    Args:
        window: Number of recent episodes to learn from.
        shrinkage: How many episodes the assumption "scores say nothing" is worth. 0 trusts the cross-fit alone.

    Raises:
        ConfigError: An argument is out of range.
        MissingExtraError: scikit-learn is not installed.

    References:
        Kull, Silva Filho and Flach, "Beta calibration: a well-founded and easily implemented improvement on logistic calibration
        for binary classifiers", AISTATS 2017.
    """

    name = "beta"

    @staticmethod
    def fit(levels: FloatArray, means: FloatArray, weights: FloatArray) -> Curve:
        """Fit both tails of the score; a tail of the wrong sign is left out."""
        falls = bool(weights * (levels - np.average(levels, weights=weights)) @ means < 0)

        def features(scores: FloatArray) -> FloatArray:
            inside = np.clip(1 - scores if falls else scores, _EDGE, 1 - _EDGE)
            return np.stack([np.log(inside), -np.log1p(-inside)], axis=1)

        curve, coefficients = logistic(features, levels, means, weights)
        if (coefficients >= 0).all():
            return curve
        kept = int(coefficients.argmax())  # as Kull et al. do: leave out the term of the wrong sign, and fit again
        return logistic(lambda scores: features(scores)[:, [kept]], levels, means, weights)[0]
