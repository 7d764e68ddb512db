"""Segmentation of a lead into beats, median beat, and differences from the median beat."""

import numpy as np

P_WAVE, QRS, T_WAVE = (0.107, 0.401), (0.374, 0.615), (0.615, 1)  # intervals as fractions of a beat's window
QUANTILES = (0.5, 0.9, 0.98, 0.995)


def cut_beats(signal: np.ndarray, peaks: np.ndarray, half_window: int) -> np.ndarray:
    """Cut windows of `2 * half_window + 1` samples centred on peaks.

    Args:
        signal: (T,), one lead.
        peaks: (n,) sample indices within the signal.
        half_window: samples on each side of the peak.

    Returns:
        (n, 2 * half_window + 1), of the dtype of the signal; beyond its ends the end values are repeated.
    """
    index = np.asarray(peaks)[:, None] + np.arange(-half_window, half_window + 1)
    return signal[np.clip(index, 0, len(signal) - 1)]


def near_edge(samples: int, peaks: np.ndarray, half_window: int) -> np.ndarray:
    """Return which peaks (n,) have a window that extends beyond an end of a signal of `samples` samples."""
    return (np.asarray(peaks) < half_window) | (np.asarray(peaks) >= samples - half_window)


def median_beat(beats: np.ndarray) -> np.ndarray:
    """Compute the median beat (T,) of beats (n, T), after subtracting the median of each beat."""
    level = np.median(beats, axis=1, keepdims=True)
    return np.median(np.ascontiguousarray((beats - level).T), axis=1)


def qrs_difference(beats: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Compute the QRS difference (n,) of beats from the median beat: log of a ratio of standard deviations.

    Args:
        beats: (n, T) mV.
        median: (T,) mV, from `median_beat`.
    """
    start, stop = (round(share * beats.shape[1]) for share in QRS)
    return np.log(np.std((beats - median)[:, start:stop], axis=1) / (np.std(median) + 0.03) + 0.05)


def difference_quantiles(beats: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Compute quantiles (4,) float32 of the QRS differences of a record's beats; uses no labels.

    The high quantiles give the scale of the differences of ectopic beats; those of fusion beats are about half as
    large.
    """
    return np.quantile(qrs_difference(beats, median), QUANTILES).astype(np.float32)
