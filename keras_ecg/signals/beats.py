"""Beats cut out of a recording around their R peaks, and their median."""

import numpy as np


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
    return np.median(beats - np.median(beats, axis=1, keepdims=True), axis=0)
