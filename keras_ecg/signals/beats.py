"""Beats cut out of a recording around their R peaks, their median, and how far they are from it."""

import numpy as np

P_WAVE, QRS, T_WAVE = (0.107, 0.401), (0.374, 0.615), (0.615, 1)  # shares of a beat's window
QUANTILES = (0.5, 0.9, 0.98, 0.995)


def cut_beats(signal: np.ndarray, peaks: np.ndarray, half_window: int) -> np.ndarray:
    """Windows of `2 * half_window + 1` samples around each peak.

    Args:
        signal: (T,), one lead.
        peaks: (n,) sample indices within the signal.
        half_window: samples on each side of the peak.

    Returns:
        (n, 2 * half_window + 1), of the signal's type; beyond an end the end's own value goes on.
    """
    index = np.asarray(peaks)[:, None] + np.arange(-half_window, half_window + 1)
    return signal[np.clip(index, 0, len(signal) - 1)]


def near_edge(samples: int, peaks: np.ndarray, half_window: int) -> np.ndarray:
    """Which peaks (n,) of a signal of `samples` samples have a window that reaches beyond an end."""
    return (np.asarray(peaks) < half_window) | (np.asarray(peaks) >= samples - half_window)


def median_beat(beats: np.ndarray) -> np.ndarray:
    """The median (T,) of beats (n, T) less each one's own median level: what a record's usual beat looks like."""
    level = np.median(beats, axis=1, keepdims=True)
    return np.median(np.ascontiguousarray((beats - level).T), axis=1)


def qrs_difference(beats: np.ndarray, median: np.ndarray) -> np.ndarray:
    """How far each beat's QRS is from the median beat's: log of the difference's size over the median beat's (n,).

    Args:
        beats: (n, T) mV.
        median: (T,) mV, as `median_beat` gives it.
    """
    start, stop = (round(share * beats.shape[1]) for share in QRS)
    return np.log(np.std((beats - median)[:, start:stop], axis=1) / (np.std(median) + 0.03) + 0.05)


def difference_quantiles(beats: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Quantiles (4,) float32 of a record's QRS differences: of its usual beats, and of its odd ones where it has them.

    No label enters. An ectopic beat is as far off as the record's odd beats are, a fusion beat half the way.
    """
    return np.quantile(qrs_difference(beats, median), QUANTILES).astype(np.float32)
