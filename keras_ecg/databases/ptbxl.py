"""PTB-XL: 10-second recordings of 12 leads, with the patient of each.

Wagner P et al. PTB-XL, a large publicly available electrocardiography dataset. Scientific Data 7:154 (2020).
https://physionet.org/content/ptb-xl/1.0.3/
"""

import csv
from pathlib import Path

from keras_ecg.errors import InputError

TABLE = "ptbxl_database.csv"


def patients(folder: Path | str) -> dict[str, str]:
    """Record ("records500/00000/00001_hr", and the same at 100 Hz) to patient.

    Raises:
        InputError: no table, or one without the columns that say so.
    """
    path = Path(folder) / TABLE
    if not path.is_file():
        raise InputError(path, "no such file", "the table of PTB-XL", "name the folder that holds it")
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = {"patient_id", "filename_hr", "filename_lr"}
    if not rows or not columns <= set(rows[0]):
        raise InputError(path, "no such column", ", ".join(sorted(columns)), "restore the file")
    return {row[name]: str(int(float(row["patient_id"]))) for name in ("filename_hr", "filename_lr") for row in rows}


def list_records(folder: Path | str) -> list[str]:
    """The recordings at 500 Hz that the folder's table lists and the folder has: those at 100 Hz are the same ones."""
    names = [name for name in patients(folder) if name.startswith("records500/")]
    return sorted(name for name in names if (Path(folder) / f"{name}.hea").is_file())
