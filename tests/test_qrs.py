"""R-peak detection against annotations, at other rates and amplitudes, and beside artefacts."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy
from conftest import SAMPLE
from rhythms import RATE, recording

from keras_ecg.databases.annotations import read_annotations
from keras_ecg.databases.mitdb import CLASS_OF_SYMBOL
from keras_ecg.databases.recordings import choose_lead, list_records, read_recording
from keras_ecg.evaluation.detection import compare_peaks
from keras_ecg.signals import qrs
from keras_ecg.signals.qrs import detect_qrs, refine_peaks

LEADS = ("II", "V5", "V2", "V1", "ECG1")


def lead_and_beats(folder, record) -> tuple[np.ndarray, np.ndarray, float]:
    """The usual lead (T,) of a record, its annotated beats (n,), and its rate."""
    found = read_recording(folder, record)
    beats = found.samples[np.isin(found.symbols, list(CLASS_OF_SYMBOL))]
    return found.signals[:, choose_lead(found.leads, "MLII", LEADS)], beats, found.sampling_rate_hz


def sensitivity(counts) -> float:
    return counts[0] / (counts[0] + counts[2])


def predictivity(counts) -> float:
    return counts[0] / (counts[0] + counts[1])


def compared(folder) -> np.ndarray:
    """True and false positives and false negatives over all records of a folder."""
    total = np.zeros(3, int)
    for record in list_records(folder):
        signal, beats, rate = lead_and_beats(folder, record)
        total += compare_peaks(beats, detect_qrs(signal, rate), rate)
    return total


def test_the_comparator_counts_by_hand():
    assert compare_peaks(np.array([100, 200, 300]), np.array([104, 260, 420]), 100) == (1, 2, 2)
    assert compare_peaks(np.array([100, 200]), np.array([100, 106, 200]), 100) == (2, 1, 0)
    assert compare_peaks(np.array([]), np.array([5]), 100) == (0, 1, 0)
    assert compare_peaks(np.array([5]), np.array([]), 100) == (0, 0, 1)


def test_beats_of_the_excerpt():
    total = compared(SAMPLE)
    assert sensitivity(total) >= 0.995 and predictivity(total) >= 0.999


@pytest.mark.parametrize(
    ("variable", "least"), [("MITDB_DIR", (0.997, 0.997)), ("SVDB_DIR", (0.995, 0.985))], ids=["mitdb", "svdb"]
)
def test_beats_of_whole_databases(variable, least):
    if not os.environ.get(variable):
        pytest.skip(f"{variable} does not name the whole database")
    total = compared(os.environ[variable])
    assert sensitivity(total) >= least[0] and predictivity(total) >= least[1]


def test_beats_of_ten_second_strips_at_500_hz():
    if not os.environ.get("LUDB_DIR"):
        pytest.skip("LUDB_DIR does not name the whole database")
    total, folder = np.zeros(3, int), Path(os.environ["LUDB_DIR"])
    for record in list_records(folder):
        found = read_recording(folder, record, None)
        rate, lead = found.sampling_rate_hz, found.signals[:, choose_lead(found.leads, "ii")]
        marks = read_annotations(folder / f"{record}.ii", len(lead), rate, rate)
        peaks = detect_qrs(lead, rate)
        scored = peaks[(peaks >= marks.samples[0]) & (peaks <= marks.samples[-1])]
        total += compare_peaks(marks.samples[marks.symbols == "N"], scored, rate)
    assert total[0] + total[2] == 1831 and sensitivity(total) >= 0.99 and predictivity(total) >= 0.99


@pytest.mark.parametrize("record", ["223", "100", "119"])
def test_the_sampling_rate_does_not_matter(record):
    signal, _, rate = lead_and_beats(SAMPLE, record)
    expected = detect_qrs(signal, rate) / rate
    for other in (128, 250, 500, 1000, 2000):
        ratio = np.gcd(other, 360)
        there = scipy.signal.resample_poly(signal - np.median(signal), other // ratio, 360 // ratio)
        found = detect_qrs(there, other) / other
        assert abs(len(found) - len(expected)) <= 2
        assert np.mean(np.abs(found[:, None] - expected).min(1) < 0.02) > 0.99


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, -1.0], ids=str)
def test_amplitude_and_polarity_do_not_matter(factor):
    signal, _, rate = lead_and_beats(SAMPLE, "208")
    expected = detect_qrs(signal.astype(np.float64), rate)
    np.testing.assert_array_equal(detect_qrs(signal.astype(np.float64) * factor, rate), expected)


@pytest.fixture(scope="module")
def hour() -> tuple[np.ndarray, np.ndarray]:
    """An hour at 128 Hz of the excerpt's records one after the other, and its annotated beats."""
    signals, beats, at = [], [], 0
    for record in list_records(SAMPLE):
        signal, samples, rate = lead_and_beats(SAMPLE, record)
        signals.append(scipy.signal.resample_poly(signal - np.median(signal), 16, 45))
        beats.append(np.rint(samples * 128 / rate).astype(int) + at)
        at += len(signals[-1])
    signal, samples = np.concatenate(signals)[: 3600 * 128], np.concatenate(beats)
    return signal, samples[samples < len(signal)]


def spikes(signal: np.ndarray) -> slice:
    signal[600 * 128 : 600 * 128 + 3] = 20
    signal[1500 * 128] = 160
    signal[1510 * 128] = -160
    return slice(600 * 128 - 64, 600 * 128 + 64)


def first_minute_tenfold(signal: np.ndarray) -> slice:
    signal[: 60 * 128] *= 10
    return slice(0)


def first_minute_of_noise(signal: np.ndarray) -> slice:
    signal[: 60 * 128] = np.random.default_rng(0).normal(0, 5, 60 * 128)
    return slice(60 * 128)


def flat_minute(signal: np.ndarray) -> slice:
    signal[1000 * 128 : 1060 * 128] = 5
    return slice(1000 * 128, 1060 * 128)


def flat_but_for_a_minute(signal: np.ndarray) -> slice:
    signal[: 1000 * 128] = signal[1060 * 128 :] = 0
    return np.r_[0 : 1000 * 128, 1060 * 128 : len(signal)]


@pytest.mark.parametrize(
    "spoil", [spikes, first_minute_tenfold, first_minute_of_noise, flat_minute, flat_but_for_a_minute]
)
def test_an_artefact_costs_no_beat_outside_it(hour, spoil):
    signal, beats = hour[0].copy(), hour[1]
    spoiled = np.zeros(len(signal), bool)
    spoiled[spoil(signal)] = True
    found = detect_qrs(signal, 128.0)
    total = compare_peaks(beats[~spoiled[beats]], found[~spoiled[found]], 128.0)
    assert sensitivity(total) >= 0.98 and predictivity(total) >= 0.98
    assert np.count_nonzero(spoiled[found]) <= 3


def test_blocks_make_no_difference(hour, monkeypatch):
    signal = hour[0][: 600 * 128]
    whole = detect_qrs(signal, 128.0)
    monkeypatch.setattr(qrs, "BLOCK_SECONDS", 70)
    parts = detect_qrs(signal, 128.0)
    assert len(np.setxor1d(whole, parts)) <= 0.005 * len(whole)
    monkeypatch.setattr(qrs, "BLOCK_SECONDS", 1e9)
    np.testing.assert_array_equal(detect_qrs(signal, 128.0), whole)


@pytest.mark.parametrize("exponent", [0, 0.5, 1], ids=["white", "pink", "brown"])
@pytest.mark.parametrize("rate", [128.0, 250.0, 360.0, 1000.0])
def test_noise_has_no_beats(exponent, rate):
    rng = np.random.default_rng(0)
    for _ in range(3):
        spectrum = np.fft.rfft(rng.normal(size=int(60 * rate)))
        spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** exponent
        assert len(detect_qrs(np.fft.irfft(spectrum), rate)) <= 2


def test_ventricular_flutter_has_no_beats():
    at = np.arange(60 * 250) / 250
    wave = np.sin(2 * np.pi * 4.5 * at + np.sin(at)) * (1 + 0.3 * np.sin(0.7 * at))
    assert len(detect_qrs(wave + np.random.default_rng(0).normal(0, 0.02, len(at)), 250.0)) <= 2


@pytest.mark.parametrize("rate", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("seconds_apart", [0.6, 1.5])
def test_tall_p_and_t_waves_are_no_beats(rate, seconds_apart):
    at, beats = np.arange(int(20 * rate)) / rate, np.arange(0.7, 19, seconds_apart)

    def waves(late: float, width: float) -> np.ndarray:
        return np.exp(-(((at[:, None] - beats - late) / width) ** 2) / 2).sum(1)

    late = 0.32 if seconds_apart > 1 else 0.25
    signal = 0.6 * waves(0, 0.01) + 1.0 * waves(late, 0.045) + 0.3 * waves(-0.17, 0.02)
    signal += np.random.default_rng(0).normal(0, 0.005, len(at))
    found = detect_qrs(signal, rate) / rate
    assert len(found) == len(beats) and np.abs(found - beats).max() < 0.02


@pytest.mark.parametrize("kind", "NAO")
def test_beats_of_synthetic_recordings(kind):
    signal, beats = recording(kind, 20)
    found = detect_qrs(signal, RATE) / RATE
    assert len(found) == len(beats) and np.abs(found - beats).max() < 0.02


def test_peaks_are_the_largest_deflections_nearby():
    signal, beats, _ = lead_and_beats(SAMPLE, "208")
    signal, beats = signal[:20000], beats[beats < 20000]
    expected = []
    for beat in beats:
        around = np.clip(np.arange(beat - 18, beat + 19), 0, len(signal) - 1)
        expected.append(around[np.argmax(np.abs(signal[around] - np.median(signal[around])))])
    np.testing.assert_array_equal(refine_peaks(signal, beats, 18), np.unique(expected))
    rising = np.linspace(0, 1, 100)
    assert len(refine_peaks(rising, np.array([2, 98]), 10)) == 0  # cut by the end: no peak in the signal


@pytest.mark.parametrize(
    "signal", [np.zeros(3000), np.full(3000, 7.0), np.arange(100.0), np.zeros(0), np.zeros(301)], ids=len
)
def test_a_flat_or_short_signal_has_no_beats(signal):
    assert detect_qrs(signal, RATE).dtype == np.int64 and not len(detect_qrs(signal, RATE))


def test_a_rate_too_low_for_a_qrs_complex_has_no_beats():
    assert not len(detect_qrs(np.random.default_rng(0).normal(size=1000), 1.0))
