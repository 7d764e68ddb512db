import os
import shutil
import struct
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import wfdb
from conftest import SAMPLE, write_signals

from keras_ecg.databases import mitdb
from keras_ecg.databases.annotations import DUPLICATE, OUTSIDE, UNORDERED
from keras_ecg.databases.recordings import (
    check_distinct_records,
    check_lead,
    check_rates,
    choose_lead,
    list_records,
    read_recording,
    record_files,
)
from keras_ecg.databases.subjects import subjects, subjects_note
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
    (tmp_path / "r1.hea").write_bytes(header.replace("\n", "\r\n").encode())  # line ends as on PhysioNet
    wfdb.wrann("r1", "atr", np.array([5, 100, 300, 999]), ["+", "N", "V", "~"], write_dir=str(tmp_path))
    return tmp_path, values


def test_read_recording_reads_all_signal_files_and_annotations(folder):
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


def _edit(path: Path, old: str, new: str):
    path.write_text(path.read_text().replace(old, new))


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
    "annotations of another record": (
        lambda d: wfdb.wrann("r1", "atr", np.array([5, 1000, 2000]), ["N"] * 3, write_dir=str(d)),
        "r1.atr",
        "2 of 3 beats outside the signal's 1000 samples",
    ),
    "rate of zero": (lambda d: _edit(d / "r1.hea", "r1 2 250", "r1 2 0"), "r1.hea", "unreadable header"),
    "negative rate": (lambda d: _edit(d / "r1.hea", "r1 2 250", "r1 2 -250"), "r1.hea", "unreadable header"),
    "rate that is not a number": (lambda d: _edit(d / "r1.hea", "r1 2 250", "r1 2 nan"), "r1.hea", "unreadable header"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_file_error_is_one_line_with_file_name(folder, fault):
    break_it, name, found = FAULTS[fault]
    break_it(folder[0])
    with pytest.raises(InputError) as error:
        read_recording(folder[0], "r1")
    assert str(folder[0] / name) in str(error.value) and found in str(error.value)
    assert "\n" not in str(error.value)


def test_error_is_returned_from_worker_process(folder):
    import pickle

    (folder[0] / "r1_2.dat").unlink()
    with pytest.raises(InputError) as error:
        read_recording(folder[0], "r1")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_list_records_uses_records_file_or_headers(folder, tmp_path):
    path, _ = folder
    (path / "layout.hea").write_text("layout 0 250 1000\n")
    assert list_records(path) == ["r1"]
    (path / "broken.hea").write_text("neither a name nor a number")
    assert list_records(path) == [
        "broken",
        "r1",
    ]  # the error is raised when the record is read, so that it can be skipped
    (path / "RECORDS").write_text("r2\r\nr1\r\n")
    assert list_records(path) == ["r1", "r2"]
    (tmp_path / "empty").mkdir()
    for bad in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"download_data\.py"):
            list_records(bad)


def test_choose_lead_prefers_lead_then_fallbacks():
    assert choose_lead(("V5", "MLII"), "MLII", ("V5",)) == 1
    assert choose_lead(("V5", "V2"), "MLII", ("II", "V2", "V5")) == 1
    with pytest.raises(InputError, match="r1: found leads V5, V2; expected MLII or one of II, I"):
        choose_lead(("V5", "V2"), "MLII", ("II", "I"), where="r1")


def test_flat_lead_and_nan_are_rejected():
    signal = np.random.default_rng(0).normal(size=100).astype(np.float32)
    check_lead(signal, "r1.dat", "MLII")
    with pytest.raises(InputError, match="lead MLII flat"):
        check_lead(np.full(100, 0.5, np.float32), "r1.dat", "MLII")
    signal[3] = np.nan
    with pytest.raises(InputError, match="lead MLII with 1 of 100 samples not a number"):
        check_lead(signal, "r1.dat", "MLII")


def test_invalid_sample_is_nan(tmp_path):
    values = np.arange(10)[:, None]
    values[4] = -2048  # marks an invalid sample in format 212
    wfdb.wrsamp("r", 250, ["mV"], ["MLII"], d_signal=values, fmt=["212"], adc_gain=[200.0], baseline=[0],
                write_dir=str(tmp_path))  # fmt: skip
    signals = read_recording(tmp_path, "r", annotations=None).signals
    assert np.isnan(signals[:, 0]).tolist() == [k == 4 for k in range(10)]


def test_subjects_are_read_from_table(tmp_path):
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


def test_record_with_two_subjects_is_rejected(tmp_path):
    (tmp_path / "subjects.csv").write_text("record,subject\na,p1\nb,p2\na, p1\n")
    assert subjects(tmp_path, "own", ["a", "b"]) == {"a": "p1", "b": "p2"}  # listing the same subject twice is valid
    (tmp_path / "subjects.csv").write_text("record,subject\na,p1\nb,p2\na,p2\n")
    with pytest.raises(InputError, match=r"subjects\.csv: found record a with the subjects p1 and p2"):
        subjects(tmp_path, "own", ["a", "b"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_subject_table_in_spreadsheet_encoding_is_read(tmp_path, encoding):
    (tmp_path / "subjects.csv").write_bytes("record,subject\r\na,Jörg\r\n".encode(encoding))
    assert subjects(tmp_path, "own", ["a"]) == {"a": "Jörg"}


@pytest.mark.parametrize("data", ["record,subject\na,J\xf6rg\n".encode("latin-1"), b"record,subject\na,p\0\n"])
def test_subject_table_that_is_not_text_is_rejected(tmp_path, data):
    (tmp_path / "subjects.csv").write_bytes(data)
    with pytest.raises(InputError, match="save it as UTF-8"):
        subjects(tmp_path, "own", ["a"])


def test_assumed_subjects_are_noted(tmp_path):
    assert "each record is assumed to be of another subject" in subjects_note(tmp_path, "own", ["a"])
    assert not subjects_note(tmp_path, "mitdb", ["100", "202"])
    assert subjects_note(tmp_path, "mitdb", ["100", "a"]) and subjects_note(tmp_path, "cinc2017", ["A00001", "a"])
    (tmp_path / "subjects.csv").write_text("record,subject\na,p1\n")
    assert not subjects_note(tmp_path, "own", ["a"])


def test_subject_table_takes_precedence_over_the_database_name(tmp_path):
    (tmp_path / "subjects.csv").write_text("record,subject\na,p1\nb,p1\n")
    assert subjects(tmp_path, "mitdb", ["a", "b"]) == {"a": "p1", "b": "p1"}  # mitdb is the default name


def test_published_splits_are_disjoint_and_complete():
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
def test_mitdb_has_expected_annotation_counts():
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


def test_multi_segment_record_is_read_as_one(folder):
    path, _ = folder
    (path / "long.hea").write_text("long/2 2 250 2000\nr1 1000\nr1 1000\n")
    signals = read_recording(path, "long", annotations=None).signals
    np.testing.assert_array_equal(signals, np.tile(read_recording(path, "r1").signals, (2, 1)))
    assert [p.name for p in record_files(path, "long")] == ["long.hea", "r1.hea", "r1_1.dat", "r1_2.dat"]


def test_segments_of_multi_segment_record_are_not_listed(folder):
    path, _ = folder
    for name in ("r2", "r3"):
        write_signals(path, name, np.zeros((1000, 1)), 250)
    (path / "layout.hea").write_text("layout 2 250 0\n~ 0 200 0 0 0 0 0 MLII\n~ 0 200 0 0 0 0 0 V1\n")
    (path / "long.hea").write_text("long/4 2 250 2000\nlayout 0\nr1 1000\n~ 500\nr2 500\n")
    assert list_records(path) == ["long", "r3"]
    (path / "RECORDS").write_text("r1\nr2\nr3\nlong\n")
    assert list_records(path) == ["long", "r3"]
    check_distinct_records(path, ["r1", "r2"])
    with pytest.raises(InputError, match="long: found its segment r1 as a further record"):
        check_distinct_records(path, ["r1", "long"])
    (path / "RECORDS").write_text("./r2\nlong\nsub/../r1\n")
    assert list_records(path) == ["long"]


def test_records_that_share_a_signal_file_are_rejected(folder):
    path, _ = folder
    shutil.copy(path / "r1.hea", path / "other.hea")
    with pytest.raises(InputError, match="r1: found the signal file r1_1.dat of record other"):
        check_distinct_records(path, ["other", "r1"])
    for name in ("a", "b"):
        (path / f"{name}.hea").write_text(f"{name}/1 2 250 1000\nr1 1000\n")
    with pytest.raises(InputError, match="b: found the signal file r1_1.dat of record a"):
        check_distinct_records(path, ["a", "b"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda d: _flip(d / "r2.dat", 101), "checksum"),
        (lambda d: _edit(d / "r2.hea", " 250 ", " 500 "), "500 Hz in a record of 250 Hz"),
        (lambda d: _edit(d / "r2.hea", "/mV", "/uV"), "lead MLII in uV, in another segment in mV"),
        (lambda d: os.truncate(d / "r2.dat", 1000), "truncated"),
    ],
    ids=["damaged", "rate", "unit", "truncated"],
)
def test_invalid_segment_is_rejected(tmp_path, change, found):
    for name in ("r1", "r2"):
        write_signals(tmp_path, name, np.random.default_rng(0).normal(size=(1000, 1)), 250, ("MLII",))
    (tmp_path / "long.hea").write_text("long/2 1 250 2000\nr1 1000\nr2 1000\n")
    assert len(read_recording(tmp_path, "long", None).signals) == 2000
    change(tmp_path)
    with pytest.raises(InputError, match=f"r2.*{found}"):
        read_recording(tmp_path, "long", None)


def test_gap_of_lead_with_fewer_samples_per_frame_keeps_its_place(tmp_path):
    slow = np.sin(np.arange(6000) / 20)
    slow[2000:2200] = np.nan  # 10 to 11 s at 200 Hz
    fast = np.sin(np.arange(9000) / 20)
    wfdb.wrsamp(
        "r", 100, ["mV", "mV"], ["II", "V1"], e_p_signal=[slow, fast], fmt=["16", "16"], samps_per_frame=[2, 3],
        adc_gain=[1000.0, 1000.0], baseline=[0, 0], write_dir=str(tmp_path),
    )  # fmt: skip
    signals = read_recording(tmp_path, "r", None).signals
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(signals[:, 0])), np.arange(3000, 3300))
    np.testing.assert_allclose(signals[100:2900, 0], np.sin(np.arange(100, 2900) / 30), atol=0.01)


def test_annotations_past_the_end_without_beats_are_dropped(folder):
    path, _ = folder
    wfdb.wrann("r1", "atr", np.array([900, 1000, 1100]), ["N", "+", "~"], write_dir=str(path))
    found = read_recording(path, "r1")
    assert found.samples.tolist() == [900] and found.corrections == {OUTSIDE: 2}


def test_gap_of_layout_is_read_as_nan(tmp_path):
    values = np.random.default_rng(0).normal(size=1000)
    write_signals(tmp_path, "a", values, 250, ("II",))
    (tmp_path / "layout.hea").write_text("layout 1 250 0\n~ 0 1000/mV 16 0 0 0 0 II\n")
    (tmp_path / "all.hea").write_text("all/4 1 250 2500\nlayout 0\na 1000\n~ 500\na 1000\n")
    signal = read_recording(tmp_path, "all", None).signals[:, 0]
    assert np.isnan(signal[1000:1500]).all() and np.isfinite(np.delete(signal, np.s_[1000:1500])).all()
    np.testing.assert_allclose(signal[:1000], values, atol=1e-3)
    assert [p.name for p in record_files(tmp_path, "all")] == ["all.hea", "layout.hea", "a.hea", "a.dat"]


def frames(folder: Path, name: str, ecg: np.ndarray, frame_rate: float, in_frame: int) -> None:
    """Write a record whose ECG (T,) in mV has several samples in a frame, and a pressure signal that has one."""
    ecg = ecg[: len(ecg) // in_frame * in_frame]
    pressure = np.repeat(np.arange(len(ecg) // in_frame) % 100, 1)
    digital = [np.rint(ecg * 1000).astype(int), pressure]
    wfdb.wrsamp(
        name, frame_rate, ["mV", "mmHg"], ["MLII", "ABP"], e_d_signal=digital, fmt=["16", "16"],
        adc_gain=[1000.0, 1.0], baseline=[0, 0], samps_per_frame=[in_frame, 1], write_dir=str(folder),
    )  # fmt: skip


@pytest.mark.parametrize(("frame_rate", "in_frame"), [(62.5, 4), (15, 24)])  # MIMIC-IV, drivedb
def test_lead_with_several_samples_per_frame_keeps_its_rate(tmp_path, frame_rate, in_frame):
    source = read_recording(SAMPLE, "114")
    ecg = source.signals[:21600, source.leads.index("MLII")]
    frames(tmp_path, "r", ecg, frame_rate, in_frame)
    places = np.array([10, 20, 100])  # in frames
    wfdb.wrann("r", "atr", places, ["N", "V", "N"], write_dir=str(tmp_path))
    found = read_recording(tmp_path, "r")
    assert found.sampling_rate_hz == frame_rate * in_frame and found.signals.shape == (21600, 2)
    assert found.lead_rates_hz == (frame_rate * in_frame, frame_rate)
    np.testing.assert_allclose(found.signals[:, 0], ecg, atol=5e-4)
    np.testing.assert_allclose(
        found.signals[::in_frame, 1][200:800], np.arange(21600 // in_frame)[200:800] % 100, atol=60
    )
    np.testing.assert_array_equal(found.samples, places * in_frame)
    with pytest.raises(InputError, match=f"lead ABP at {frame_rate:g} Hz") if frame_rate < 50 else nullcontext():
        check_rates(found, [1], tmp_path / "r")
    check_rates(found, [0], tmp_path / "r")


def test_damaged_sample_of_multi_sample_frame_fails_checksum(tmp_path):
    frames(tmp_path, "r", np.random.default_rng(0).normal(size=400), 62.5, 4)
    _flip(tmp_path / "r.dat", 101)
    with pytest.raises(InputError, match="checksum"):
        read_recording(tmp_path, "r", None)


def test_record_with_skew_is_read(tmp_path):
    values = np.random.default_rng(0).integers(-500, 500, (1000, 2))
    wfdb.wrsamp("r", 250, ["mV", "mV"], ["MLII", "V1"], d_signal=values, fmt=["16", "16"], adc_gain=[200.0] * 2,
                baseline=[0, 0], write_dir=str(tmp_path))  # fmt: skip
    _edit(tmp_path / "r.hea", "r.dat 16 200.0(0)/mV 16 0", "r.dat 16:0 200.0(0)/mV 16 0")
    header = (tmp_path / "r.hea").read_text().splitlines()
    header[2] = header[2].replace("16:0", "16:3")
    (tmp_path / "r.hea").write_text("\n".join(header) + "\n")
    np.testing.assert_allclose(read_recording(tmp_path, "r", None).signals[:-3, 1], values[3:, 1] / 200, rtol=1e-6)


def raw_annotations(path: Path, samples: list[int], symbols: str) -> None:
    """Write an annotation file in MIT format in any order: code and interval, or a SKIP of either sign before them."""
    codes, out, before = {"N": 1, "V": 5, "S": 9, "+": 28}, b"", 0
    for sample, symbol in zip(samples, symbols, strict=True):
        step = sample - before
        out += struct.pack("<HHH", 59 << 10, step >> 16 & 0xFFFF, step & 0xFFFF)
        out += struct.pack("<H", codes[symbol] << 10)
        before = sample
    path.write_bytes(out + b"\0\0")


def test_unordered_and_duplicate_annotations_are_corrected_and_counted(folder):
    path, _ = folder
    raw_annotations(path / "r1.atr", [5, 100, 100, 100, 700, 300, 900], "N+NVNVN")
    found = read_recording(path, "r1")
    assert found.samples.tolist() == [5, 100, 100, 300, 700, 900] and "".join(found.symbols) == "N+NVNN"
    assert found.corrections == {DUPLICATE: 1, UNORDERED: 1}


def test_annotations_outside_the_signal_are_dropped_and_counted(folder):
    path, _ = folder
    wfdb.wrann("r1", "atr", np.array([5, 500, 999, 1000, 1200]), list("NVN+N"), write_dir=str(path))
    found = read_recording(path, "r1")
    assert found.samples.tolist() == [5, 500, 999] and found.corrections == {OUTSIDE: 2}


def test_annotations_at_another_rate_are_resampled(folder):
    path, _ = folder
    wfdb.wrann("r1", "atr", np.array([10, 200, 1996]), list("NVN"), fs=500, write_dir=str(path))
    assert read_recording(path, "r1").samples.tolist() == [5, 100, 998]


@pytest.mark.skipif(not os.environ.get("SVDB_DIR"), reason="SVDB_DIR does not name the whole database")
def test_svdb_annotation_past_end_is_dropped():
    folder = os.environ["SVDB_DIR"]
    counts, corrected = np.zeros(5, int), {}
    for record in list_records(folder):
        found = read_recording(folder, record)
        counts += np.bincount(
            [mitdb.CLASS_OF_SYMBOL[s] for s in found.symbols if s in mitdb.CLASS_OF_SYMBOL], minlength=5
        )
        corrected |= {record: found.corrections} if found.corrections else {}
    assert counts.tolist() == [85567, 4277, 6211, 3, 59] and corrected == {"860": {OUTSIDE: 1}}
