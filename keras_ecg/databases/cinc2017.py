"""PhysioNet/CinC Challenge 2017, training set: single-lead recordings of 9 to 61 s, without patient identifiers.

Clifford GD et al. AF Classification from a Short Single Lead ECG Recording. Computing in Cardiology 44 (2017).
https://physionet.org/content/challenge-2017/1.0.0/
"""

import csv
from pathlib import Path

from keras_ecg.errors import InputError

# Normal rhythm, atrial fibrillation, other rhythm, too noisy to classify: in the order of all tables and predictions.
CLASSES = ("N", "A", "O", "~")
RHYTHMS = ("N", "A", "O")  # classes whose F1 the challenge's score averages

# The experts revised hundreds of labels twice.
LABEL_FILES = {
    "v3": ("REFERENCE-v3.csv",),
    "v2": ("REFERENCE-v2.csv", "REFERENCE.csv"),  # the same file under two names
    "v1": ("REFERENCE-original.csv",),
}

# Two recordings are contained twice, with identical samples: duplicate -> original.
SAME_RECORDING = {"A01176": "A00227", "A03123": "A02656"}


def subject_of(record: str) -> str:
    """Return the subject of a record: the record itself, except for the two duplicates.

    Subjects are not published; a subject may have several recordings.
    """
    return SAME_RECORDING.get(record, record)


def label_file(folder: Path | str, version: str) -> Path:
    """Return the path of the labels of a version.

    Raises:
        InputError: the folder does not contain them.
    """
    names = LABEL_FILES[version]
    for name in names:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    do = "download it from physionet.org/files/challenge-2017/1.0.0 to the recordings, or set rhythm.labels"
    raise InputError(Path(folder) / names[0], "no such file", f"the challenge's labels {version}", do)


def read_labels(folder: Path | str, version: str) -> dict[str, int]:
    """Read the class of each record, an index into `CLASSES`.

    Args:
        folder: folder of the recordings.
        version: version of the labels, a key of `LABEL_FILES`.

    Raises:
        InputError: the labels are missing, a line is malformed, a class is unknown, or a record is listed twice.
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
