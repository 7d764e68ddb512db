"""Windows without labels: segmentation, dropped windows, and the stream."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import yaml
from conftest import SAMPLE, with_sections, write_signals

from keras_ecg.config import Config, from_dict, to_dict
from keras_ecg.data.window_stream import (
    count_windows,
    create_window_dataset,
    create_window_epochs,
    split_subjects,
    window_subjects,
)
from keras_ecg.data.windows import (
    pack_windows,
    parse_window_chunk,
    read_windows,
    reject_subjects,
    subject_name,
    window_manifest,
    window_records,
)
from keras_ecg.databases import mitdb
from keras_ecg.databases.recordings import choose_leads, list_records, read_recording
from keras_ecg.databases.subjects import subjects
from keras_ecg.errors import InputError
from keras_ecg.signals import windows as cutting

ROOT = SAMPLE.parent
RATE = 100


def noise(seconds, leads=1, rate=RATE, seed=0):
    """Return a signal that is neither flat nor saturated, and similar at every sampling rate: sinusoids and noise."""
    at = np.arange(round(seconds * rate)) / rate
    waves = np.sin(2 * np.pi * 1.2 * at) + 0.5 * np.sin(2 * np.pi * 7 * at)
    random = np.random.default_rng(seed).normal(0, 0.05, (len(at), leads))
    return waves[:, np.newaxis] * (1 + np.arange(leads)) + random


def write(folder, name, signals, rate=RATE, leads=("MLII",)):
    write_signals(folder, name, signals, rate, leads)


def config_of(folder, *sources, **windows) -> Config:
    sources = sources or ({"database": "own", "folder": str(folder / "raw")},)
    section = {"sources": list(sources), "tfrecord_dir": str(folder / "packed"), **windows}
    return from_dict(Config, {"windows": section})


def pack(config, jobs=1):
    return pack_windows(config, jobs, quiet=True)


def with_windows(config, **changes) -> Config:
    return with_sections(config, windows=changes)


def only(manifest) -> dict:
    records = window_records(manifest)
    assert len(records) == 1
    return next(iter(records.values()))


def stored(config) -> list[tuple[str, int, np.ndarray]]:
    """Read record, first sample and signal (T, C) in mV of every packed window from the files."""
    import tensorflow as tf

    out, length = [], round(config.windows.length_seconds * config.windows.sampling_rate_hz)
    for path in sorted(Path(config.windows.tfrecord_dir).glob("*.tfrecord")):
        (text,) = tf.data.TFRecordDataset(str(path))
        chunk = {k: v.numpy() for k, v in parse_window_chunk(text, len(config.windows.leads)).items()}
        names = chunk["records"].decode().split("\n")
        for start, record, sample in zip(chunk["start"], chunk["record"], chunk["sample"], strict=True):
            out.append((names[record], int(sample), chunk["signals"][start : start + length]))
    return out


def epoch(dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return signals (n, T, C) and subjects (n,) of one epoch."""
    seen = [{k: v.numpy() for k, v in batch.items()} for batch in dataset]
    return np.concatenate([b["signals"] for b in seen]), np.concatenate([b["subject"] for b in seen])


def standard(windows):
    """Reference implementation of the z-score."""
    windows = np.asarray(windows, np.float64)
    return (windows - windows.mean(1, keepdims=True)) / windows.std(1, keepdims=True)


def keys(signals) -> list[bytes]:
    return sorted(np.round(window[:50], 3).astype(np.float32).tobytes() for window in signals)


def found_by(config) -> str:
    with pytest.raises(InputError) as caught:
        pack(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what is cut ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "overlap", "count", "covered"),
    [
        (10, 0.5, 1, 10),
        (30, 0.0, 3, 30),
        (30, 0.5, 5, 30),
        (30, 0.75, 9, 30),
        (30, 0.9, 21, 30),
        (32.4, 0.5, 5, 30),
        (32.5, 0.5, 6, 32.5),
        (34.9, 0.0, 3, 30),
        (38, 0.0, 4, 38),
    ],
)
def test_number_of_windows_matches_hand_count(tmp_path, seconds, overlap, count, covered):
    write(tmp_path / "raw", "r1", noise(seconds))
    entry = only(pack(config_of(tmp_path, overlap=overlap)))
    assert entry["windows"] == count and entry["dropped"] == {"nan": 0, "flat": 0, "saturated": 0}
    assert entry["unique_seconds"] == covered and entry["seconds"] == seconds and not entry["too_short"]


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_windows_equal_filtering_by_scipy(tmp_path, overlap):
    config = config_of(tmp_path, {"database": "sample", "folder": str(SAMPLE), "records": ["208"]}, overlap=overlap)
    pack(config)
    raw = read_recording(SAMPLE, "208").signals[:, 0].astype(np.float64)
    level = np.median(raw)
    slow = scipy.signal.resample_poly(raw - level, 5, 18) + level
    sections = scipy.signal.butter(3, [0.5, 40], "bandpass", fs=100, output="sos")
    clean = scipy.signal.sosfiltfilt(sections, slow)
    step = round(1000 * (1 - overlap))
    expected = [clean[k : k + 1000] for k in range(0, len(clean) - 999, step)]
    got = stored(config)
    assert [sample for _, sample, _ in got] == [round(k * step * 3.6) for k in range(len(expected))]
    assert {record for record, _, _ in got} == {"sample/208"}
    values = np.stack([v for _, _, v in got])
    assert values.dtype == np.float16
    # float16 has a relative error of 2**-11; the filter runs in float32.
    np.testing.assert_allclose(values[..., 0], expected, rtol=2**-11, atol=2e-5)
    signals, _ = epoch(create_window_dataset(config, 16, is_training=False))
    np.testing.assert_allclose(signals, standard(values), atol=1e-4)


def test_overlapping_windows_store_each_sample_once(tmp_path):
    write(tmp_path / "raw", "r1", noise(60))
    sizes = []
    for overlap in (0.0, 0.75):
        config = config_of(tmp_path, overlap=overlap)
        pack(config)
        sizes.append(sum(p.stat().st_size for p in Path(config.windows.tfrecord_dir).glob("*.tfrecord")))
    assert sizes[0] > 60 * RATE * 2 and sizes[1] < 1.1 * sizes[0]


@pytest.mark.parametrize("rate", [75, 100, 250, 360, 1000])
def test_other_sampling_rate_gives_same_windows(tmp_path, rate):
    write(tmp_path / "raw", "r1", np.sin(2 * np.pi * 1.2 * np.arange(30 * rate) / rate), rate)
    config = config_of(tmp_path, bandpass_hz=[])
    assert only(pack(config))["windows"] == 5
    for _, sample, window in stored(config):
        expected = np.sin(2 * np.pi * 1.2 * (sample / rate + np.arange(1000) / RATE))
        inner = slice(20, -20)  # filters differ at the ends of a record
        np.testing.assert_allclose(window[inner, 0], expected[inner], atol=0.02)


def test_leads_are_chosen_by_name_and_fallback_is_used_once():
    assert choose_leads(("V5", "MLII"), ("MLII", "V5")) == [1, 0]
    assert choose_leads(("ECG",), ("MLII",), ("II", "ECG")) == [0]
    assert choose_leads(("V5", "V1"), ("MLII", "V1"), ("V1", "V5")) == [0, 1]  # V1 is itself requested
    with pytest.raises(InputError, match="r1: found leads V5, V2; expected MLII or one of II; .*windows.leads"):
        choose_leads(("V5", "V2"), ("MLII",), ("II",), "r1")


def test_leads_are_stored_in_configured_order(tmp_path):
    write(tmp_path / "raw", "r1", noise(20, leads=2), leads=("V1", "MLII"))
    config = config_of(tmp_path, leads=["MLII", "V1"], bandpass_hz=[])
    assert only(pack(config))["leads"] == ["MLII", "V1"]
    first = stored(config)[0][2]
    np.testing.assert_allclose(first, noise(20, leads=2)[:1000, ::-1], atol=2e-3)
    signals, _ = epoch(create_window_dataset(to_dict(config), 8, is_training=False))
    assert signals.shape == (3, 1000, 2)
    np.testing.assert_allclose(signals.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(signals.std(1), 1, atol=1e-4)


# -- what is left out -------------------------------------------------------------------------------------------------


def test_flat_segment_drops_windows_that_contain_it(tmp_path):
    values = noise(60)
    values[2500:2620] = 0.25  # 1.2 s from second 25 on
    write(tmp_path / "raw", "r1", values)
    config = config_of(tmp_path)
    entry = only(pack(config))
    assert entry["dropped"] == {"nan": 0, "flat": 2, "saturated": 0}  # of windows from 0, 5, ...: those from 20 and 25
    assert [sample for _, sample, _ in stored(config)] == [0, 500, 1000, 1500, 3000, 3500, 4000, 4500, 5000]
    assert entry["unique_seconds"] == 55  # 0 to 25 and 30 to 60


def test_short_constant_segment_is_not_flat(tmp_path):
    values = noise(30)
    values[1000:1090] = 0.25
    write(tmp_path / "raw", "r1", values)
    assert only(pack(config_of(tmp_path)))["dropped"]["flat"] == 0


def test_noise_without_ecg_is_flat(tmp_path):
    values = noise(40)
    values[2000:] = np.random.default_rng(0).normal(0, 0.003, (2000, 1))
    write(tmp_path / "raw", "r1", values)
    config = config_of(tmp_path, overlap=0.0)
    assert only(pack(config))["dropped"] == {
        "nan": 0,
        "flat": 1,
        "saturated": 0,
    }  # the filter spreads signal into the other window
    assert [sample for _, sample, _ in stored(config)] == [0, 1000, 2000]


def test_saturation_drops_windows_that_contain_it(tmp_path):
    values = noise(40)
    values[1200:1212] = 5.0  # 120 ms at the top
    values[3300:3312] = -5.0
    values[2500:2512] = 0.3  # neither minimum nor maximum
    write(tmp_path / "raw", "r1", values)
    config = config_of(tmp_path, overlap=0.0)
    assert only(pack(config))["dropped"] == {"nan": 0, "flat": 0, "saturated": 2}
    assert [sample for _, sample, _ in stored(config)] == [0, 2000]


def test_short_constant_segment_at_extreme_is_not_saturation(tmp_path):
    values = noise(20)
    values[700:708] = 5.0
    write(tmp_path / "raw", "r1", values)
    assert only(pack(config_of(tmp_path)))["windows"] == 3


def test_missing_samples_drop_only_windows_that_contain_them(tmp_path):
    values = noise(60, leads=2)
    values[3100:3110, 1] = np.nan
    write(tmp_path / "raw", "r1", values, leads=("MLII", "V1"))
    config = config_of(tmp_path, leads=["MLII", "V1"], overlap=0.0)
    entry = only(pack(config))
    assert entry["dropped"] == {"nan": 1, "flat": 0, "saturated": 0}
    assert [sample for _, sample, _ in stored(config)] == [0, 1000, 2000, 4000, 5000]
    assert all(np.isfinite(window).all() for _, _, window in stored(config))


def test_dropped_window_is_counted_for_one_reason(tmp_path):
    values = noise(20)
    values[100:110] = np.nan
    values[300:500] = 5.0
    write(tmp_path / "raw", "r1", values)
    write(tmp_path / "raw", "r2", noise(20))
    records = window_records(pack(config_of(tmp_path, overlap=0.0)))
    assert records["own/r1"]["dropped"] == {"nan": 1, "flat": 0, "saturated": 0}


def test_too_short_record_is_counted_and_listed(tmp_path, capsys):
    write(tmp_path / "raw", "r1", noise(9.99))
    write(tmp_path / "raw", "r2", noise(10))
    write(tmp_path / "raw", "r3", noise(0.1))
    config = config_of(tmp_path)
    manifest = pack_windows(config, 1)
    assert manifest["too_short"] == ["own/r1", "own/r3"]
    assert [e["windows"] for e in window_records(manifest).values()] == [0, 1, 0]
    said = capsys.readouterr().out
    assert "own: 1 windows, 0.00 unique hours" in said and "too short for one window: own/r1, own/r3" in said
    assert window_subjects(manifest) == ["own/r2"]


def test_constant_runs_and_masks_match_hand_computation():
    values = np.array([1, 1, 1, 2, 3, 3, 3, 3, np.nan, np.nan, 0.0])[:, np.newaxis]
    assert np.flatnonzero(cutting.constant_runs(values, 3)).tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert np.flatnonzero(cutting.constant_runs(values, 4)).tolist() == [4, 5, 6, 7]
    assert cutting.fill_missing(values)[8:10, 0].tolist() == [2, 1]
    assert cutting.fill_missing(np.full((3, 1), np.nan)).tolist() == [[0], [0], [0]]
    assert np.flatnonzero(cutting.coverage(np.array([1, 2, 7]), 3, 11)).tolist() == [1, 2, 3, 4, 7, 8, 9]
    mask = np.zeros(36, bool)
    mask[18] = True
    starts = np.array([0, 2, 3, 4, 5, 6])  # at a rate 3.6 times lower, sample 18 lies in sample 5
    assert cutting.touches(mask, starts, 3, 3.6).tolist() == [False, False, True, True, True, False]


# -- sources and subjects ---------------------------------------------------------------------------------------------


def test_short_records_share_file_and_long_records_are_divided(tmp_path):
    for k in range(7):
        write(tmp_path / "raw", f"a{k}", noise(20, seed=k))  # 3 windows each
    write(tmp_path / "raw", "b", noise(100))  # 19 windows
    config = config_of(tmp_path, chunk_size=8)
    manifest = pack(config)
    held = {name: counts for group in manifest["groups"].values() for name, counts in group["held"].items()}
    assert [sum(n for _, n in counts) for counts in held.values()] == [6, 6, 6, 3, 8, 8, 3]
    assert [r for r, _ in held["own-a2-0000.tfrecord"]] == ["own/a2", "own/a3"]
    assert sorted(p.name for p in Path(config.windows.tfrecord_dir).glob("*.tfrecord")) == sorted(held)
    got = stored(config)
    assert len(got) == 7 * 3 + 19 == manifest["totals"]["all"]["windows"]
    for record in ("a3", "b"):
        own = {sample: window for name, sample, window in got if name == f"own/{record}"}
        clean, starts, samples, _ = read_windows(str(tmp_path / "raw"), record, config.windows, 0.5)
        assert sorted(own) == samples.tolist()
        for start, sample in zip(starts, samples, strict=True):
            np.testing.assert_array_equal(own[sample], clean[start : start + 1000].astype(np.float16))


def test_totals_are_sums_by_database(tmp_path):
    write(tmp_path / "a", "r1", noise(30))
    write(tmp_path / "a", "r2", noise(30), leads=("ECG",))
    write(tmp_path / "b", "r1", noise(36))
    sources = [{"database": n, "folder": str(tmp_path / n)} for n in "ab"]
    totals = pack(config_of(tmp_path, sources[0], {**sources[1], "overlap": 0.75}))["totals"]
    assert [totals[k]["windows"] for k in ("a", "b", "all")] == [10, 11, 21]
    np.testing.assert_allclose([totals[k]["unique_hours"] * 3600 for k in ("a", "b", "all")], [60, 35, 95])
    np.testing.assert_allclose(totals["all"]["recorded_hours"] * 3600, 96)
    assert (totals["a"]["subjects"], totals["all"]["subjects"]) == (2, 3)  # r1 of a is not r1 of b


def sample_source(**more):
    return {"database": "sample", "folder": str(SAMPLE), **more}


def test_bundled_excerpt_is_usable_source(tmp_path):
    manifest = pack(config_of(tmp_path, sample_source()))
    count = len(list_records(SAMPLE))
    assert manifest["totals"]["all"]["records"] == count
    # Each excerpt is 5 minutes.
    assert manifest["totals"]["all"]["windows"] == count * 59
    assert "mitdb/208" in window_subjects(manifest)


def test_excluded_subjects_have_no_windows_and_are_listed(tmp_path):
    config = config_of(tmp_path, sample_source(records=["100", "114", "208"], exclude=["100"]))
    manifest = pack(config)
    assert manifest["excluded"] == {"sample": {"100": "100"}}
    assert list(window_records(manifest)) == ["sample/114", "sample/208"]
    assert {record for record, _, _ in stored(config)} == {"sample/114", "sample/208"}
    again = with_windows(config, sources=[sample_source(records=["100", "114", "208"])])
    assert list(window_records(pack(again))) == ["sample/100", "sample/114", "sample/208"]
    assert list(window_records(pack(config))) == ["sample/114", "sample/208"]
    assert {record for record, _, _ in stored(config)} == {"sample/114", "sample/208"}


def test_unknown_excluded_name_is_rejected(tmp_path):
    assert "no record or subject 2100 to exclude" in found_by(config_of(tmp_path, sample_source(exclude=["2100"])))


def test_windows_of_test_subject_are_rejected(tmp_path):
    folder = tmp_path / "raw"
    for name in ("201", "101", "100"):
        write(folder, name, noise(20))
    source = {"database": "mitdb", "folder": str(folder), "exclude": ["100"]}
    test = {subject_name("mitdb", mitdb.subject_of(record)) for record in mitdb.DS2}
    with pytest.raises(InputError) as caught:
        reject_subjects(pack(config_of(tmp_path, source)), test)
    message = str(caught.value)
    assert "mitdb/201+202 (records mitdb/201)" in message  # 202, of the same subject, is in DS2
    assert "excluded so far: 100" in message
    reject_subjects(pack(config_of(tmp_path, {**source, "exclude": ["100", "201"]})), test)
    reject_subjects(pack(config_of(tmp_path, {**source, "exclude": ["100", "201+202"]})), test)


def test_excerpt_has_subjects_of_mitdb(tmp_path):
    manifest = pack(config_of(tmp_path, sample_source(records=["200"])))
    with pytest.raises(InputError, match="mitdb/200"):
        reject_subjects(manifest, {"mitdb/200"})


def test_subjects_of_cinc2017_and_ptbxl_are_known(tmp_path):
    assert subjects(tmp_path, "cinc2017", ["A01176", "A00227", "A00001"]) == {
        "A01176": "A00227", "A00227": "A00227", "A00001": "A00001",
    }  # fmt: skip
    table = "ecg_id,patient_id,filename_lr,filename_hr\n"
    table += "".join(f"{k},{p}.0,records100/0/{k}_lr,records500/0/{k}_hr\n" for k, p in ((1, 7), (2, 7), (3, 8)))
    for record in ("1_hr", "2_hr"):
        write(tmp_path / "records500" / "0", record, noise(10), leads=("II",))
    (tmp_path / "ptbxl_database.csv").write_text(table)
    manifest = pack(config_of(tmp_path, {"database": "ptbxl", "folder": str(tmp_path)}))
    records = window_records(manifest)
    assert {r: e["subject"] for r, e in records.items()} == {
        "ptbxl/records500/0/1_hr": "ptbxl/7", "ptbxl/records500/0/2_hr": "ptbxl/7",
    }  # fmt: skip
    (tmp_path / "ptbxl_database.csv").unlink()
    assert "ptbxl_database.csv: found no such file" in found_by(
        config_of(tmp_path, {"database": "ptbxl", "folder": str(tmp_path)})
    )


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "found"),
    [
        ({"sources": []}, "windows.sources: found none"),
        ({"sources": [{"database": "a"}]}, "windows.sources[0]"),
        ({"sources": [{"database": "a", "folder": "x"}] * 2}, "each database once"),
        ({"sources": [{"database": "a", "folder": "nowhere"}]}, "nowhere: found no such folder"),
        ({"overlap": 1.0}, "overlap: found 1.0"),
        ({"length_seconds": 0.1}, "length_seconds: found 10 samples"),
        ({"bandpass_hz": [0.5, 50]}, "windows.bandpass_hz: found [0.5, 50.0]"),
        ({"leads": []}, "windows.leads: found none"),
        ({"leads": ["aVR"], "fallback_leads": ["aVF"]}, "r1: found leads MLII; expected aVR or one of aVF"),
        ({"length_seconds": 60}, "no window in 1 records"),
    ],
)
def test_invalid_window_options_are_one_line_errors(tmp_path, windows, found):
    write(tmp_path / "raw", "r1", noise(20))
    assert found in found_by(config_of(tmp_path, **windows))
    assert not (tmp_path / "packed" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda raw: os.truncate(raw / "r2.dat", 100), "r2.dat: found 100 bytes"),
        (lambda raw: (raw / "r2.hea").write_text("nonsense"), "r2.hea: found unreadable header"),
        (lambda raw: write(raw, "r2", noise(20), leads=("V9",)), "r2: found leads V9"),
        (lambda raw: (raw / "r2.dat").unlink(), "r2.dat: found no such file"),
        (
            lambda raw: (raw / "r2.hea").write_text((raw / "r2.hea").read_text().replace("1000.0", "0.001")),
            "at most 1000 mV",
        ),
    ],
)
def test_bad_record_is_one_line_error_and_leaves_no_manifest(tmp_path, spoil, found):
    for name in ("r1", "r2"):
        write(tmp_path / "raw", name, noise(20))
    spoil(tmp_path / "raw")
    assert found in found_by(config_of(tmp_path))
    packed = tmp_path / "packed"
    assert not (packed / "manifest.json").exists() and not list(packed.glob(".*"))


def test_windows_packed_with_other_options_are_rejected(tmp_path):
    write(tmp_path / "raw", "r1", noise(20))
    config = config_of(tmp_path)
    with pytest.raises(InputError, match="manifest.json: found no such file.*create_window_tfrecords.py"):
        window_manifest(config)
    pack(config)
    for changes, odd in (({"length_seconds": 5.0}, "length_seconds"), ({"overlap": 0.75}, "sources")):
        with pytest.raises(InputError, match=f"windows packed with other {odd}"):
            create_window_dataset(with_windows(config, **changes), 4, is_training=False)


# -- resuming ---------------------------------------------------------------------------------------------------------


def stamps(config) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in Path(config.windows.tfrecord_dir).iterdir()}


def contents(config) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(config.windows.tfrecord_dir).iterdir()}


@pytest.fixture
def several(tmp_path) -> Config:
    for k in range(6):
        write(tmp_path / "raw", f"r{k}", noise(30, seed=k))
    return config_of(tmp_path, chunk_size=10)  # two records in a file


def test_rerun_keeps_files_and_jobs_do_not_change_them(several, tmp_path):
    pack(several)
    before = stamps(several)
    pack(several)
    assert stamps(several) == before
    other = with_windows(several, tfrecord_dir=str(tmp_path / "other"))
    pack(other, jobs=2)
    assert contents(other) == contents(several)


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_only_damaged_file_is_written_again(several, damage):
    pack(several)
    whole, before = contents(several), stamps(several)
    path = Path(several.windows.tfrecord_dir) / "own-r2-0000.tfrecord"
    if damage == "missing":
        path.unlink()
        with pytest.raises(InputError, match="own-r2-0000.tfrecord: found no such file"):
            create_window_dataset(several, 4, is_training=False)
    else:
        path.write_bytes(whole[path.name][:-9] + b"123456789")
    (path.parent / ".own-r2-0000.999999999.partial.tfrecord").touch()  # of a killed writer
    pack(several)
    assert contents(several) == whole
    after = stamps(several)
    assert [n for n in after if after[n] != before[n] and n != "manifest.json"] == [path.name]


def test_changed_recording_is_packed_again(several, tmp_path):
    pack(several)
    before = stamps(several)
    write(tmp_path / "raw", "r5", noise(30, seed=99))
    pack(several)
    after = stamps(several)
    assert {n for n in after if after[n] != before[n]} == {"own-r4-0000.tfrecord", "manifest.json"}


def test_killed_run_resumes(tmp_path):
    for k in range(40):
        write(tmp_path / "raw", f"r{k:02d}", noise(60, rate=360, seed=k), rate=360)
    config = config_of(tmp_path, chunk_size=11)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_dict(config)))
    command = [sys.executable, "create_window_tfrecords.py", "--jobs", "1", "--config", str(tmp_path / "config.yaml")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    packed = tmp_path / "packed"
    while process.poll() is None and len(list(packed.glob("*.tfrecord"))) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode != 0:
        assert not (packed / "manifest.json").exists()
        with pytest.raises(InputError, match="manifest.json: found no such file"):
            create_window_dataset(config, 4, is_training=False)
    pack(config)
    names = {p.name for p in packed.iterdir()}
    assert names == {f"own-r{k:02d}-0000.tfrecord" for k in range(40)} | {"manifest.json"}
    fresh = with_windows(config, tfrecord_dir=str(tmp_path / "fresh"))
    pack(fresh)
    assert contents(fresh) == contents(config)


def test_full_disk_leaves_no_manifest(several, monkeypatch):
    from keras_ecg.data import windows

    def full(path, *args):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(windows, "write_window_chunk", full)
    with pytest.raises(OSError, match="No space left"):
        pack(several)
    assert "manifest.json" not in stamps(several)


# -- the stream -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Config:
    """Twelve subjects of different length in two databases."""
    folder = tmp_path_factory.mktemp("many")
    for k in range(9):
        write(folder / "a", f"r{k}", noise(20 + 5 * k, seed=k))
    for k in range(3):
        write(folder / "b", f"r{k}", noise(120, seed=20 + k), leads=("ECG",))
    sources = [{"database": n, "folder": str(folder / n)} for n in "ab"]
    config = with_sections(config_of(folder, *sources, chunk_size=16), loader={"shuffle_chunks": 3})
    pack(config)
    return config


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_epoch_contains_every_window_once_with_its_subject(many, batch_size):
    everyone = window_subjects(window_manifest(many))
    got = stored(many)
    expected = standard([window for _, _, window in got])
    own = [everyone.index(record) for record, _, _ in got]
    for is_training in (False, True):
        dataset = create_window_dataset(many, batch_size, is_training)
        signals, subject = epoch(dataset)
        assert signals.dtype == np.float32 and subject.dtype == np.int32
        assert signals.shape == expected.shape and dataset.cardinality().numpy() == -(-len(got) // batch_size)
        order = [np.abs(expected - s).max(axis=(1, 2)).argmin() for s in signals]
        assert sorted(order) == list(range(len(got)))
        np.testing.assert_allclose(signals, expected[order], atol=2e-3)
        assert subject.tolist() == [own[k] for k in order]
        if not is_training:
            assert order == list(range(len(got)))


def test_order_is_reproducible_and_differs_between_epochs(many):
    def two(seed):
        dataset = create_window_dataset(replace(many, loader=replace(many.loader, seed=seed)), 16, is_training=True)
        return [epoch(dataset)[0] for _ in range(2)]

    (a, b), (again, more), (other, _) = two(0), two(0), two(1)
    np.testing.assert_array_equal(a, again)
    np.testing.assert_array_equal(b, more)
    assert not np.array_equal(a, b) and not np.array_equal(a, other)
    assert keys(a) == keys(b) == keys(other)


def test_order_of_epoch_depends_on_its_number(many):
    """A stream that starts with a later epoch has the same batches as one that started earlier."""
    steps = count_windows(window_manifest(many), window_subjects(window_manifest(many))) // 16

    def epochs(first, count, config=many):
        stream = create_window_epochs(config, 16, window_subjects(window_manifest(config)), first)
        batches = [batch["signals"] for batch in stream.take(count * steps).as_numpy_iterator()]
        assert all(len(batch) == 16 for batch in batches)
        return [np.concatenate(batches[k * steps : (k + 1) * steps]) for k in range(count)]

    whole = epochs(0, 3)
    np.testing.assert_array_equal(np.concatenate(whole[1:]), np.concatenate(epochs(1, 2)))
    (other,) = epochs(0, 1, replace(many, loader=replace(many.loader, seed=many.loader.seed + 1)))
    for k, one in enumerate((*whole, other)):
        assert len(set(keys(one))) == len(one)
        assert not any(np.array_equal(one, another) for another in whole[:k])
    fixed = create_window_dataset(many, 16, is_training=True, epoch=1)
    for _ in range(2):
        np.testing.assert_array_equal(epoch(fixed)[0][: 16 * steps], whole[1])


def test_shuffling_mixes_files(many):
    _, subject = epoch(create_window_dataset(many, 16, is_training=True))
    assert np.count_nonzero(np.diff(subject)) > len(subject) / 2


def test_held_out_subjects_are_disjoint_from_training_subjects(many):
    training, held_out = split_subjects(with_windows(many, validation_fraction=0.25))
    everyone = window_subjects(window_manifest(many))
    assert sorted(training + held_out) == everyone and not set(training) & set(held_out)
    assert [sum(s.startswith(n) for s in held_out) for n in "ab"] == [2, 1]
    parts = [epoch(create_window_dataset(many, 16, k == 0, side)) for k, side in enumerate((training, held_out))]
    for (_, subject), side in zip(parts, (training, held_out), strict=True):
        assert {everyone[k] for k in subject} == set(side)
    whole = epoch(create_window_dataset(many, 16, is_training=False))[0]
    assert sorted(keys(parts[0][0]) + keys(parts[1][0])) == keys(whole)
    assert split_subjects(with_windows(many, validation_fraction=0.25)) == (training, held_out)
    others = {tuple(split_subjects(with_windows(many, validation_seed=k))[1]) for k in range(8)}
    assert len(others) > 1
    for fraction in (0.0, 1.0):
        with pytest.raises(InputError, match="validation_fraction"):
            split_subjects(with_windows(many, validation_fraction=fraction))


def test_splitting_single_subject_is_rejected(tmp_path):
    write(tmp_path / "raw", "r1", noise(20))
    config = config_of(tmp_path)
    pack(config)
    with pytest.raises(InputError, match="one subject"):
        split_subjects(config)


def test_unknown_subjects_are_rejected(many):
    for subjects_, found in ((["a/r99"], "no window of a/r99"), ([], "empty list of subjects")):
        with pytest.raises(InputError, match=found):
            create_window_dataset(many, 4, False, subjects_)


def test_fifty_records_of_cinc2017_are_packed(tmp_path):
    """Records of about 30 s are grouped into few files, and each window equals the recording."""
    if not os.environ.get("CINC2017_DIR"):
        pytest.skip("CINC2017_DIR does not name the training set of the CinC 2017 challenge")
    folder = os.environ["CINC2017_DIR"]
    records = list_records(folder)[:50]
    config = config_of(tmp_path, {"database": "cinc2017", "folder": folder, "records": records}, overlap=0.75)
    manifest = pack(config)
    entries = window_records(manifest)
    assert len(entries) == 50 and all(entry["leads"] == ["ECG"] for entry in entries.values())
    for record in records:
        samples, entry = len(read_recording(folder, record, None).signals), entries[f"cinc2017/{record}"]
        # At 300 Hz: a window of 3,000 samples every 750 samples, and one at the end if at least 375 remain.
        left = -(-samples // 3) - 1000
        whole = left // 250 + 1 + (left % 250 >= 125) if left >= 0 else 0
        assert entry["windows"] + sum(entry["dropped"].values()) == whole
    assert len(list(Path(config.windows.tfrecord_dir).glob("*.tfrecord"))) <= 5
    signals, _ = epoch(create_window_dataset(config, 128, is_training=True))
    assert len(signals) == manifest["totals"]["all"]["windows"] and np.isfinite(signals).all()
