"""Labels and duplicate recordings of CinC 2017."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_ecg.databases.cinc2017 import CLASSES, read_labels, subject_of
from keras_ecg.databases.recordings import read_recording
from keras_ecg.errors import InputError

COUNTS = {"v3": (5076, 758, 2415, 279), "v2": (5050, 738, 2456, 284), "v1": (5154, 771, 2557, 46)}


@pytest.fixture(scope="module")
def cinc2017_dir() -> Path:
    if not os.environ.get("CINC2017_DIR"):
        pytest.skip("CINC2017_DIR is not set to the folder of CinC 2017")
    return Path(os.environ["CINC2017_DIR"])


@pytest.mark.parametrize("version", COUNTS)
def test_each_version_of_labels_has_expected_counts(cinc2017_dir, version):
    labels = read_labels(cinc2017_dir, version)
    assert tuple(np.bincount(list(labels.values()))) == COUNTS[version]


def test_duplicate_recordings_are_same_subject(cinc2017_dir):
    for pair in (("A00227", "A01176"), ("A02656", "A03123")):
        signals = [read_recording(cinc2017_dir, record, None).signals for record in pair]
        np.testing.assert_array_equal(*signals)
        assert subject_of(pair[0]) == subject_of(pair[1])
    assert subject_of("A00001") != subject_of("A00002")


def test_read_labels_selects_version(tmp_path):
    (tmp_path / "REFERENCE-v3.csv").write_text("A1,N\nA2,~\n")
    (tmp_path / "REFERENCE.csv").write_text("A1,A\nA2,O\n")
    assert read_labels(tmp_path, "v3") == {"A1": 0, "A2": CLASSES.index("~")}
    assert read_labels(tmp_path, "v2") == {"A1": 1, "A2": 2}
    with pytest.raises(InputError, match="REFERENCE-original.csv.*v1"):
        read_labels(tmp_path, "v1")


@pytest.mark.parametrize(("text", "found"), [("A1,N\nA2,X\n", "A2,X"), ("A1,N\nA1,N\n", "A1 twice"), ("A1\n", "A1")])
def test_invalid_label_error_names_line(tmp_path, text, found):
    (tmp_path / "REFERENCE-v3.csv").write_text(text)
    with pytest.raises(InputError, match=rf"REFERENCE-v3\.csv:{len(text.splitlines())}.*{found}"):
        read_labels(tmp_path, "v3")
