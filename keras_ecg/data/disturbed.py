"""Recordings under every disturbance that a rhythm model is tried on, without Keras: worker processes make them."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.rhythm_records import clean, lead_of
from keras_ecg.databases import recordings
from keras_ecg.signals.disturb import add_noise, slowly_recorded, stretches, synthetic_noises
from keras_ecg.signals.filters import resample


def source_of_noise(config: Config) -> str:
    """Where the noises come from."""
    return "MIT-BIH Noise Stress Test Database" if config.rhythm.robustness.noise_dir else "synthetic"


def noises_of(config: Config, rate: float) -> dict:
    """Functions that draw noise at a rate, by name.

    Raises:
        InputError: the folder that is named does not hold the noises of nstdb.
    """
    folder = config.rhythm.robustness.noise_dir
    return recorded_noises(folder, rate) if folder else synthetic_noises(rate)


@cache
def recorded_noises(folder: str, rate: float) -> dict:
    """Functions that draw stretches of nstdb's noises, brought to a rate."""
    found = {}
    for name, record in (("muscle noise", "ma"), ("baseline wander", "bw")):
        noise = recordings.read_recording(folder, record, annotations=None)
        found[name] = stretches(resample(noise.signals[:, 0], noise.sampling_rate_hz, rate))
    return found


def disturbances(signal: np.ndarray, rate: float, config: Config, seed: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """Name, strength and signal (T,) of every disturbance of a recording, the undisturbed one first."""
    wanted = config.rhythm.robustness
    rng = np.random.default_rng(seed)
    yield "none", 0.0, signal
    for name, draw in noises_of(config, rate).items():
        noise = draw(len(signal), rng)  # the same for all strengths
        for snr in wanted.snr_db:
            yield name, snr, add_noise(signal, noise, snr, rate)
    for slow in wanted.rates_hz:
        yield "sampling rate", slow, slowly_recorded(signal, rate, slow)
    yield "inverted", 0.0, -signal


def disturbed_recording(record: str, config: Config, seed: int) -> list[tuple[str, float, np.ndarray, np.ndarray]]:
    """Name and strength of every disturbance of a recording, with its cleaned signal (T,) and its beats (n,) seconds.

    Raises:
        InputError: the recording or a noise cannot be read.
    """
    signal, rate = lead_of(config.database.data_dir, record, config.rhythm)
    return [(name, size, *clean(x, rate, config.rhythm)) for name, size, x in disturbances(signal, rate, config, seed)]
