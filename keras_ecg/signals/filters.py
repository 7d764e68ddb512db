"""Cleaning and resampling of whole recordings, by SciPy."""

from fractions import Fraction

import numpy as np
import scipy  # its parts are imported at their first use: half a second that most recordings do not need

from keras_ecg.errors import InputError


def check_band(band: tuple[float, ...], sampling_rate_hz: float, where: str) -> None:
    """Rejects a band that no filter has; none at all is one.

    Raises:
        InputError: it is not two frequencies within 0 and half the sampling rate; `where` names the setting.
    """
    half_rate = sampling_rate_hz / 2
    if band and not (len(band) == 2 and 0 < band[0] < band[1] < half_rate):
        raise InputError(where, str(list(band)), f"[low, high] within 0 and {half_rate:g} Hz", "correct it")


def bandpass(signal: np.ndarray, sampling_rate_hz: float, low_hz: float, high_hz: float, order: int = 3) -> np.ndarray:
    """Zero-phase Butterworth band-pass of a signal (T,) or (T, L), along time.

    Raises:
        ValueError: the band is not within 0 and half the sampling rate.
    """
    sections = scipy.signal.butter(order, (low_hz, high_hz), "bandpass", fs=sampling_rate_hz, output="sos")
    return scipy.signal.sosfiltfilt(sections, signal, axis=0).astype(signal.dtype)


def resample(signal: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Resamples a signal (T,) or (T, L) along time by a polyphase filter; equal rates return it as it is."""
    if from_hz == to_hz:
        return signal
    ratio = Fraction(to_hz / from_hz).limit_denominator(1000)
    # Taken off before and put back after, so that the filter does not ring at the ends of an offset signal.
    level = np.median(signal, axis=0)
    filtered = scipy.signal.resample_poly(signal - level, ratio.numerator, ratio.denominator, axis=0)
    return (filtered + level).astype(signal.dtype)


def clean(signal: np.ndarray, from_hz: float, to_hz: float, band: tuple[float, ...]) -> np.ndarray:
    """A signal (T,) or (T, L) at another rate, and band-passed there; an empty band filters nothing.

    Raises:
        ValueError: as `bandpass`.
    """
    signal = resample(signal, from_hz, to_hz)
    return bandpass(signal, to_hz, *band) if band else signal


def moved_peaks(samples: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Where sample indices (n,) of the original signal lie in the resampled one."""
    return np.rint(np.asarray(samples) * (to_hz / from_hz)).astype(np.int64)
