import os
from pathlib import Path

import numpy as np
import pytest
import wfdb

from keras_ecg.databases import mitdb
from keras_ecg.databases.download import read_sums
from keras_ecg.databases.recordings import check_lead, choose_lead, list_records, read_recording
from keras_ecg.files import sha256

SAMPLE = Path(__file__).parents[1] / "sample_data"
SIDES = {"DS1": mitdb.DS1, "DS2": mitdb.DS2}


@pytest.fixture(scope="module")
def recordings():
    return {record: read_recording(SAMPLE, record) for record in list_records(SAMPLE)}


def _beats(recording):
    classes = [mitdb.CLASS_OF_SYMBOL.get(symbol, -1) for symbol in recording.symbols]
    return np.array([classes.count(k) for k in range(5)])


def test_inter_patient_split_of_excerpt_has_every_class_on_both_sides(recordings):
    subjects = [mitdb.subject_of(record) for record in recordings]
    assert len(set(subjects)) == len(recordings) >= 14
    assert not {"201", "202"} <= set(recordings)
    for side in SIDES.values():
        beats = np.array([_beats(recordings[record]) for record in recordings if record in side])
        assert (beats[:, :4].sum(0) >= 90).all()  # N S V F
        assert ((beats[:, :4] > 0).sum(0) >= 3).all()  # each in several subjects
    assert all(record in mitdb.DS1 + mitdb.DS2 for record in recordings)


def test_every_record_has_usable_lead(recordings):
    for record, recording in recordings.items():
        lead = choose_lead(recording.leads, "MLII")
        check_lead(recording.signals[:, lead], SAMPLE / record, "MLII")
        assert recording.signals.shape == (108_000, 2) and recording.sampling_rate_hz == 360
    assert recordings["114"].leads == ("V5", "MLII")  # leads are chosen by name, not by position


def test_excerpt_has_limited_size_licence_and_checksums():
    files = [path for path in SAMPLE.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    assert "opendatacommons.org/licenses/by/1-0" in (SAMPLE / "LICENSE-ODC-By-1.0.txt").read_text()
    readme = (SAMPLE / "README.md").read_text()
    for words in ("Open Data Commons Attribution License", "Moody GB, Mark RG", "Goldberger AL", "e215-e220"):
        assert words in readme
    sums = read_sums(SAMPLE / "SHA256SUMS.txt")
    assert {p.name for p in files if p.suffix in (".dat", ".hea", ".atr")} | {"RECORDS"} == set(sums)
    assert all(sha256(SAMPLE / name) == checksum for name, checksum in sums.items())


def _table():
    """Return start second, seconds and beats per class of each record from the README's table."""
    lines = (SAMPLE / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| DS")]
    return {row[1]: (row[0], *map(int, row[2:])) for row in rows}


def test_readme_states_actual_counts(recordings):
    table = _table()
    assert set(table) == set(recordings)
    for record, (side, _, seconds, *beats) in table.items():
        assert record in SIDES[side] and seconds == 300
        assert beats == _beats(recordings[record]).tolist()


@pytest.mark.skipif(not os.environ.get("MITDB_DIR"), reason="MITDB_DIR does not name the whole database")
def test_values_equal_those_of_mitdb(recordings):
    for record, (_, second, seconds, *_) in _table().items():
        start, stop = second * 360, (second + seconds) * 360
        whole, part = read_recording(os.environ["MITDB_DIR"], record), recordings[record]
        assert part.leads == whole.leads
        np.testing.assert_array_equal(part.signals, whole.signals[start:stop])
        inside = (whole.samples >= start) & (whole.samples < stop)
        np.testing.assert_array_equal(part.samples, whole.samples[inside] - start)
        assert part.symbols.tolist() == whole.symbols[inside].tolist()
        notes, own = (wfdb.rdann(f"{d}/{record}", "atr") for d in (os.environ["MITDB_DIR"], SAMPLE))
        keep = np.flatnonzero(inside)
        assert own.aux_note == [notes.aux_note[k] for k in keep]
        for field in ("subtype", "chan", "num"):
            np.testing.assert_array_equal(getattr(own, field), getattr(notes, field)[keep])
