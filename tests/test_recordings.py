import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb

from keras_ecg.databases import mitdb
from keras_ecg.databases.recordings import (
    check_lead,
    choose_lead,
    list_records,
    read_recording,
    record_files,
    subjects,
)
from keras_ecg.errors import InputError

WHOLE = pytest.mark.skipif(not os.environ.get("MITDB_DIR"), reason="MITDB_DIR does not name the whole database")


@pytest.fixture
def folder(tmp_path):
    """One record of 1,000 samples in two files, of formats 212 and 16, with four annotations."""
    values = np.random.default_rng(0).integers(-500, 500, (1000, 2))
    names = {"fs": 250, "units": ["mV", "uV"], "sig_name": ["MLII", "V1"], "fmt": ["212", "16"]}
    scale = {"adc_gain": [200.0, 10.0], "baseline": [0, 24]}
    wfdb.wrsamp("r1", **names, **scale, d_signal=values, write_dir=str(tmp_path))
    header = (tmp_path / "r1.hea").read_text()
    (tmp_path / "r1.hea").write_bytes(header.replace("\n", "\r\n").encode())  # as PhysioNet's
    wfdb.wrann("r1", "atr", np.array([5, 100, 300, 999]), ["+", "N", "V", "~"], write_dir=str(tmp_path))
    return tmp_path, values


def test_reads_every_signal_file_and_every_annotation(folder):
    path, values = folder
    recording = read_recording(path, "r1")
    assert recording.record == "r1" and recording.leads == ("MLII", "V1") and recording.sampling_rate_hz == 250
    assert recording.signals.dtype == np.float32
    np.testing.assert_allclose(recording.signals[:, 0], values[:, 0] / 200, rtol=1e-6)
    np.testing.assert_allclose(recording.signals[:, 1], (values[:, 1] - 24) / 10 / 1000, rtol=1e-6)  # microvolts
    assert recording.samples.dtype == np.int64 and recording.samples.tolist() == [5, 100, 300, 999]
    assert recording.symbols.tolist() == ["+", "N", "V", "~"]
    assert len(read_recording(path, "r1", annotations=None).samples) == 0
    assert [p.name for p in record_files(path, "r1")] == ["r1.hea", "r1_1.dat", "r1_2.dat", "r1.atr"]


def _truncate(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])


def _flip(path: Path, place: int):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


FAULTS = {
    "missing header": (lambda d: (d / "r1.hea").unlink(), "r1.hea", "no such file"),
    "missing signals": (lambda d: (d / "r1_2.dat").unlink(), "r1_2.dat", "no such file"),
    "missing annotations": (lambda d: (d / "r1.atr").unlink(), "r1.atr", "no such file"),
    "truncated 212": (lambda d: _truncate(d / "r1_1.dat", 1499), "r1_1.dat", "1499 bytes (truncated); expected 1500"),
    "truncated 16": (lambda d: _truncate(d / "r1_2.dat", 1000), "r1_2.dat", "1000 bytes (truncated); expected 2000"),
    "flipped bit": (lambda d: _flip(d / "r1_2.dat", 700), "r1_2.dat", "lead V1 with checksum"),
    "truncated annotations": (lambda d: _truncate(d / "r1.atr", 4), "r1.atr", "truncated"),
    "empty annotations": (lambda d: _truncate(d / "r1.atr", 0), "r1.atr", "truncated"),
    "header of noise": (lambda d: (d / "r1.hea").write_bytes(bytes(range(256))), "r1.hea", "unreadable header"),
    "empty header": (lambda d: (d / "r1.hea").write_text(""), "r1.hea", "unreadable header"),
    "header cut": (lambda d: _truncate(d / "r1.hea", 60), "r1.hea", "unreadable header"),
    "no signal": (lambda d: (d / "r1.hea").write_text("r1 0 250 1000\n"), "r1.hea", "no signal"),
    "annotation outside": (
        lambda d: wfdb.wrann("r1", "atr", np.array([5, 1000]), ["N", "N"], write_dir=str(d)),
        "r1.atr",
        "an annotation at sample 1000; expected 0 to 999",
    ),
    "another rate": (
        lambda d: wfdb.wrann("r1", "atr", np.array([5]), ["N"], fs=500, write_dir=str(d)),
        "r1.atr",
        "annotations at 500 Hz",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_the_file(folder, fault):
    break_it, name, found = FAULTS[fault]
    break_it(folder[0])
    with pytest.raises(InputError) as error:
        read_recording(folder[0], "r1")
    assert str(folder[0] / name) in str(error.value) and found in str(error.value)
    assert "\n" not in str(error.value)


def test_the_fault_survives_a_process_boundary(folder):
    import pickle

    (folder[0] / "r1_2.dat").unlink()
    with pytest.raises(InputError) as error:
        read_recording(folder[0], "r1")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_list_records(folder, tmp_path):
    path, _ = folder
    (path / "layout.hea").write_text("layout 0 250 1000\n")
    assert list_records(path) == ["r1"]
    (path / "RECORDS").write_text("r2\r\nr1\r\n")
    assert list_records(path) == ["r1", "r2"]
    (tmp_path / "empty").mkdir()
    for bad in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"download_data\.py"):
            list_records(bad)


def test_choose_lead():
    assert choose_lead(("V5", "MLII"), "MLII", ("V5",)) == 1
    assert choose_lead(("V5", "V2"), "MLII", ("II", "V2", "V5")) == 1
    with pytest.raises(InputError, match="r1: found leads V5, V2; expected MLII or one of II, I"):
        choose_lead(("V5", "V2"), "MLII", ("II", "I"), where="r1")


def test_check_lead():
    signal = np.random.default_rng(0).normal(size=100).astype(np.float32)
    check_lead(signal, "r1.dat", "MLII")
    with pytest.raises(InputError, match="lead MLII flat"):
        check_lead(np.full(100, 0.5, np.float32), "r1.dat", "MLII")
    signal[3] = np.nan
    with pytest.raises(InputError, match="lead MLII with 1 of 100 samples not a number"):
        check_lead(signal, "r1.dat", "MLII")


def test_an_invalid_sample_is_a_nan(tmp_path):
    values = np.arange(10)[:, None]
    values[4] = -2048  # format 212 has no other way to say "no value"
    wfdb.wrsamp("r", 250, ["mV"], ["MLII"], d_signal=values, fmt=["212"], adc_gain=[200.0], baseline=[0],
                write_dir=str(tmp_path))  # fmt: skip
    signals = read_recording(tmp_path, "r", annotations=None).signals
    assert np.isnan(signals[:, 0]).tolist() == [k == 4 for k in range(10)]


def test_subjects(tmp_path):
    known = subjects(tmp_path, "mitdb", mitdb.RECORDS)
    assert known["201"] == known["202"] and len(set(known.values())) == 47
    assert subjects(tmp_path, "own", ["a", "b"]) == {"a": "a", "b": "b"}
    (tmp_path / "subjects.csv").write_text("record,subject\na,p1\nb,p1\n")
    assert subjects(tmp_path, "own", ["a", "b"]) == {"a": "p1", "b": "p1"}
    with pytest.raises(InputError, match=r"subjects\.csv: found no subject for c"):
        subjects(tmp_path, "own", ["a", "c"])
    (tmp_path / "subjects.csv").write_text("a,p1\n")
    with pytest.raises(InputError, match="the columns record,subject"):
        subjects(tmp_path, "own", ["a"])


def test_splits_are_disjoint_and_complete():
    everything = set(mitdb.RECORDS)
    assert len(mitdb.RECORDS) == len(everything) == 48 and mitdb.PACED == ("102", "104", "107", "217")
    assert len(mitdb.DS1) == len(mitdb.DS2) == 22 and not set(mitdb.DS1) & set(mitdb.DS2)
    assert set(mitdb.DS1) | set(mitdb.DS2) | set(mitdb.PACED) == everything
    assert (len(mitdb.SEED_TEST), len(mitdb.SEED_TRAIN)) == (7, 38)
    assert not set(mitdb.SEED_TEST) & set(mitdb.SEED_TRAIN)
    assert set(mitdb.SEED_TEST) | set(mitdb.SEED_TRAIN) == everything - {"102", "104", "107"}
    both_sides = {mitdb.subject_of(r) for r in mitdb.DS1} & {mitdb.subject_of(r) for r in mitdb.DS2}
    assert both_sides == {mitdb.subject_of("201")}  # the one declared exception
    assert not {mitdb.subject_of(r) for r in mitdb.SEED_TRAIN} & {mitdb.subject_of(r) for r in mitdb.SEED_TEST}


@WHOLE
def test_counts_of_the_whole_database():
    folder = os.environ["MITDB_DIR"]
    assert tuple(list_records(folder)) == mitdb.RECORDS
    counts, leads = {}, {}
    for record in mitdb.RECORDS:
        recording = read_recording(folder, record)
        assert recording.signals.shape == (650_000, 2) and recording.sampling_rate_hz == 360
        counts[record] = Counter(mitdb.CLASS_OF_SYMBOL.get(symbol, -1) for symbol in recording.symbols)
        leads[record] = recording.leads

    def beats(records):
        return [sum(counts[record][k] for record in records) for k in range(5)]

    assert beats(mitdb.RECORDS) == [90631, 2781, 7236, 803, 8043]
    assert beats(set(mitdb.RECORDS) - set(mitdb.PACED)) == [90125, 2781, 7009, 803, 15]
    assert beats(mitdb.DS1) == [45866, 944, 3788, 415, 8]
    assert beats(mitdb.DS2) == [44259, 1837, 3221, 388, 7]
    assert sum(sum(c.values()) for c in counts.values()) == 112_647  # with rhythm and quality marks
    assert leads["114"] == ("V5", "MLII")
    assert [record for record in mitdb.RECORDS if "MLII" not in leads[record]] == ["102", "104"]


def test_a_record_of_several_segments_is_read_as_one(folder):
    path, _ = folder
    (path / "long.hea").write_text("long/2 2 250 2000\nr1 1000\nr1 1000\n")
    signals = read_recording(path, "long", annotations=None).signals
    np.testing.assert_array_equal(signals, np.tile(read_recording(path, "r1").signals, (2, 1)))
    assert [p.name for p in record_files(path, "long")] == ["long.hea", "r1.hea", "r1_1.dat", "r1_2.dat"]
