"""Temperature scaling: one number that makes a classifier as sure as it is right.

Guo C et al., On Calibration of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599.
"""

import numpy as np
from scipy.optimize import minimize_scalar

LEAST = 1e-6  # of a probability: half precision knows none smaller


def temper(probabilities: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Probabilities (..., C) at another temperature: those of the logits over it, in float64. The largest stays so.

    Args:
        probabilities: (..., C).
        temperature: a number, or one each (...,); above 1 makes less sure.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, "f8"), LEAST)) / np.asarray(temperature)[..., np.newaxis]
    out = np.exp(logits - logits.max(-1, keepdims=True))
    return out / out.sum(-1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the log loss of probabilities (n, C) is least on labels (n,); 0.1 to 10."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -np.log(temper(probabilities, np.exp(log_temperature))[rows, labels]).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded").x))
