"""One hour of ECG at 128 Hz with artefacts of ambulatory recordings, and the beats that must be detected."""

from pathlib import Path

import numpy as np
import scipy

from keras_ecg.databases.mitdb import CLASS_OF_SYMBOL
from keras_ecg.databases.recordings import choose_lead, list_records, read_recording

RATE_HZ = 128
LEADS = ("II", "V5", "V2", "V1", "ECG1")


def annotated_lead(folder: Path | str, record: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Read the lead MLII, or the first of LEADS: signal (T,), annotated beats (n,) in samples, and sampling rate."""
    found = read_recording(folder, record)
    beats = found.samples[np.isin(found.symbols, list(CLASS_OF_SYMBOL))]
    return found.signals[:, choose_lead(found.leads, "MLII", LEADS)], beats, found.sampling_rate_hz


def hour(folder: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate a folder's records to one hour (T,), with its annotated beats (n,) in samples."""
    signals, beats, start = [], [], 0
    for record in list_records(folder):
        signal, samples, rate = annotated_lead(folder, record)
        signals.append(scipy.signal.resample_poly(signal - np.median(signal), RATE_HZ, round(rate)))
        beats.append(np.rint(samples * RATE_HZ / rate).astype(int) + start)
        start += len(signals[-1])
    signal, samples = np.concatenate(signals)[: 3600 * RATE_HZ], np.concatenate(beats)
    return signal, samples[samples < len(signal)]


def _between(first: float, last: float) -> slice:
    return slice(round(first * RATE_HZ), round(last * RATE_HZ))


def _spikes(signal: np.ndarray, out: np.ndarray) -> None:
    signal[600 * RATE_HZ : 600 * RATE_HZ + 3] = 20
    signal[1500 * RATE_HZ] = 160
    signal[1510 * RATE_HZ] = -160
    for seconds in (600, 1500, 1510):
        out[_between(seconds - 0.5, seconds + 0.5)] = True


def _first_minute_tenfold(signal: np.ndarray, out: np.ndarray) -> None:
    signal[_between(0, 60)] *= 10


def _first_minute_of_noise(signal: np.ndarray, out: np.ndarray) -> None:
    signal[_between(0, 60)] = np.random.default_rng(0).normal(0, 5, 60 * RATE_HZ)
    out[_between(0, 60)] = True


def _flat_minute(signal: np.ndarray, out: np.ndarray) -> None:
    signal[_between(1000, 1060)] = 5
    out[_between(1000, 1060)] = True


def _flat_but_for_a_minute(signal: np.ndarray, out: np.ndarray) -> None:
    for part in (_between(0, 1000), _between(1060, 3600)):
        signal[part] = 0
        out[part] = True


ARTEFACTS = {
    "clean": lambda signal, out: None,
    "spikes of 20 and 160 mV": _spikes,
    "first minute tenfold": _first_minute_tenfold,
    "first minute of noise": _first_minute_of_noise,
    "a flat minute": _flat_minute,
    "flat but for a minute": _flat_but_for_a_minute,
}


def with_artefact(signal: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Copy a signal (T,) with an artefact added, and a mask (T,) of samples where beats are not scored."""
    signal, out = signal.copy(), np.zeros(len(signal), bool)
    ARTEFACTS[name](signal, out)
    return signal, out
