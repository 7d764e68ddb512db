"""Disturbed copies of a recording, for the robustness evaluation of rhythm classifiers.

Imports no Keras, because worker processes compute them.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.rhythm_records import clean, lead_of
from keras_ecg.databases import recordings
from keras_ecg.signals.disturb import add_noise, slowly_recorded, stretches, synthetic_noises
from keras_ecg.signals.filters import resample


def source_of_noise(config: Config) -> str:
    """Return the name of the source of the noise, for the report."""
    return "MIT-BIH Noise Stress Test Database" if config.rhythm.robustness.noise_dir else "synthetic"


def noises_of(config: Config, rate: float) -> dict:
    """Return functions that draw noise at a sampling rate (Hz), by name of the noise.

    Raises:
        InputError: `rhythm.robustness.noise_dir` does not contain the noise records of nstdb.
    """
    folder = config.rhythm.robustness.noise_dir
    return recorded_noises(folder, rate) if folder else synthetic_noises(rate)


@cache
def recorded_noises(folder: str, rate: float) -> dict:
    """Return functions that draw segments of the noise records of nstdb, resampled to `rate` Hz, by name."""
    found = {}
    for name, record in (("muscle noise", "ma"), ("baseline wander", "bw")):
        noise = recordings.read_recording(folder, record, annotations=None)
        found[name] = stretches(resample(noise.signals[:, 0], noise.sampling_rate_hz, rate))
    return found


def disturbances(signal: np.ndarray, rate: float, config: Config, seed: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield name, strength and signal (T,) of every disturbance of a signal (T,), first the undisturbed signal."""
    options = config.rhythm.robustness
    rng = np.random.default_rng(seed)
    yield "none", 0.0, signal
    for name, draw in noises_of(config, rate).items():
        noise = draw(len(signal), rng)  # the same noise for all strengths
        for snr in options.snr_db:
            yield name, snr, add_noise(signal, noise, snr, rate)
    for slow in options.rates_hz:
        yield "sampling rate", slow, slowly_recorded(signal, rate, slow)
    yield "inverted", 0.0, -signal


def disturbed_recording(record: str, config: Config, seed: int) -> list[tuple[str, float, np.ndarray, np.ndarray]]:
    """Return name, strength, preprocessed signal (T,) and beats (n,) in seconds of every disturbance of a recording.

    Raises:
        InputError: the recording or a noise cannot be read.
    """
    signal, rate = lead_of(config.database.data_dir, record, config.rhythm)
    return [(name, size, *clean(x, rate, config.rhythm)) for name, size, x in disturbances(signal, rate, config, seed)]
