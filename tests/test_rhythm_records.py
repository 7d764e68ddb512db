"""Whole recordings: packing and stream."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from rhythms import RATE, config_of, recording, write_challenge

from keras_ecg.config import Config, from_dict, merge, to_dict
from keras_ecg.data.rhythm_records import clean, lead_of, pack_rhythm, rhythm_manifest, rhythm_records
from keras_ecg.data.rhythm_stream import (
    as_inputs,
    create_rhythm_dataset,
    crop_starts,
    crops_of,
    get_all_recordings,
)
from keras_ecg.errors import InputError

COUNTS = {"N": 6, "A": 5, "O": 4, "~": 2}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Config:
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder / "raw", COUNTS)
    config = config_of(folder)
    pack_rhythm(config, jobs=1, quiet=True)
    return config


def changed(config: Config, **sections) -> Config:
    return from_dict(Config, merge(to_dict(config), sections))


def everything(stream) -> tuple[dict[str, np.ndarray], np.ndarray]:
    parts = list(stream.as_numpy_iterator())
    return {k: np.concatenate([x[k] for x, _ in parts]) for k in parts[0][0]}, np.concatenate([y for _, y in parts])


def test_manifest_describes_packed_recordings(packed):
    manifest = rhythm_manifest(packed)
    assert manifest["class_counts"] == COUNTS and manifest["parameters"]["labels"] == "v3"
    known = get_all_recordings(packed)
    assert len(known["record"]) == 17 and known["record"][0] == "A00001"
    assert known["label"].tolist() == [0] * 6 + [1] * 5 + [2] * 4 + [3] * 2
    assert known["samples"][:3].tolist() == [1200, 2000, 3400]
    entries = list(rhythm_records(manifest).values())
    for k, seconds in enumerate((12, 20, 34)):
        assert abs(entries[k]["beats"] - len(recording("N", seconds, k + 1)[1])) <= 1


def test_stored_signal_is_preprocessed_recording(packed):
    signal, beats = recording("N", 20, 2)
    raw, rate = lead_of(packed.database.data_dir, "A00002", packed.rhythm)
    assert rate == RATE and np.abs(raw - signal).max() < 2e-3
    found, times = clean(raw, rate, packed.rhythm)
    sections = scipy.signal.butter(3, (0.5, 40), "bandpass", fs=100, output="sos")
    level = np.median(raw)
    expected = scipy.signal.sosfiltfilt(sections, scipy.signal.resample_poly(raw - level, 1, 3) + level)
    np.testing.assert_allclose(found, (expected - expected.mean()) / expected.std(), atol=0.01)
    assert np.abs(times - beats).max() < 0.02
    inputs, labels = everything(create_rhythm_dataset(packed, 4, False, ["A00002"]))
    assert labels.tolist() == [0] and inputs["length"].tolist() == [2000]
    np.testing.assert_array_equal(inputs["signals"][0, :2000, 0], found.astype(np.float32))
    assert not inputs["signals"][0, 2000:].any()
    kept = inputs["beats"][0][inputs["beats"][0] >= 0]
    np.testing.assert_array_equal(kept, times)
    own = as_inputs([found], [times], 100.0, inputs["signals"].shape[1])
    assert all(np.array_equal(own[name], inputs[name]) for name in own)


def test_scored_crops_cover_recording(packed):
    assert crops_of(np.array([10, 100, 101, 250]), 100, 2).tolist() == [1, 1, 2, 3]
    assert crops_of(np.array([10, 250]), 100, 1).tolist() == [1, 1]
    assert crop_starts(250, 100, 2) == [0, 75, 150] and crop_starts(90, 100, 3) == [0]
    whole, _ = everything(create_rhythm_dataset(packed, 4, False, ["A00003"], samples=3456))
    signal, beats = whole["signals"][0, :3400, 0], whole["beats"][0]
    inputs, labels = everything(create_rhythm_dataset(packed, 4, False, ["A00003"]))  # 34 s in windows of 20.48
    length, starts = 2048, crop_starts(3400, 2048, packed.rhythm.crops)
    assert len(labels) == len(starts) == 3 and starts[-1] == 3400 - length
    for k, start in enumerate(starts):
        np.testing.assert_array_equal(inputs["signals"][k, :, 0], signal[start : start + length])
        expected = beats[(beats >= start / 100) & (beats < (start + length) / 100)] - start / 100
        np.testing.assert_allclose(inputs["beats"][k, : len(expected)], expected, atol=1e-5)
        assert (inputs["beats"][k, len(expected) :] == -1).all()


def test_training_crops_are_random_segments_of_every_recording(packed):
    plain = changed(packed, rhythm={"augment": dict.fromkeys(("invert", "noise"), 0.0)})
    stream = create_rhythm_dataset(plain, 5, True)
    epochs = [everything(stream) for _ in range(2)]
    whole, _ = everything(create_rhythm_dataset(packed, 4, False, samples=3456))
    starts = []
    for inputs, labels in epochs:
        assert sorted(labels) == sorted(get_all_recordings(packed)["label"]) and inputs["signals"].shape[1] == 1024
        for signal, n, beats in zip(inputs["signals"][..., 0], inputs["length"], inputs["beats"], strict=True):
            places = [
                (k, at)
                for k, row in enumerate(whole["signals"][..., 0])
                for at in np.flatnonzero(row[: whole["length"][k] - n + 1] == signal[0])
                if np.array_equal(row[at : at + n], signal[:n])
            ]
            assert len(places) == 1 and not signal[n:].any()
            k, at = places[0]
            starts.append(at)
            expected = whole["beats"][k]
            expected = expected[(expected >= at / 100) & (expected < (at + n) / 100)] - at / 100
            np.testing.assert_allclose(beats[: len(expected)], expected, atol=1e-5)
    assert len(set(starts)) > 10
    again = everything(create_rhythm_dataset(plain, 5, True))
    np.testing.assert_array_equal(again[0]["signals"], epochs[0][0]["signals"])
    other = everything(create_rhythm_dataset(replace(plain, loader=replace(plain.loader, seed=1)), 5, True))
    assert not np.array_equal(other[0]["signals"], epochs[0][0]["signals"])


@pytest.mark.parametrize(
    "augment", [{"invert": 1.0}, {"amplitude": 0.5}, {"noise": 0.5}, {"wander": 0.5}, {"erase_seconds": 4.0}]
)
def test_each_augmentation_changes_its_property(packed, augment):
    off = {"invert": 0.0, "amplitude": 0.0, "noise": 0.0, "wander": 0.0, "erase_seconds": 0.0}
    before, labels = everything(create_rhythm_dataset(changed(packed, rhythm={"augment": off}), 4, True))
    after, same = everything(create_rhythm_dataset(changed(packed, rhythm={"augment": {**off, **augment}}), 4, True))
    np.testing.assert_array_equal(same, labels)
    a, b = before["signals"][..., 0], after["signals"][..., 0]
    there = np.arange(1024) < before["length"][:, None]
    assert not b[~there].any() and not np.array_equal(a, b)
    (name,) = augment
    if name == "invert":
        np.testing.assert_array_equal(b, -a)
    if name == "amplitude":
        gain = np.array([y[np.abs(x).argmax()] / x[np.abs(x).argmax()] for x, y in zip(a, b, strict=True)])
        np.testing.assert_allclose(b, a * gain[:, None], rtol=1e-4, atol=1e-5)
        assert gain.min() >= np.exp(-0.5) and gain.max() <= np.exp(0.5) and np.ptp(gain) > 0.1
    if name == "wander":
        power = np.abs(np.fft.rfft((b - a)[there.all(1)])) ** 2
        assert power[:, np.fft.rfftfreq(1024, 0.01) < 1].sum() > 0.95 * power.sum()
    if name != "erase_seconds":
        np.testing.assert_array_equal(after["beats"], before["beats"])
        return
    for x, y, n, old, new in zip(a, b, before["length"], before["beats"], after["beats"], strict=True):
        gone = np.flatnonzero(y[:n] != x[:n])
        assert len(gone) <= 400 and (not len(gone) or np.ptp(gone) < 400)
        first, last = (gone[0], gone[-1]) if len(gone) else (0, -1)
        expected = [t for t in old[old >= 0] if not first - 1 <= t * 100 <= last + 1]
        kept = new[new >= 0]
        assert set(np.round(expected, 4)) <= set(np.round(kept, 4)) and len(kept) - len(expected) <= 1


def test_packing_resumes_and_repeats_changed_recordings(packed, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(packed.database.data_dir, folder / "raw")
    config = config_of(folder)
    first = pack_rhythm(config, jobs=1, quiet=True)
    assert first["chunks"] == rhythm_manifest(packed)["chunks"]
    files = sorted(Path(config.rhythm.tfrecord_dir).glob("*.tfrecord"))
    times = {path: path.stat().st_mtime_ns for path in files}
    files[1].write_bytes(b"damaged")
    labels = folder / "raw" / "REFERENCE-v3.csv"
    labels.write_text(labels.read_text().replace("A00001,N", "A00001,O"))
    second = pack_rhythm(config, jobs=1, quiet=True)
    assert second["class_counts"]["O"] == COUNTS["O"] + 1
    written = [path for path in files if path.stat().st_mtime_ns != times[path]]
    assert written == files[:2]
    assert get_all_recordings(config)["label"][0] == 2


def test_recordings_packed_with_other_options_are_rejected(packed):
    with pytest.raises(InputError, match=r"other labels.*create_rhythm_tfrecords\.py"):
        create_rhythm_dataset(changed(packed, rhythm={"labels": "v2"}), 4, False)
    with pytest.raises(InputError, match="no recording A9"):
        create_rhythm_dataset(packed, 4, False, ["A9"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: (raw / "REFERENCE-v3.csv").unlink(), r"REFERENCE-v3\.csv.*labels v3"),
        (lambda raw: (raw / "REFERENCE-v3.csv").write_text("A00001,N\n"), "no label of A00002"),
        (lambda raw: (raw / "A00002.dat").write_bytes(b"short"), r"A00002\.dat.*truncated"),
    ],
)
def test_faults_are_reported_with_file_name(packed, tmp_path, spoil, message):
    shutil.copytree(packed.database.data_dir, tmp_path / "raw")
    spoil(tmp_path / "raw")
    with pytest.raises(InputError, match=message):
        pack_rhythm(config_of(tmp_path), jobs=1, quiet=True)
    assert not (tmp_path / "packed" / "manifest.json").exists()


def test_database_without_labels_is_rejected(packed):
    with pytest.raises(InputError, match=r"database\.name.*cinc2017"):
        pack_rhythm(changed(packed, database={"name": "mitdb"}), jobs=1, quiet=True)
