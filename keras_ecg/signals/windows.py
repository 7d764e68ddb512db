"""Windows of fixed length from recordings, and detection of unusable windows.

Faults are detected in the unfiltered samples, because a filter spreads and hides them; a window that contains a faulty
sample is dropped.

Shapes: M samples of a recording, C leads, n windows of T samples.
"""

from typing import Any

import numpy as np

FLAT_SECONDS = 1.0  # an ECG or amplifier noise is never constant for so long
FLAT_MV = 0.05  # peak to peak, of a filtered window without ECG; a third of AAMI EC13's threshold of asystole
SATURATED_SECONDS = 0.1  # at the record's minimum or maximum: no peak is so long; a flat ST segment is half of it


def window_step(length: int, overlap: float) -> int:
    """Return the number of samples between the starts of consecutive windows, at least 1."""
    return max(1, round(length * (1 - overlap)))


def window_starts(samples: int, length: int, overlap: float) -> np.ndarray:
    """Return the starts (n,) of windows of `length` samples in a signal of `samples` samples.

    If at least half a step remains after the last regular window, a further window ends with the signal, so that the
    end of short recordings is used without nearly repeating a window.
    """
    step = window_step(length, overlap)
    starts = np.arange(0, samples - length + 1, step)
    left = samples - length - starts[-1] if len(starts) else 0
    return np.append(starts, samples - length) if left >= max(1, step / 2) else starts


def cut_windows(signal: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Cut windows (n, T, C) out of a signal (M, C)."""
    return signal[starts[:, np.newaxis] + np.arange(length)]


def coverage(starts: np.ndarray, length: int, samples: int) -> np.ndarray:
    """Return which of `samples` samples are in at least one window, (M,) bool."""
    change = np.zeros(samples + 1, np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + length, -1)
    return np.cumsum(change[:-1]) > 0


def fill_missing(signal: np.ndarray) -> np.ndarray:
    """Interpolate NaN and infinite samples of a signal (M, C) linearly; leads without any finite sample become 0."""
    missing = ~np.isfinite(signal)
    if not missing.any():
        return signal
    out, at = signal.copy(), np.arange(len(signal))
    for lead, gaps in enumerate(missing.T):
        if gaps.all():
            out[:, lead] = 0
        else:
            out[gaps, lead] = np.interp(at[gaps], at[~gaps], signal[~gaps, lead])
    return out


def constant_runs(signal: np.ndarray, least: int) -> np.ndarray:
    """Return which samples of a signal (M, C) are in a run of at least `least` equal samples, (M, C) bool."""
    out = np.zeros(signal.shape, bool)
    for lead, values in enumerate(signal.T):
        edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
        lengths = np.diff(edges)
        out[:, lead] = np.repeat(lengths >= least, lengths)
    return out


def flat_samples(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Return where any lead of a recorded signal (M, C) is constant for FLAT_SECONDS, (M,) bool."""
    return constant_runs(signal, round(FLAT_SECONDS * sampling_rate_hz)).any(axis=1)


def saturated_samples(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Return where any lead of a recorded signal (M, C) stays at its extreme for SATURATED_SECONDS, (M,) bool."""
    extreme = (signal == np.fmax.reduce(signal)) | (signal == np.fmin.reduce(signal))
    least = max(2, round(SATURATED_SECONDS * sampling_rate_hz))
    return (extreme & constant_runs(signal, least)).any(axis=1)


def touches(mask: np.ndarray, starts: np.ndarray, length: int, ratio: float = 1.0) -> np.ndarray:
    """Return which windows contain a marked sample, (n,) bool.

    Args:
        mask: (M,) bool, at the original sampling rate.
        starts: (n,) starts at the sampling rate of the windows.
        length: samples T of a window.
        ratio: original sampling rate over that of the windows.
    """
    marked = np.concatenate([[0], np.cumsum(mask)])
    first = np.floor(starts * ratio).astype(np.int64)
    stop = np.minimum(np.ceil((starts + length) * ratio).astype(np.int64), len(mask))
    return marked[stop] > marked[first]


def flat_windows(windows: np.ndarray) -> np.ndarray:
    """Return which filtered windows (n, T, C) in mV have a lead with less than FLAT_MV peak to peak, (n,) bool."""
    return (np.ptp(windows, axis=1) < FLAT_MV).any(axis=1)


def zscore(windows: Any, xp: Any = np) -> Any:
    """Standardize each lead of windows (..., T, C); `xp` is NumPy or a module with the same functions."""
    centered = windows - xp.mean(windows, axis=-2, keepdims=True)
    return centered / xp.maximum(xp.std(windows, axis=-2, keepdims=True), 1e-6)
