"""Disturbances of recordings for robustness tests: noise of a given signal-to-noise ratio, low sampling rate.

Shapes: T samples of one lead.
"""

from collections.abc import Callable

import numpy as np
import scipy

from keras_ecg.signals.filters import bandpass, resample

SIGNAL_BAND_HZ = (0.5, 40.0)  # band in which the power of the signal is measured, which excludes baseline wander
MUSCLE_HZ = (5.0, 100.0)
WANDER_HZ = (0.05, 0.5)


def add_noise(signal: np.ndarray, noise: np.ndarray, snr_db: float, rate: float) -> np.ndarray:
    """Add noise to a signal at a given signal-to-noise ratio.

    Args:
        signal: (T,).
        noise: (T,), of any amplitude.
        snr_db: 10 log10 of the power of the signal in SIGNAL_BAND_HZ over the power of the noise.
        rate: sampling rate in Hz.
    """
    power = bandpass(np.asarray(signal, np.float64), rate, *SIGNAL_BAND_HZ).var()
    noise = noise - noise.mean()
    factor = np.sqrt(power / max(noise.var(), 1e-20) / 10 ** (snr_db / 10))
    return (signal + factor * noise).astype(np.float32)


def banded_noise(samples: int, rate: float, band_hz: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw band-limited Gaussian noise (T,), by setting its spectrum outside the band to zero."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    frequency = np.fft.rfftfreq(samples, 1 / rate)
    spectrum[(frequency < band_hz[0]) | (frequency > band_hz[1])] = 0
    return np.fft.irfft(spectrum, samples)


def synthetic_noises(rate: float) -> dict[str, Callable[[int, np.random.Generator], np.ndarray]]:
    """Return functions (samples, generator) that draw synthetic muscle noise and baseline wander, by name."""
    top = min(MUSCLE_HZ[1], 0.45 * rate)
    return {
        "muscle noise": lambda samples, rng: banded_noise(samples, rate, (MUSCLE_HZ[0], top), rng),
        "baseline wander": lambda samples, rng: banded_noise(samples, rate, WANDER_HZ, rng),
    }


def stretches(noise: np.ndarray) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Return a function that draws random segments of recorded noise (M,), which is repeated if it is too short."""

    def draw(samples: int, rng: np.random.Generator) -> np.ndarray:
        return np.take(noise, rng.integers(len(noise)) + np.arange(samples), mode="wrap")

    return draw


def slowly_recorded(signal: np.ndarray, rate: float, at_hz: float) -> np.ndarray:
    """Resample a signal (T,) to a lower sampling rate `at_hz` and back to its own."""
    out = resample(resample(signal, rate, at_hz), at_hz, rate)
    if len(out) < len(signal):
        out = np.pad(out, (0, len(signal) - len(out)), mode="edge")
    return scipy.signal.detrend(out[: len(signal)], type="constant").astype(np.float32)
