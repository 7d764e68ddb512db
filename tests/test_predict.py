"""predict.py: the committed weights on a record, its two outputs, and its errors."""

import csv
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import wfdb
from conftest import SAMPLE, copy_records, write_signals

from keras_ecg.databases import mitdb
from keras_ecg.databases.recordings import Recording, read_recording
from keras_ecg.errors import InputError
from keras_ecg.predictions import load_predictions
from keras_ecg.presets.beats import BeatClassifier
from keras_ecg.presets.inputs import read_record
from keras_ecg.runs.index import published
from keras_ecg.signals.filters import resample

ROOT = Path(__file__).resolve().parents[1]


def published_run() -> Path:
    return ROOT / "Research_Runs" / published(ROOT)["mitdb-ds1-ds2"]["run"]


@cache
def classifier() -> BeatClassifier:
    return BeatClassifier.from_preset()


@pytest.fixture(scope="module")
def found():
    return classifier().predict(SAMPLE / "233")


def test_every_annotated_beat_is_classified_at_its_own_index(found):
    recording = read_recording(SAMPLE, "233")
    is_beat = np.isin(recording.symbols, list(mitdb.CLASS_OF_SYMBOL))
    np.testing.assert_array_equal(found.sample, recording.samples[is_beat])
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(found.seconds, found.sample / 360)


def test_the_published_weights_find_ventricular_beats_of_a_test_subject(found):
    recording = read_recording(SAMPLE, "233")
    truth = np.array([mitdb.CLASS_OF_SYMBOL[s] for s in recording.symbols if s in mitdb.CLASS_OF_SYMBOL])
    ventricular = mitdb.CLASSES.index("V")
    assert (found.label[truth == ventricular] == ventricular).mean() > 0.9
    assert (found.label == truth).mean() > 0.9


def test_the_published_weights_agree_with_the_published_predictions(mitdb_dir):
    found = classifier().predict(mitdb_dir / "233")
    stored = load_predictions(published_run() / "predictions.npz")
    here = stored.record == "233"
    np.testing.assert_array_equal(found.sample, stored.sample[here])
    np.testing.assert_allclose(found.probabilities, stored.probabilities[0, here], atol=0.01)


def test_annotation_file_and_table_say_the_same(found, tmp_path):
    annotation, table = found.to_wfdb(tmp_path), found.to_csv(tmp_path / "233.csv")
    read = wfdb.rdann(str(annotation.with_suffix("")), "aami")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["class"] for row in rows] == read.symbol == [mitdb.CLASSES[k] for k in found.label]
    np.testing.assert_array_equal(read.sample, [int(row["sample"]) for row in rows])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["233.aami", "233.csv"]


def test_without_annotations_the_detector_finds_the_beats(tmp_path):
    folder = copy_records(tmp_path, "233")
    truth = read_recording(folder, "233")
    peaks = truth.samples[np.isin(truth.symbols, list(mitdb.CLASS_OF_SYMBOL))]
    (folder / "233.atr").unlink()
    found = classifier().predict(folder / "233.dat")
    nearest = np.abs(found.sample[:, None] - peaks).min(1)
    assert (nearest < 0.15 * 360).mean() > 0.95 and abs(len(nearest) / len(peaks) - 1) < 0.05


def test_a_flat_record_and_a_run_without_weights_are_told(tmp_path):
    flat = np.zeros((3600, 1))
    wfdb.wrsamp("flat", fs=360, units=["mV"], sig_name=["MLII"], p_signal=flat, fmt=["16"], write_dir=str(tmp_path))
    with pytest.raises(InputError, match="MLII"):
        classifier().predict(tmp_path / "flat")
    (tmp_path / "config.yaml").write_text("title: none\n")
    with pytest.raises(InputError, match=r"normalization\.json"):
        BeatClassifier.from_preset(tmp_path)


def strip(folder: Path, name: str, signal: np.ndarray, rate: float) -> Path:
    write_signals(folder, name, signal, rate)
    return folder / name


def signal_of(values: np.ndarray) -> Recording:
    return Recording("noise", values[:, None], ("MLII",), 360.0, np.empty(0, int), np.empty(0, str))


def test_ten_seconds_of_noise_are_no_ecg():
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(0, 0.1, 3600)
        with pytest.raises(InputError, match="no ECG in lead MLII"):
            classifier().detect_peaks(signal_of(noise))


def test_detections_of_different_shapes_are_noted():
    rng, bursts = np.random.default_rng(0), np.zeros(60 * 360)
    for start in np.arange(60) * 360 + rng.integers(0, 120, 60):  # contractions of a muscle, like an irregular rhythm
        bursts[start : start + 60] += np.convolve(rng.normal(size=65), np.ones(6) / 6, "valid") * np.hanning(60)
    _, notes = classifier().locate_beats(signal_of(bursts))
    assert any("detected beats differ in shape" in note for note in notes)
    _, notes = classifier().locate_beats(read_recording(SAMPLE, "208", None))
    assert not any("differ in shape" in note for note in notes)


def test_noise_is_no_ecg(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.02, 60 * 360)
    with pytest.raises(InputError, match="no ECG in lead MLII: no QRS complex was detected above the noise"):
        classifier().predict(strip(tmp_path, "noise", noise, 360))


def test_a_stretch_without_beats_is_told(tmp_path):
    found = read_recording(SAMPLE, "213")
    signal = found.signals[: 60 * 360, 0].copy()
    signal[20 * 360 : 40 * 360] = np.random.default_rng(0).normal(0, 0.1, 20 * 360)
    notes = classifier().predict(strip(tmp_path, "r", signal, 360)).notes
    assert len(notes) == 1 and "no beat found in 20 of 60 s" in notes[0]


@pytest.mark.parametrize("symbols", ["+~", ""], ids=["rhythm marks alone", "no annotation"])
def test_annotations_without_beats_fall_back_to_the_detector(tmp_path, symbols):
    found = read_recording(SAMPLE, "213")
    strip(tmp_path, "rec", found.signals[: 30 * 360, 0], 360)
    if symbols:
        wfdb.wrann("rec", "atr", np.array([10, 110]), list(symbols), write_dir=str(tmp_path))
    else:
        (tmp_path / "rec.atr").write_bytes(b"\0\0")
    for suffix in ("hea", "atr"):  # a name with a dot, beside another record's annotations
        (tmp_path / f"rec.{suffix}").rename(tmp_path / f"rec.1.{suffix}")
    (tmp_path / "rec.atr").write_bytes(b"of another record")
    recording, notes = classifier().locate_beats(read_record(tmp_path / "rec.1"))
    beats = found.samples[(found.samples < 30 * 360) & np.isin(found.symbols, list(mitdb.CLASS_OF_SYMBOL))]
    assert abs(len(recording.samples) - len(beats)) <= 1 and set(recording.symbols) == {"N"}
    assert notes == (("the annotations contain no beats; R peaks were detected",) if symbols else ())


def test_damaged_annotations_do_not_matter_where_peaks_are_detected(tmp_path):
    folder = copy_records(tmp_path, "233")
    (folder / "233.atr").write_bytes(b"damaged")
    assert len(classifier().predict(folder / "233", peaks="detect")) > 400
    with pytest.raises(InputError, match=r"233\.atr"):
        classifier().predict(folder / "233")


def test_doubled_annotations_give_the_beats_once_and_are_told(tmp_path):
    folder = copy_records(tmp_path, "233")
    truth = wfdb.rdann(str(folder / "233"), "atr")
    doubled = np.repeat(truth.sample, 2)
    wfdb.wrann("233", "atr", doubled, np.repeat(truth.symbol, 2).tolist(), write_dir=str(folder))
    recording, notes = classifier().locate_beats(read_record(folder / "233"))
    beats = truth.sample[np.isin(truth.symbol, list(mitdb.CLASS_OF_SYMBOL))]
    np.testing.assert_array_equal(recording.samples[np.isin(recording.symbols, list(mitdb.CLASS_OF_SYMBOL))], beats)
    assert notes == (f"annotations: {len(beats)} duplicate beats dropped",)


@pytest.mark.parametrize(("frame_rate", "in_frame"), [(62.5, 4), (15.625, 16)])
def test_several_samples_a_frame_classify_as_one_a_frame(tmp_path, frame_rate, in_frame):
    found = read_recording(SAMPLE, "208")
    signal = resample(found.signals[: 60 * 360, 0].astype(np.float64), 360, 250)
    signal = np.rint(signal[: len(signal) // 16 * 16] * 1000)
    write_signals(tmp_path, "plain", signal / 1000, 250)
    wfdb.wrsamp(
        "frames", frame_rate, ["mV", "mmHg"], ["MLII", "ABP"], e_d_signal=[signal.astype(int),
        np.zeros(len(signal) // in_frame, int)], fmt=["16", "16"], adc_gain=[1000.0, 1.0], baseline=[0, 0],
        samps_per_frame=[in_frame, 1], write_dir=str(tmp_path),
    )  # fmt: skip
    plain, frames = (classifier().predict(tmp_path / name) for name in ("plain", "frames"))
    np.testing.assert_array_equal(plain.sample, frames.sample)
    np.testing.assert_array_equal(plain.label, frames.label)
    assert (plain.label == mitdb.CLASSES.index("V")).sum() > 10


def test_the_script_ends_with_status_two_and_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "predict.py"), "nowhere/999", "--output-dir", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere/999.hea") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
