"""PTB-XL: 10-second recordings of 12 leads, with patient, fold, statements and diagnoses of each.

Each recording is there at 500 Hz and at 100 Hz: those at 500 Hz are read, the others only where there are none.

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
    """The records of a folder, in order of their number."""

    ecg_id: np.ndarray  # (n,) int
    record: tuple[str, ...]  # such as "records500/00000/00001_hr"
    subject: np.ndarray  # (n,) str, the patient
    fold: np.ndarray  # (n,) int, 1 to 10, whole patients
    superclasses: np.ndarray  # (n, 5) int8: several, or none, may hold
    statements: np.ndarray  # (n, 71) int8: which of them stand, at any likelihood
    names: tuple[str, ...]  # of the statements, as scp_statements.csv lists them


def _rows(folder: Path | str, name: str, columns: set[str]) -> list[dict[str, str]]:
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(path, "no such file", "a table of PTB-XL", "name the folder that holds it")
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not columns <= set(rows[0]):
        raise InputError(path, "no such column", ", ".join(sorted(columns)), "restore the file")
    return rows


def _patient(row: dict[str, str]) -> str:
    return str(int(float(row["patient_id"])))


def patients(folder: Path | str) -> dict[str, str]:
    """Record ("records500/00000/00001_hr", and the same at 100 Hz) to patient.

    Raises:
        InputError: no table, or one without the columns that say so.
    """
    rows = _rows(folder, TABLE, {"patient_id", "filename_hr", "filename_lr"})
    return {row[name]: _patient(row) for name in ("filename_hr", "filename_lr") for row in rows}


def patients_of_folds(folder: Path | str, folds: tuple[int, ...]) -> dict[str, str]:
    """As `patients`, of the records of these folds alone.

    Raises:
        InputError: no table, or one without folds.
    """
    rows = _rows(folder, TABLE, {"patient_id", "filename_hr", "filename_lr", "strat_fold"})
    own = [row for row in rows if int(row["strat_fold"]) in folds]
    return {row[name]: _patient(row) for name in ("filename_hr", "filename_lr") for row in own}


def list_records(folder: Path | str) -> list[str]:
    """The recordings that the folder's table lists and the folder has: at 500 Hz, and only where there are none 100."""
    for place in ("records500/", "records100/"):
        names = [name for name in patients(folder) if name.startswith(place)]
        if found := sorted(name for name in names if (Path(folder) / f"{name}.hea").is_file()):
            return found
    return []


def superclass_of(folder: Path | str) -> dict[str, str]:
    """Each of the 71 statements to its superclass; empty where it is of form or rhythm, not diagnostic.

    Raises:
        InputError: no table of statements, or one without the columns that say so.
    """
    rows = _rows(folder, STATEMENTS, {"", "diagnostic", "diagnostic_class"})
    return {row[""]: row["diagnostic_class"] if float(row["diagnostic"] or 0) else "" for row in rows}


def read_diagnoses(folder: Path | str) -> Diagnosed:
    """Patient, fold, statements and superclasses of every recording that the folder has, by its tables.

    A superclass holds where any of its diagnostic statements stands, at any likelihood; records without one stay.

    Raises:
        InputError: a table is missing, without its columns, or odd; or the folder has no recording.
    """
    columns = {"ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_hr", "filename_lr"}
    rows, classes = _rows(folder, TABLE, columns), superclass_of(folder)
    there = set(list_records(folder))
    column = "filename_hr" if any(name.startswith("records500/") for name in there) else "filename_lr"
    rows = sorted((row for row in rows if row[column] in there), key=lambda row: int(row["ecg_id"]))
    if not rows:
        raise InputError(folder, "no recording", "some of those in its table", "download them")
    found, names = np.zeros((len(rows), len(SUPERCLASSES)), np.int8), tuple(classes)
    stand = np.zeros((len(rows), len(names)), np.int8)
    for k, row in enumerate(rows):
        try:
            codes = ast.literal_eval(row["scp_codes"])
        except (ValueError, SyntaxError):
            where = f"{Path(folder) / TABLE}, ecg_id {row['ecg_id']}"
            raise InputError(where, row["scp_codes"][:40], "statements and likelihoods", "restore the file") from None
        for code in codes:
            if code in classes:
                stand[k, names.index(code)] = 1
            if classes.get(code):
                found[k, SUPERCLASSES.index(classes[code])] = 1
    return Diagnosed(
        np.array([int(row["ecg_id"]) for row in rows]),
        tuple(row[column] for row in rows),
        np.array([_patient(row) for row in rows]),
        np.array([int(row["strat_fold"]) for row in rows]),
        found,
        stand,
        names,
    )
