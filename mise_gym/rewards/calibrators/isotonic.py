"""IsotonicCalibrator: any monotone curve."""

import numpy as np

from mise_gym.extras import require
from mise_gym.rewards.base import FloatArray
from mise_gym.rewards.calibrators.crossfit import CrossFittedCalibrator
from mise_gym.rewards.calibrators.windowed import Curve


class IsotonicCalibrator(CrossFittedCalibrator):
    """c(s) from isotonic regression: the monotone curve nearest to the outcomes.

    It assumes no shape but the direction, which it takes from the data: where higher scores go with worse outcomes the curve
    falls, and an inverted judge is turned round. It needs more episodes than ``affine`` and ``beta``. The curve is shrunk to 0
    as far as it fails to predict episodes that it was not fitted to (``cross_fitted``). scikit-learn does the fitting.

    Args:
        window: Number of recent episodes to learn from.
        shrinkage: How many episodes the assumption "scores say nothing" is worth. 0 trusts the cross-fit alone.

    Raises:
        ConfigError: An argument is out of range.
        MissingExtraError: scikit-learn is not installed.

    References:
        Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """

    name = "isotonic"

    @staticmethod
    def fit(levels: FloatArray, means: FloatArray, weights: FloatArray) -> Curve:
        """Fit the nearest monotone curve."""
        rises = bool(weights * (levels - np.average(levels, weights=weights)) @ means >= 0)
        model = require("sklearn.isotonic").IsotonicRegression(increasing=rises, out_of_bounds="clip")
        model.fit(levels, means, sample_weight=weights)
        heights = model.predict(levels)
        return lambda scores: np.interp(scores, levels, heights)
