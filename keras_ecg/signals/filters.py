"""Filtering and resampling of recordings with SciPy. Shapes: T samples, C leads."""

from fractions import Fraction

import numpy as np
import scipy  # submodules are imported at their first use, which saves half a second if they are not needed

from keras_ecg.errors import InputError


def check_band(band: tuple[float, ...], sampling_rate_hz: float, where: str) -> None:
    """Check the cut-off frequencies of a band-pass filter; an empty tuple means no filter.

    Raises:
        InputError: they are not two ascending frequencies between 0 Hz and half the sampling rate; `where` names the
            option.
    """
    half_rate = sampling_rate_hz / 2
    if band and not (len(band) == 2 and 0 < band[0] < band[1] < half_rate):
        raise InputError(where, str(list(band)), f"[low, high] within 0 and {half_rate:g} Hz", "correct it")


def bandpass(signal: np.ndarray, sampling_rate_hz: float, low_hz: float, high_hz: float, order: int = 3) -> np.ndarray:
    """Apply a zero-phase Butterworth band-pass filter to a signal (T,) or (T, C) along time.

    Raises:
        ValueError: the band is not between 0 Hz and half the sampling rate.
    """
    sections = scipy.signal.butter(order, (low_hz, high_hz), "bandpass", fs=sampling_rate_hz, output="sos")
    return scipy.signal.sosfiltfilt(sections, signal, axis=0).astype(signal.dtype)


def resampling_ratio(from_hz: float, to_hz: float) -> Fraction:
    """Return the ratio of integers by which `resample` changes the rate: exact for usual rates, else within 0.1 %."""
    return Fraction(to_hz / from_hz).limit_denominator(1000)


def resample(signal: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Resample a signal (T,) or (T, C) along time with a polyphase filter; with equal rates return it unchanged.

    The new rate is `from_hz * resampling_ratio(from_hz, to_hz)`, which may differ slightly from `to_hz`.
    """
    ratio = resampling_ratio(from_hz, to_hz)
    if ratio == 1:
        return signal
    # Subtracted during filtering, because an offset would cause artefacts at the ends.
    level = np.median(signal, axis=0)
    filtered = scipy.signal.resample_poly(signal - level, ratio.numerator, ratio.denominator, axis=0)
    return (filtered + level).astype(signal.dtype)


def clean(signal: np.ndarray, from_hz: float, to_hz: float, band: tuple[float, ...]) -> np.ndarray:
    """Resample a signal (T,) or (T, C), then band-pass filter it unless the band is empty.

    Raises:
        ValueError: as `bandpass`.
    """
    signal = resample(signal, from_hz, to_hz)
    return bandpass(signal, to_hz, *band) if band else signal


def resample_peaks(samples: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Convert sample indices (n,) of a signal to those of the signal that `resample` returns."""
    return np.rint(np.asarray(samples) * float(resampling_ratio(from_hz, to_hz))).astype(np.int64)
