"""Temperature scaling: calibration of a classifier's probabilities by one parameter.

Guo C et al., On Calibration of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599.
"""

import numpy as np
from scipy.optimize import minimize_scalar

SMALLEST = 1e-6  # smallest probability before the logarithm: float16 underflows below it


def scale_temperature(probabilities: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Apply temperature scaling to probabilities (..., C), in float64; the most probable class does not change.

    Args:
        probabilities: (..., C).
        temperature: divisor of the logits, a scalar or (...,); values above 1 reduce confidence.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, "f8"), SMALLEST)) / np.asarray(temperature)[..., np.newaxis]
    out = np.exp(logits - logits.max(-1, keepdims=True))
    return out / out.sum(-1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature, 0.1 to 10, that minimizes the log loss of probabilities (n, C) for labels (n,)."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -np.log(scale_temperature(probabilities, np.exp(log_temperature))[rows, labels]).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded").x))
