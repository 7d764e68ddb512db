"""PTB-XL: 10-second recordings of 12 leads, with patient, fold and diagnoses of each.

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
    record: tuple[str, ...]  # at 500 Hz, such as "records500/00000/00001_hr"
    subject: np.ndarray  # (n,) str, the patient
    fold: np.ndarray  # (n,) int, 1 to 10, whole patients
    superclasses: np.ndarray  # (n, 5) int8: several, or none, may hold


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
    """The recordings at 500 Hz that the folder's table lists and the folder has: those at 100 Hz are the same ones."""
    names = [name for name in patients(folder) if name.startswith("records500/")]
    return sorted(name for name in names if (Path(folder) / f"{name}.hea").is_file())


def superclass_of(folder: Path | str) -> dict[str, str]:
    """Diagnostic statement to superclass.

    Raises:
        InputError: no table of statements, or one without the columns that say so.
    """
    rows = _rows(folder, STATEMENTS, {"", "diagnostic", "diagnostic_class"})
    return {row[""]: row["diagnostic_class"] for row in rows if row["diagnostic"] and float(row["diagnostic"])}


def read_diagnoses(folder: Path | str) -> Diagnosed:
    """Patient, fold and superclasses of every recording that the folder has, by its tables.

    A superclass holds where any of its diagnostic statements stands, at any likelihood; records without one stay.

    Raises:
        InputError: a table is missing, without its columns, or odd; or the folder has no recording.
    """
    names = {"ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_hr", "filename_lr"}
    rows, classes = _rows(folder, TABLE, names), superclass_of(folder)
    there = set(list_records(folder))
    rows = sorted((row for row in rows if row["filename_hr"] in there), key=lambda row: int(row["ecg_id"]))
    if not rows:
        raise InputError(folder, "no recording at 500 Hz", "some of those in its table", "download them")
    found = np.zeros((len(rows), len(SUPERCLASSES)), np.int8)
    for k, row in enumerate(rows):
        try:
            codes = ast.literal_eval(row["scp_codes"])
        except (ValueError, SyntaxError):
            where = f"{Path(folder) / TABLE}, ecg_id {row['ecg_id']}"
            raise InputError(where, row["scp_codes"][:40], "statements and likelihoods", "restore the file") from None
        for code in codes:
            if code in classes:
                found[k, SUPERCLASSES.index(classes[code])] = 1
    return Diagnosed(
        np.array([int(row["ecg_id"]) for row in rows]),
        tuple(row["filename_hr"] for row in rows),
        np.array([_patient(row) for row in rows]),
        np.array([int(row["strat_fold"]) for row in rows]),
        found,
    )
