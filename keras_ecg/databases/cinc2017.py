"""PhysioNet/CinC Challenge 2017, training set: single-lead recordings of 9 to 61 s, without patient identifiers.

Clifford GD et al. AF Classification from a Short Single Lead ECG Recording. Computing in Cardiology 44 (2017).
https://physionet.org/content/challenge-2017/1.0.0/
"""

import csv
from pathlib import Path

from keras_ecg.errors import InputError

# Normal rhythm, atrial fibrillation, other rhythm, too noisy to tell: in the order of every table and prediction.
CLASSES = ("N", "A", "O", "~")
RHYTHMS = ("N", "A", "O")  # what the challenge's score averages

# The experts looked again twice, and changed hundreds of labels.
LABEL_FILES = {
    "v3": ("REFERENCE-v3.csv",),
    "v2": ("REFERENCE-v2.csv", "REFERENCE.csv"),  # the same file under two names
    "v1": ("REFERENCE-original.csv",),
}

# Two recordings stand in it twice, sample for sample.
SAME_RECORDING = {"A01176": "A00227", "A03123": "A02656"}


def subject_of(record: str) -> str:
    """The subject of a record: as far as is known the record itself, but for the two that stand there twice."""
    return SAME_RECORDING.get(record, record)


def label_file(folder: Path | str, version: str) -> Path:
    """Where the labels of a version are.

    Raises:
        InputError: the folder does not hold them.
    """
    names = LABEL_FILES[version]
    for name in names:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    do = "download it from physionet.org/files/challenge-2017/1.0.0 beside the recordings, or set rhythm.labels"
    raise InputError(Path(folder) / names[0], "no such file", f"the challenge's labels {version}", do)


def read_labels(folder: Path | str, version: str) -> dict[str, int]:
    """Record to class, an index into `CLASSES`, of every record that the labels of a version list.

    Args:
        folder: of the recordings.
        version: a key of `LABEL_FILES`.

    Raises:
        InputError: no labels of that version, a line of another form, an unknown class, or a record twice.
    """
    path = label_file(folder, version)
    out: dict[str, int] = {}
    with open(path, newline="", encoding="utf-8-sig") as stream:
        for number, row in enumerate(csv.reader(stream), 1):
            found = None
            if len(row) != 2 or row[1] not in CLASSES:
                found = repr(",".join(row))
            elif row[0] in out:
                found = f"{row[0]} twice"
            if found:
                expected = f"each record once, as RECORD,CLASS with one of {' '.join(CLASSES)}"
                raise InputError(f"{path}:{number}", found, expected, "restore the file")
            out[row[0]] = CLASSES.index(row[1])
    return out
