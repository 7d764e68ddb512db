"""What happens to recordings outside the laboratory: noise of a given strength, a slow recorder, swapped electrodes.

Shapes: T samples of one lead.
"""

from collections.abc import Callable

import numpy as np
import scipy

from keras_ecg.signals.filters import bandpass, resample

HEART_HZ = (0.5, 40.0)  # where the power of a recording is measured: a wandering baseline is no signal
MUSCLE_HZ = (5.0, 100.0)
WANDER_HZ = (0.05, 0.5)


def add_noise(signal: np.ndarray, noise: np.ndarray, snr_db: float, rate: float) -> np.ndarray:
    """A signal with noise on it, so strong that the signal has `snr_db` decibels more power in `HEART_HZ`.

    Args:
        signal: (T,).
        noise: (T,), of any strength.
        snr_db: 10 log10 of the ratio of the powers.
        rate: samples per second.
    """
    power = bandpass(np.asarray(signal, np.float64), rate, *HEART_HZ).var()
    noise = noise - noise.mean()
    factor = np.sqrt(power / max(noise.var(), 1e-20) / 10 ** (snr_db / 10))
    return (signal + factor * noise).astype(np.float32)


def banded_noise(samples: int, rate: float, band_hz: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise (T,) of a band, by its spectrum."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    frequency = np.fft.rfftfreq(samples, 1 / rate)
    spectrum[(frequency < band_hz[0]) | (frequency > band_hz[1])] = 0
    return np.fft.irfft(spectrum, samples)


def synthetic_noises(rate: float) -> dict[str, Callable[[int, np.random.Generator], np.ndarray]]:
    """Functions of a number of samples and a generator that draw noise like muscles' and like a wandering baseline."""
    top = min(MUSCLE_HZ[1], 0.45 * rate)
    return {
        "muscle noise": lambda samples, rng: banded_noise(samples, rate, (MUSCLE_HZ[0], top), rng),
        "baseline wander": lambda samples, rng: banded_noise(samples, rate, WANDER_HZ, rng),
    }


def stretches(noise: np.ndarray) -> Callable[[int, np.random.Generator], np.ndarray]:
    """A function that draws random stretches of recorded noise (M,), repeated where it is too short."""

    def draw(samples: int, rng: np.random.Generator) -> np.ndarray:
        return np.take(noise, rng.integers(len(noise)) + np.arange(samples), mode="wrap")

    return draw


def slowly_recorded(signal: np.ndarray, rate: float, at_hz: float) -> np.ndarray:
    """A signal (T,) as a recorder of another rate would have it, at its own rate again."""
    there = resample(resample(signal, rate, at_hz), at_hz, rate)
    if len(there) < len(signal):
        there = np.pad(there, (0, len(signal) - len(there)), mode="edge")
    return scipy.signal.detrend(there[: len(signal)], type="constant").astype(np.float32)
