"""Windows of fixed length out of whole recordings, and what makes one useless.

What is wrong with a stretch is seen in the recorded samples, before a filter spreads and hides it: a mask of them says
where, and a window that touches such a place is left out.

Shapes: M samples of a recording, L leads, n windows of T samples.
"""

from typing import Any

import numpy as np

FLAT_SECONDS = 1.0  # no heart and no amplifier rests so long on one value
FLAT_MV = 0.05  # peak to peak of a cleaned window: noise alone, a third of what AAMI EC13 takes for asystole
SATURATED_SECONDS = 0.1  # at the record's extreme: no peak lasts so long; a level ST segment may last half of it


def window_step(length: int, overlap: float) -> int:
    """Samples from one window's start to the next one's: at least one."""
    return max(1, round(length * (1 - overlap)))


def window_starts(samples: int, length: int, overlap: float) -> np.ndarray:
    """The first samples (n,) of the windows of `length` in a signal of so many samples, from its beginning on.

    One more ends with the signal where at least half a step is left: what a short recording has in the end is not lost,
    and no window all but repeats another.
    """
    step = window_step(length, overlap)
    starts = np.arange(0, samples - length + 1, step)
    left = samples - length - starts[-1] if len(starts) else 0
    return np.append(starts, samples - length) if left >= max(1, step / 2) else starts


def cut_windows(signal: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Windows (n, T, L) of a signal (M, L)."""
    return signal[starts[:, np.newaxis] + np.arange(length)]


def coverage(starts: np.ndarray, length: int, samples: int) -> np.ndarray:
    """Which of so many samples lie in at least one window, (M,) bool."""
    change = np.zeros(samples + 1, np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + length, -1)
    return np.cumsum(change[:-1]) > 0


def fill_missing(signal: np.ndarray) -> np.ndarray:
    """A signal (M, L) with straight lines through its samples that are no number; a lead without any number is 0."""
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
    """Which samples of a signal (M, L) stand in a run of at least so many equal ones, (M, L) bool."""
    out = np.zeros(signal.shape, bool)
    for lead, values in enumerate(signal.T):
        edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
        lengths = np.diff(edges)
        out[:, lead] = np.repeat(lengths >= least, lengths)
    return out


def flat_samples(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Where some lead of a recorded signal (M, L) keeps one value for FLAT_SECONDS, (M,) bool."""
    return constant_runs(signal, round(FLAT_SECONDS * sampling_rate_hz)).any(axis=1)


def saturated_samples(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Where some lead of a recorded signal (M, L) stays at its extreme for SATURATED_SECONDS, (M,) bool."""
    extreme = (signal == np.fmax.reduce(signal)) | (signal == np.fmin.reduce(signal))
    least = max(2, round(SATURATED_SECONDS * sampling_rate_hz))
    return (extreme & constant_runs(signal, least)).any(axis=1)


def touches(mask: np.ndarray, starts: np.ndarray, length: int, ratio: float = 1.0) -> np.ndarray:
    """Which windows hold a marked sample, (n,) bool.

    Args:
        mask: (M,) bool, at the recorded rate.
        starts: (n,) at the windows' rate.
        length: T, at the windows' rate.
        ratio: recorded samples to one of the windows'.
    """
    marked = np.concatenate([[0], np.cumsum(mask)])
    first = np.floor(starts * ratio).astype(np.int64)
    stop = np.minimum(np.ceil((starts + length) * ratio).astype(np.int64), len(mask))
    return marked[stop] > marked[first]


def flat_windows(windows: np.ndarray) -> np.ndarray:
    """Which cleaned windows (n, T, L), mV, have a lead that never moves by FLAT_MV, (n,) bool."""
    return (np.ptp(windows, axis=1) < FLAT_MV).any(axis=1)


def zscore(windows: Any, xp: Any = np) -> Any:
    """Windows (..., T, L), each lead less its mean and over its standard deviation; `xp` is NumPy or its namesake."""
    centered = windows - xp.mean(windows, axis=-2, keepdims=True)
    return centered / xp.maximum(xp.std(windows, axis=-2, keepdims=True), 1e-6)
