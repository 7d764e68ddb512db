import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import pywt
import wfdb
from conftest import RECORDS, SAMPLE, config_for, copy_records, write_signals

from keras_ecg.data.hdf5 import hdf5_path
from keras_ecg.data.preprocess import preprocess
from keras_ecg.databases.annotations import DUPLICATE
from keras_ecg.databases.mitdb import AAMI_SYMBOLS, CLASS_OF_SYMBOL
from keras_ecg.databases.recordings import read_recording
from keras_ecg.errors import InputError
from keras_ecg.files import read_sealed, sha256

ROOT = SAMPLE.parent


def contents(config, record) -> dict[str, np.ndarray]:
    with h5py.File(hdf5_path(config.database.hdf5_dir, record)) as file:
        return {**{name: file[name][:] for name in file}, **file.attrs}


def metadata_of(config) -> dict:
    return read_sealed(os.path.join(config.database.hdf5_dir, "metadata.json"), "")


def files_of(config) -> list[str]:
    return sorted(os.listdir(config.database.hdf5_dir))


def write_record(folder, name, signals, samples, symbols, rate=360, leads=("MLII",)):
    """Write a recording of format 16 with annotations."""
    write_signals(folder, name, signals, rate, leads)
    wfdb.wrann(name, "atr", np.asarray(samples), list(symbols), write_dir=str(folder))
    return folder


def one_record(tmp_path, record, beats=None, **database):
    """Return a configuration for one recording in tmp_path/raw."""
    paths = {"data_dir": str(tmp_path / "raw"), "records": [record], **database}
    return config_for(tmp_path, database=paths, beats=beats or {})


def written(tmp_path, *args, **beats):
    """Write and preprocess a synthetic record."""
    write_record(tmp_path / "raw", "r1", *args)
    config = one_record(tmp_path, "r1", beats)
    preprocess(config, jobs=1)
    return contents(config, "r1")


def excerpt(seconds=30, record="208"):
    """Return the beginning of a recorded lead with its annotations."""
    recording = read_recording(SAMPLE, record)
    near = recording.samples < seconds * 360 - 200
    return recording.signals[: seconds * 360, 0], recording.samples[near], recording.symbols[near]


def test_hdf5_contains_beats_of_recording(preprocessed):
    recording = read_recording(SAMPLE, "208")
    stored = contents(preprocessed, "208")
    known = {symbol: k for k, symbols in enumerate(AAMI_SYMBOLS.values()) for symbol in symbols}
    beats = [(p, s) for p, s in zip(recording.samples, recording.symbols, strict=True) if s in known]
    assert stored["sample"].tolist() == [p for p, _ in beats]
    assert [s.decode() for s in stored["symbol"]] == [s for _, s in beats]
    assert stored["label"].tolist() == [known[s] for _, s in beats]
    for i in (1, 100, 470):
        beat = recording.signals[beats[i][0] - 93 : beats[i][0] + 94, 0]
        np.testing.assert_array_equal(stored["samples"][i], beat.astype(np.float16))
        expected = np.abs(pywt.cwt(beat, np.arange(1, 33), "morl")[0])
        # float16 has 11 bits, and the matrix product has an error of 1e-5 of the largest coefficient.
        np.testing.assert_allclose(stored["scalograms"][i], expected, rtol=2**-11, atol=1e-5 * expected.max())
    seconds = np.diff(stored["sample"]) / 360
    np.testing.assert_allclose(stored["rr_before"], [np.nan, *seconds], rtol=1e-6)
    np.testing.assert_allclose(stored["rr_after"], [*seconds, np.nan], rtol=1e-6)
    kinds = {name: stored[name].dtype.str[1:] for name in ("samples", "scalograms", "sample", "label", "rr_before")}
    assert kinds == {"samples": "f2", "scalograms": "f2", "sample": "i8", "label": "i1", "rr_before": "f4"}
    assert (stored["record"], stored["subject"], stored["lead"]) == ("208", "208", "MLII")


def test_metadata_equals_content_of_files(preprocessed):
    metadata = metadata_of(preprocessed)
    assert tuple(metadata["records"]) == RECORDS and metadata["skipped"] == {}
    assert metadata["parameters"]["half_window_samples"] == 93
    for record in RECORDS:
        entry, stored = metadata["records"][record], contents(preprocessed, record)
        assert entry["sample"] == stored["sample"].tolist() and entry["label"] == stored["label"].tolist()
        assert entry["index"] == list(range(len(entry["sample"]))) and entry["lead"] == "MLII"
        assert [s.encode() for s in entry["symbol"]] == stored["symbol"].tolist()
        assert entry["aami_class"] == ["NSVFQ"[k] for k in entry["label"]]
        assert entry["rr_before"][0] is None and entry["rr_after"][-1] is None
        np.testing.assert_allclose(entry["rr_before"][1:], stored["rr_before"][1:], atol=1e-6)
        assert entry["inputs"][f"{record}.dat"] == sha256(SAMPLE / f"{record}.dat")


def test_lead_is_selected_by_name(preprocessed):
    """MLII is the second lead of 114."""
    recording = read_recording(SAMPLE, "114")
    assert recording.leads == ("V5", "MLII")
    stored = contents(preprocessed, "114")
    at = stored["sample"][5]
    np.testing.assert_array_equal(stored["samples"][5], recording.signals[at - 93 : at + 94, 1].astype(np.float16))


def test_fallback_lead_is_used_and_recorded(tmp_path):
    signal, samples, symbols = excerpt()
    write_record(tmp_path / "raw", "r1", np.stack([signal, -signal], 1), samples, symbols, 360, ("V9", "V5"))
    config = one_record(tmp_path, "r1")
    preprocess(config, jobs=1)
    stored = contents(config, "r1")
    assert stored["lead"] == "V5"
    at = stored["sample"][3]
    np.testing.assert_allclose(stored["samples"][3], -signal[at - 93 : at + 94], atol=2e-3)


def test_annotations_other_than_beats_are_ignored(tmp_path):
    signal = excerpt()[0]
    symbols = ["+", "N", "~", "V", "|", "!", "F", '"', "[", "]", "x", "/"]
    stored = written(tmp_path, signal, np.arange(1, 13) * 300, symbols)
    assert stored["symbol"].tolist() == [b"N", b"V", b"F", b"/"]
    assert stored["label"].tolist() == [0, 2, 3, 4]
    np.testing.assert_allclose(stored["rr_before"][1:] * 360, [600, 900, 1500])  # annotations between beats are ignored


def test_other_sampling_rate_is_resampled_with_peaks(tmp_path):
    from scipy.signal import resample_poly

    signal, samples, symbols = excerpt()
    slow = resample_poly(signal, 25, 36)
    at_250 = np.rint(samples * 250 / 360).astype(int)
    stored = written(tmp_path, slow, at_250, symbols, 250)
    beats = np.isin(symbols, list("NLRejAaJSVEF/fQ"))
    assert stored["sample"].tolist() == at_250[beats].tolist()  # at the original sampling rate
    assert (stored["original_rate_hz"], stored["sampling_rate_hz"]) == (250, 360)
    assert stored["samples"].shape[1] == 187
    np.testing.assert_allclose(stored["rr_before"][1:], np.diff(at_250[beats]) / 250, rtol=1e-6)
    for beat, at in list(zip(stored["samples"], samples[beats], strict=True))[1:-1]:
        # Rounding at 250 Hz is an error of up to 0.72 samples at 360 Hz: compare with the best of three shifts.
        expected = [signal[at - 93 + s : at + 94 + s] for s in (-1, 0, 1)]
        assert min(np.sqrt(np.mean((beat - e) ** 2)) for e in expected) < 0.1 * signal.std()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_record_with_few_beats_is_preprocessed(tmp_path, count):
    signal, samples, _ = excerpt()
    stored = written(tmp_path, signal, samples[1 : count + 1], ["N", "V", "N"][:count])
    assert stored["label"].tolist() == [0, 2, 0][:count]
    assert np.isnan(stored["rr_before"][0]) and np.isnan(stored["rr_after"][-1])
    assert np.isfinite(stored["median_beat"]).all()


def test_beats_at_ends_are_padded(tmp_path):
    signal = excerpt()[0]
    last = len(signal) - 1
    stored = written(tmp_path, signal, [0, 40, 500, last - 10, last], "NNNNN")
    assert stored["sample"].tolist() == [0, 40, 500, last - 10, last] and len(stored["dropped"]) == 0
    np.testing.assert_allclose(stored["samples"][1, :53], signal[0], atol=2e-3)
    np.testing.assert_allclose(stored["samples"][1, 53:], signal[:134], atol=2e-3)
    np.testing.assert_allclose(stored["samples"][-1, 93:], signal[-1], atol=2e-3)


def test_dropped_beats_at_ends_are_counted_and_listed(tmp_path, capsys):
    signal = excerpt()[0]
    last = len(signal) - 1
    write_record(tmp_path / "raw", "r1", signal, [0, 92, 93, 500, last - 93, last - 92], "NVNNNV")
    config = one_record(tmp_path, "r1", {"edge": "drop"})
    preprocess(config, jobs=1)
    stored = contents(config, "r1")
    assert stored["sample"].tolist() == [93, 500, last - 93]
    assert metadata_of(config)["records"]["r1"]["dropped_samples"] == [0, 92, last - 92]
    assert "dropped at the ends: 3 beats (r1 3)" in capsys.readouterr().out
    np.testing.assert_allclose(stored["rr_before"][0], 1 / 360)  # to the beat that was dropped
    write_record(tmp_path / "raw", "r1", signal, [0, last], "NN")
    with pytest.raises(InputError, match="r1: found no beat with a complete window"):
        preprocess(config, jobs=1)


def test_bandpass_filter_is_applied_if_configured(tmp_path):
    from keras_ecg.signals.filters import bandpass

    signal, samples, symbols = excerpt()
    plain = written(tmp_path / "a", signal, samples, symbols)
    clean = written(tmp_path / "b", signal, samples, symbols, bandpass_hz=[0.5, 40])
    at = plain["sample"][4]
    expected = bandpass(signal, 360, 0.5, 40)[at - 93 : at + 94]
    np.testing.assert_allclose(clean["samples"][4], expected, atol=3e-3)
    assert np.abs(expected - plain["samples"][4]).max() > 0.05


def _no_beats(folder):
    wfdb.wrann("208", "atr", np.array([100, 400]), ["+", "~"], write_dir=str(folder))


def _flat(folder):
    signal, samples, symbols = excerpt()
    write_record(folder, "208", np.full_like(signal, 0.3), samples, symbols)


def _not_a_number(folder):
    signal, samples, symbols = excerpt()
    signal = signal.copy()
    signal[1000:1010] = np.nan
    write_record(folder, "208", signal, samples, symbols)


def _wrong_unit(folder):
    signal, samples, symbols = excerpt()
    write_record(folder, "208", signal, samples, symbols)
    header = folder / "208.hea"
    header.write_text(header.read_text().replace("1000.0(0)/mV", "0.001(0)/mV"))


def _other_leads(folder):
    header = folder / "208.hea"
    header.write_text(header.read_text().replace("MLII", "aVR").replace("V1", "aVF"))


BAD = {
    "no beats": (_no_beats, "no beat among its annotations"),
    "flat": (_flat, "lead MLII flat"),
    "not a number": (_not_a_number, "10 of 10800 samples not a number"),
    "wrong unit": (_wrong_unit, "at most 1000 mV"),
    "other leads": (_other_leads, "leads aVR, aVF"),
    "no annotations": (lambda d: (d / "208.atr").unlink(), "208.atr: found no such file"),
    "truncated": (lambda d: os.truncate(d / "208.dat", 1000), "208.dat: found 1000 bytes"),
}


@pytest.mark.parametrize("spoil, found", BAD.values(), ids=BAD)
def test_bad_record_error_names_record_and_leaves_no_file(tmp_path, spoil, found):
    spoil(copy_records(tmp_path / "raw", "208"))
    config = one_record(tmp_path, "208")
    with pytest.raises(InputError) as caught:
        preprocess(config, jobs=1)
    assert found in str(caught.value) and "208" in str(caught.value) and "\n" not in str(caught.value)
    assert files_of(config) == []


def test_bad_record_ends_script_with_one_line_and_status_2(tmp_path):
    _flat(copy_records(tmp_path / "raw", "200", "208"))
    settings = {"data_dir": tmp_path / "raw", "hdf5_dir": tmp_path / "hdf5", "records": "['208', '200']"}
    command = [sys.executable, "preprocess_data.py", *(f"--set=database.{k}={v}" for k, v in settings.items())]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"error: {tmp_path}/raw/208: found lead MLII flat; expected a signal that varies; "
        "choose another lead (beats.lead) or exclude the record"
    ]
    assert not {"208.h5", "metadata.json"} & set(os.listdir(tmp_path / "hdf5"))


def test_skipped_records_are_listed(tmp_path, capsys):
    from keras_ecg.data.tfrecords import pack

    _flat(copy_records(tmp_path / "raw", "114", "208"))
    config = config_for(tmp_path, database={"data_dir": str(tmp_path / "raw"), "records": ["114", "208"]})
    metadata = preprocess(config, skip_bad_records=True, jobs=1)
    assert list(metadata["records"]) == ["114"] and list(metadata["skipped"]) == ["208"]
    assert "lead MLII flat" in metadata["skipped"]["208"] and metadata == metadata_of(config)
    assert "skipped 208: " in capsys.readouterr().out
    assert files_of(config) == ["114.h5", "metadata.json"]
    assert pack(config, jobs=1)["skipped"] == metadata["skipped"]


def test_skipping_all_records_is_rejected(tmp_path):
    _flat(copy_records(tmp_path / "raw", "208"))
    with pytest.raises(InputError, match="no record that can be read.*first error: .*lead MLII flat"):
        preprocess(one_record(tmp_path, "208"), skip_bad_records=True, jobs=1)


def test_invalid_band_or_wavelet_is_rejected(tmp_path):
    for beats, found in (
        ({"bandpass_hz": [0.5]}, r"found \[0.5\]"),
        ({"bandpass_hz": [0.5, 200]}, "within 0 and 180 Hz"),
        ({"bandpass_hz": [40, 0.5]}, "bandpass_hz"),
        ({"wavelet": "morlet"}, "found 'morlet'"),
        ({"wavelet": "cgau1"}, "found 'cgau1'"),
    ):
        with pytest.raises(InputError, match=found):
            preprocess(one_record(tmp_path, "208", beats), jobs=1)


def stamps(config) -> dict[str, int]:
    return {name: os.stat(os.path.join(config.database.hdf5_dir, name)).st_mtime_ns for name in files_of(config)}


@pytest.fixture
def two_records(tmp_path):
    copy_records(tmp_path / "raw", "114", "208")
    config = config_for(tmp_path, database={"data_dir": str(tmp_path / "raw"), "records": ["114", "208"]})
    preprocess(config, jobs=1)
    return config, tmp_path


def test_rerun_keeps_current_files(two_records, capsys):
    config, _ = two_records
    before = stamps(config)
    preprocess(config, jobs=1)
    assert stamps(config) == before
    assert list(before) == ["114.h5", "208.h5", "metadata.json"]
    assert "0 written, 2 current" in capsys.readouterr().out


def changed(config) -> set[str]:
    before = stamps(config)
    preprocess(config, jobs=1)
    after = stamps(config)
    return {name for name in after if after[name] != before.get(name)}


def test_changed_recording_is_preprocessed_again(two_records):
    config, tmp_path = two_records
    wfdb.wrann("208", "atr", np.array([500, 900]), ["N", "V"], write_dir=str(tmp_path / "raw"))
    assert changed(config) == {"208.h5", "metadata.json"}
    assert metadata_of(config)["records"]["208"]["symbol"] == ["N", "V"]


def test_changed_parameter_preprocesses_all_again(two_records):
    _, tmp_path = two_records
    database = {"data_dir": str(tmp_path / "raw"), "records": ["114", "208"]}
    other = config_for(tmp_path, database=database, beats={"half_window_samples": 50})
    assert changed(other) == {"114.h5", "208.h5", "metadata.json"}
    assert contents(other, "208")["samples"].shape == (478, 101)


def test_changed_subject_preprocesses_record_again(two_records):
    _, tmp_path = two_records
    (tmp_path / "raw" / "subjects.csv").write_text("record,subject\n114,x\n208,y\n")
    paths = {"name": "own", "data_dir": str(tmp_path / "raw"), "records": ["114", "208"]}
    config = config_for(tmp_path, database=paths)
    assert changed(config) == {"114.h5", "208.h5", "metadata.json"}
    (tmp_path / "raw" / "subjects.csv").write_text("record,subject\n114,x\n208,x\n")
    assert changed(config) == {"208.h5", "metadata.json"}
    assert metadata_of(config)["records"]["208"]["subject"] == "x"


@pytest.mark.parametrize("damage", ["truncated", "empty", "overwritten", "missing", "metadata"])
def test_damaged_file_is_written_again(two_records, damage):
    config, tmp_path = two_records
    path = hdf5_path(config.database.hdf5_dir, "208")
    good, listed = contents(config, "208"), metadata_of(config)
    if damage == "metadata":
        (tmp_path / "hdf5" / "metadata.json").unlink()
    elif damage == "missing":
        path.unlink()
    elif damage == "overwritten":
        with open(path, "r+b") as file:
            file.write(bytes(2000))
    else:
        os.truncate(path, path.stat().st_size // 2 if damage == "truncated" else 0)
    assert {"208.h5", "metadata.json"} >= changed(config)
    assert metadata_of(config) == listed
    for name, values in contents(config, "208").items():
        np.testing.assert_array_equal(values, good[name])


def test_temporary_files_of_killed_run_are_removed(two_records):
    config, tmp_path = two_records
    (tmp_path / "hdf5" / ".208.99999999.partial.h5").write_bytes(b"half")
    preprocess(config, jobs=1)
    assert files_of(config) == ["114.h5", "208.h5", "metadata.json"]


def test_parallel_and_serial_runs_write_equal_files(preprocessed, tmp_path):
    config = config_for(tmp_path)
    preprocess(config, jobs=2)
    assert metadata_of(config) == metadata_of(preprocessed)
    for record in RECORDS:
        here, there = contents(config, record), contents(preprocessed, record)
        assert here.keys() == there.keys()
        for name in here:
            np.testing.assert_array_equal(here[name], there[name])


def test_metadata_is_valid_json(preprocessed):
    text = Path(preprocessed.database.hdf5_dir, "metadata.json").read_text(encoding="utf-8")
    assert "NaN" not in text and json.loads(text)["records"]["213"]["original_rate_hz"] == 360.0


def test_mitdb_has_expected_counts(mitdb_dir, tmp_path):
    records = ["100", "104", "207", "232"]
    config = config_for(tmp_path, database={"data_dir": str(mitdb_dir), "records": records})
    metadata = preprocess(config, jobs=1)
    counts = {r: [metadata["records"][r]["label"].count(k) for k in range(5)] for r in records}
    assert counts["100"] == [2239, 33, 1, 0, 0] and counts["207"] == [1543, 107, 210, 0, 0]
    assert metadata["records"]["104"]["lead"] == "V5" and sum(counts["104"]) == 2229
    assert counts["232"] == [398, 1382, 0, 0, 0]  # 397 R and a j; 1382 A


def test_corrected_annotations_and_assumed_subjects_are_reported(tmp_path, capsys):
    signal, samples, symbols = excerpt(20)
    doubled = np.repeat(samples, 2)  # every annotation twice
    write_record(tmp_path / "raw", "r1", signal, doubled, np.repeat(symbols, 2))
    config = one_record(tmp_path, "r1", name="own")
    notes = preprocess(config, jobs=1)["notes"]
    stored = contents(config, "r1")
    beats = samples[np.isin(symbols, list(CLASS_OF_SYMBOL))]
    np.testing.assert_array_equal(stored["sample"], beats)
    assert np.nanmin(stored["rr_before"]) > 0.2
    assert notes[0].startswith("no subjects.csv") and notes[1] == f"annotations of r1: {len(beats)} {DUPLICATE}"
    assert notes[1] in capsys.readouterr().out and metadata_of(config)["notes"] == notes


def test_segment_together_with_its_record_is_rejected(tmp_path):
    signal, samples, symbols = excerpt(20)
    folder = write_record(tmp_path / "raw", "r1", signal, samples, symbols)
    (folder / "long.hea").write_text(f"long/2 1 360 {2 * len(signal)}\nr1 {len(signal)}\nr1 {len(signal)}\n")
    config = config_for(tmp_path, database={"data_dir": str(folder), "records": ["long", "r1"]})
    with pytest.raises(InputError, match="its segment r1 as a further record"):
        preprocess(config, jobs=1)


def test_records_whose_files_would_have_one_name_are_rejected(tmp_path):
    signal = np.random.default_rng(0).normal(size=3600)
    for record in ("a/1", "a_1"):
        (tmp_path / "raw" / record).parent.mkdir(parents=True, exist_ok=True)
        write_record((tmp_path / "raw" / record).parent, Path(record).name, signal, [1000, 2000], "NN")
    (tmp_path / "raw" / "RECORDS").write_text("a/1\na_1\n")
    config = config_for(tmp_path, database={"name": "own", "data_dir": str(tmp_path / "raw"), "records": []})
    with pytest.raises(InputError, match="records a/1 and a_1, whose HDF5 files would have one name"):
        preprocess(config, jobs=1)
