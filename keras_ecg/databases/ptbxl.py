"""PTB-XL: 12-lead recordings of 10 s with patient, fold, SCP statements and diagnostic superclasses.

The database contains each recording at 500 Hz and at 100 Hz; the recordings at 100 Hz are used only if the folder has
none at 500 Hz.

Wagner P et al. PTB-XL, a large publicly available electrocardiography dataset. Scientific Data 7:154 (2020).
https://physionet.org/content/ptb-xl/1.0.3/
"""

import ast
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_ecg.errors import InputError

TABLE = "ptbxl_database.csv"
STATEMENTS = "scp_statements.csv"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
TRAIN_FOLDS, SELECT_FOLD, TEST_FOLD = (1, 2, 3, 4, 5, 6, 7, 8), 9, 10  # as its authors recommend


@dataclass(frozen=True)
class Diagnosed:
    """Metadata of the n records of a folder, in order of `ecg_id`."""

    ecg_id: np.ndarray  # (n,) int
    record: tuple[str, ...]  # such as "records500/00000/00001_hr"
    subject: np.ndarray  # (n,) str, the patient id
    fold: np.ndarray  # (n,) int, 1 to 10; all records of a patient are in the same fold
    superclasses: np.ndarray  # (n, 5) int8, multi-label; may be all 0
    statements: np.ndarray  # (n, 71) int8: SCP statements with any likelihood
    names: tuple[str, ...]  # of the statements, in the order of scp_statements.csv


def _rows(folder: Path | str, name: str, columns: set[str]) -> list[dict[str, str]]:
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(path, "no such file", "a table of PTB-XL", "set database.data_dir to the folder of PTB-XL")
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not columns <= set(rows[0]):
        raise InputError(path, "no such column", ", ".join(sorted(columns)), "restore the file")
    return rows


def _patient(row: dict[str, str]) -> str:
    return str(int(float(row["patient_id"])))


def patients(folder: Path | str) -> dict[str, str]:
    """Return the patient of each record, such as "records500/00000/00001_hr", at both sampling rates.

    Raises:
        InputError: the table is missing or lacks columns.
    """
    rows = _rows(folder, TABLE, {"patient_id", "filename_hr", "filename_lr"})
    return {row[name]: _patient(row) for name in ("filename_hr", "filename_lr") for row in rows}


def patients_of_folds(folder: Path | str, folds: tuple[int, ...]) -> dict[str, str]:
    """Return the patient of each record of folds.

    Raises:
        InputError: the table is missing or lacks columns.
    """
    rows = _rows(folder, TABLE, {"patient_id", "filename_hr", "filename_lr", "strat_fold"})
    selected = [row for row in rows if int(row["strat_fold"]) in folds]
    return {row[name]: _patient(row) for name in ("filename_hr", "filename_lr") for row in selected}


def list_records(folder: Path | str) -> list[str]:
    """List the records of the table whose files exist: those at 500 Hz, or, if there are none, those at 100 Hz."""
    for place in ("records500/", "records100/"):
        names = [name for name in patients(folder) if name.startswith(place)]
        if found := sorted(name for name in names if (Path(folder) / f"{name}.hea").is_file()):
            return found
    return []


def superclass_of(folder: Path | str) -> dict[str, str]:
    """Return the superclass of each of the 71 SCP statements; empty for statements of form or rhythm.

    Raises:
        InputError: the table of statements is missing or lacks columns.
    """
    rows = _rows(folder, STATEMENTS, {"", "diagnostic", "diagnostic_class"})
    return {row[""]: row["diagnostic_class"] if float(row["diagnostic"] or 0) else "" for row in rows}


def read_diagnoses(folder: Path | str) -> Diagnosed:
    """Read patient, fold, statements and superclasses of all recordings of a folder.

    A record belongs to a superclass if it has any of its diagnostic statements, with any likelihood. Records without a
    superclass are included.

    Raises:
        InputError: a table is missing, lacks columns or is malformed; or the folder contains no recording.
    """
    columns = {"ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_hr", "filename_lr"}
    rows, classes = _rows(folder, TABLE, columns), superclass_of(folder)
    available = set(list_records(folder))
    column = "filename_hr" if any(name.startswith("records500/") for name in available) else "filename_lr"
    rows = sorted((row for row in rows if row[column] in available), key=lambda row: int(row["ecg_id"]))
    if not rows:
        raise InputError(folder, "no recording", "recordings listed in its table", "download them")
    superclasses, names = np.zeros((len(rows), len(SUPERCLASSES)), np.int8), tuple(classes)
    stated = np.zeros((len(rows), len(names)), np.int8)
    for k, row in enumerate(rows):
        try:
            codes = ast.literal_eval(row["scp_codes"])
        except (ValueError, SyntaxError):
            where = f"{Path(folder) / TABLE}, ecg_id {row['ecg_id']}"
            raise InputError(where, row["scp_codes"][:40], "statements and likelihoods", "restore the file") from None
        for code in codes:
            if code in classes:
                stated[k, names.index(code)] = 1
            if classes.get(code):
                superclasses[k, SUPERCLASSES.index(classes[code])] = 1
    return Diagnosed(
        np.array([int(row["ecg_id"]) for row in rows]),
        tuple(row[column] for row in rows),
        np.array([_patient(row) for row in rows]),
        np.array([int(row["strat_fold"]) for row in rows]),
        superclasses,
        stated,
        names,
    )
