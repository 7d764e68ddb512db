"""R-peak detection: annotations, sampling rates, amplitudes, artefacts."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy
from conftest import SAMPLE
from rhythms import RATE, recording

from benchmarks.artefacts import ARTEFACTS, annotated_lead, hour, with_artefact
from keras_ecg.databases.annotations import read_annotations
from keras_ecg.databases.recordings import choose_lead, list_records, read_recording
from keras_ecg.evaluation.detection import compare_peaks
from keras_ecg.signals import qrs
from keras_ecg.signals.qrs import detect_qrs, refine_peaks
from keras_ecg.signals.windows import fill_missing


def sensitivity(counts) -> float:
    return counts[0] / (counts[0] + counts[2])


def predictivity(counts) -> float:
    return counts[0] / (counts[0] + counts[1])


def compared(folder) -> np.ndarray:
    """Count true positives, false positives and false negatives over all records of a folder."""
    total = np.zeros(3, int)
    for record in list_records(folder):
        signal, beats, rate = annotated_lead(folder, record)
        total += compare_peaks(beats, detect_qrs(signal, rate), rate)
    return total


def test_comparison_of_detections_matches_hand_count():
    assert compare_peaks(np.array([100, 200, 300]), np.array([104, 260, 420]), 100) == (1, 2, 2)
    assert compare_peaks(np.array([100, 200]), np.array([100, 106, 200]), 100) == (2, 1, 0)
    assert compare_peaks(np.array([]), np.array([5]), 100) == (0, 1, 0)
    assert compare_peaks(np.array([5]), np.array([]), 100) == (0, 0, 1)


def test_beats_of_excerpt_are_detected():
    total = compared(SAMPLE)
    assert sensitivity(total) >= 0.995 and predictivity(total) >= 0.999


@pytest.mark.parametrize(
    ("variable", "least"), [("MITDB_DIR", (0.997, 0.997)), ("SVDB_DIR", (0.995, 0.985))], ids=["mitdb", "svdb"]
)
def test_sensitivity_and_predictivity_on_databases(variable, least):
    if not os.environ.get(variable):
        pytest.skip(f"{variable} does not name the whole database")
    total = compared(os.environ[variable])
    assert sensitivity(total) >= least[0] and predictivity(total) >= least[1]


def test_beats_of_ten_second_recordings_at_500_hz_are_detected():
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


@pytest.mark.parametrize(
    ("record", "lead", "beats"),
    [("s0010_re", "ii", 52), ("mixedsignals", "II", 392), ("mixedsignals", "III", 392)],
    ids=["1000 Hz", "four samples a frame", "another lead of it"],
)
def test_beats_of_clinical_recordings_are_detected(record, lead, beats):
    if not os.environ.get("FORMATS_DIR"):
        pytest.skip("FORMATS_DIR is not set to the folder of recordings in other formats")
    found = read_recording(Path(os.environ["FORMATS_DIR"]) / "wfdb-python", record, None)
    signal = fill_missing(found.signals[:, [choose_lead(found.leads, lead)]])[:, 0]
    assert abs(len(detect_qrs(signal, found.sampling_rate_hz)) - beats) <= 2


@pytest.mark.parametrize("record", ["223", "100", "119"])
def test_detection_is_independent_of_sampling_rate(record):
    signal, _, rate = annotated_lead(SAMPLE, record)
    expected = detect_qrs(signal, rate) / rate
    for other in (128, 250, 500, 1000, 2000):
        ratio = np.gcd(other, 360)
        there = scipy.signal.resample_poly(signal - np.median(signal), other // ratio, 360 // ratio)
        found = detect_qrs(there, other) / other
        assert abs(len(found) - len(expected)) <= 2
        _, more, fewer = compare_peaks(np.rint(expected * 1000), np.rint(found * 1000), 1000)
        assert more <= 2 and fewer <= 2


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, -1.0], ids=str)
def test_detection_is_independent_of_amplitude_and_polarity(factor):
    signal, _, rate = annotated_lead(SAMPLE, "208")
    expected = detect_qrs(signal.astype(np.float64), rate)
    np.testing.assert_array_equal(detect_qrs(signal.astype(np.float64) * factor, rate), expected)


@pytest.fixture(scope="module")
def an_hour() -> tuple[np.ndarray, np.ndarray]:
    return hour(SAMPLE)


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_artefact_affects_no_beat_outside_it(an_hour, artefact):
    signal, out = with_artefact(an_hour[0], artefact)
    beats, found = an_hour[1], detect_qrs(signal, 128.0)
    total = compare_peaks(beats[~out[beats]], found[~out[found]], 128.0)
    assert sensitivity(total) >= 0.98 and predictivity(total) >= 0.98
    assert np.count_nonzero(out[found]) <= 6


@pytest.mark.parametrize("rate", [249.89, 250.05, 500.1, 999.9, 125.05, 360.1])
def test_detection_is_independent_of_unusual_nominal_rates(an_hour, rate):
    whole = {125.05: 125, 360.1: 360, 500.1: 500, 999.9: 1000}.get(rate, 250)
    signal, beats = an_hour[0][: 1500 * 128], an_hour[1][an_hour[1] < 1500 * 128]
    ratio = np.gcd(whole, 128)
    signal = scipy.signal.resample_poly(signal, whole // ratio, 128 // ratio)
    total = compare_peaks(np.rint(beats * whole / 128).astype(int), detect_qrs(signal, rate), rate)
    assert sensitivity(total) >= 0.995 and predictivity(total) >= 0.995


@pytest.mark.parametrize("every", [3, 10])
def test_spikes_are_no_beats_and_hide_none(an_hour, every):
    signal = an_hour[0].copy()
    signal[np.arange(1, 3600 // every) * every * 128] += 20
    total = compare_peaks(an_hour[1], detect_qrs(signal, 128.0), 128.0)
    assert sensitivity(total) >= 0.995 and predictivity(total) >= 0.995


@pytest.mark.parametrize("rate", [250, 360, 1000])
@pytest.mark.parametrize("millivolts", [2, 10, 50])
@pytest.mark.parametrize("seconds_before", [0.04, 0.2], ids=["ventricular", "atrial"])
def test_pacing_spikes_are_not_detected(rate, millivolts, seconds_before):
    signal, beats, original = annotated_lead(SAMPLE, "100")
    ratio = np.gcd(rate, 360)
    signal = scipy.signal.resample_poly(signal - np.median(signal), rate // ratio, 360 // ratio)
    beats = np.rint(beats * rate / original).astype(int)
    spikes = beats - round(seconds_before * rate)
    signal[spikes[spikes > 0]] += millivolts
    total = compare_peaks(beats, detect_qrs(signal, rate), rate)
    assert sensitivity(total) >= 0.995 and predictivity(total) >= 0.995


def test_long_artefact_affects_no_beat_of_the_same_block(an_hour):
    low_voltage, beats = 0.2 * an_hour[0], an_hour[1]
    rng, artefact = np.random.default_rng(0), slice(60 * 128, 660 * 128)
    saturated, noisy, quiet = low_voltage.copy(), an_hour[0].copy(), an_hour[0].copy()
    saturated[artefact] = 16 * rng.choice([-1, 1], 600 * 128)
    noisy[artefact] = rng.normal(0, 100, 600 * 128)
    quiet[artefact] *= 0.01
    for signal in (saturated, noisy, quiet):
        outside = (beats < artefact.start) | (beats >= artefact.stop)
        found = detect_qrs(signal, 128.0)
        total = compare_peaks(beats[outside], found[(found < artefact.start) | (found >= artefact.stop)], 128.0)
        assert sensitivity(total) >= 0.98 and predictivity(total) >= 0.98


def test_detection_is_independent_of_blocks(an_hour, monkeypatch):
    signal = an_hour[0][: 600 * 128]
    whole = detect_qrs(signal, 128.0)
    monkeypatch.setattr(qrs, "BLOCK_SECONDS", 70)
    parts = detect_qrs(signal, 128.0)
    assert len(np.setxor1d(whole, parts)) <= 0.005 * len(whole)
    monkeypatch.setattr(qrs, "BLOCK_SECONDS", 1e9)
    np.testing.assert_array_equal(detect_qrs(signal, 128.0), whole)


@pytest.mark.parametrize("exponent", [0, 0.5, 1], ids=["white", "pink", "brown"])
@pytest.mark.parametrize("rate", [128.0, 250.0, 360.0, 1000.0])
def test_noise_has_no_detections(exponent, rate):
    rng = np.random.default_rng(0)
    for _ in range(3):
        spectrum = np.fft.rfft(rng.normal(size=int(60 * rate)))
        spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** exponent
        assert len(detect_qrs(np.fft.irfft(spectrum), rate)) <= 2


def test_ventricular_flutter_has_no_detections():
    at = np.arange(60 * 250) / 250
    wave = np.sin(2 * np.pi * 4.5 * at + np.sin(at)) * (1 + 0.3 * np.sin(0.7 * at))
    assert len(detect_qrs(wave + np.random.default_rng(0).normal(0, 0.02, len(at)), 250.0)) <= 2


@pytest.mark.parametrize("rate", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("seconds_apart", [0.6, 1.5])
def test_tall_p_and_t_waves_are_not_detected(rate, seconds_apart):
    at, beats = np.arange(int(20 * rate)) / rate, np.arange(0.7, 19, seconds_apart)

    def waves(late: float, width: float) -> np.ndarray:
        return np.exp(-(((at[:, None] - beats - late) / width) ** 2) / 2).sum(1)

    late, tall = (0.32, 1.0) if seconds_apart > 1 else (0.25, 0.5)
    signal = 0.6 * waves(0, 0.01) + tall * waves(late, 0.045) + 0.2 * waves(-0.17, 0.02)
    signal += np.random.default_rng(0).normal(0, 0.005, len(at))
    found = detect_qrs(signal, rate) / rate
    assert len(found) == len(beats) and np.abs(found - beats).max() < 0.02


@pytest.mark.parametrize("kind", "NAO")
def test_beats_of_synthetic_recordings_are_detected(kind):
    signal, beats = recording(kind, 20)
    found = detect_qrs(signal, RATE) / RATE
    assert len(found) == len(beats) and np.abs(found - beats).max() < 0.02


def test_refine_peaks_moves_to_largest_deflection():
    signal, beats, _ = annotated_lead(SAMPLE, "208")
    signal, beats = signal[:20000], beats[beats < 20000]
    expected = []
    for beat in beats:
        around = np.clip(np.arange(beat - 18, beat + 19), 0, len(signal) - 1)
        expected.append(around[np.argmax(np.abs(signal[around] - np.median(signal[around])))])
    np.testing.assert_array_equal(refine_peaks(signal, beats, 18), np.unique(expected))
    rising = np.where(np.arange(100) > 94, np.arange(100) - 94.0, 0)
    assert refine_peaks(rising, np.array([97]), 10).tolist() == []  # the deflection continues beyond the end


@pytest.mark.parametrize(
    "signal", [np.zeros(3000), np.full(3000, 7.0), np.arange(100.0), np.zeros(0), np.zeros(301)], ids=len
)
def test_flat_or_short_signal_has_no_detections(signal):
    assert detect_qrs(signal, RATE).dtype == np.int64 and not len(detect_qrs(signal, RATE))


def test_too_low_sampling_rate_has_no_detections():
    assert not len(detect_qrs(np.random.default_rng(0).normal(size=1000), 1.0))
