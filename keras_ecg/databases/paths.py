"""Paths of records. This module imports neither wfdb nor NumPy, so that a command can check a path at once."""

from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.resources import find_data

SUFFIXES = (".hea", ".dat", ".mat", ".atr")


def without_suffix(path: Path) -> Path:
    """Return the path of a record, given that of one of its files."""
    return path.with_suffix("") if path.suffix in SUFFIXES else path


def record_path(path: Path | str) -> Path:
    """Return the path of a record without suffix; `sample_data/NAME` is found in an installed package, too.

    Raises:
        InputError: the path names no record.
    """
    found = Path(find_data(path))
    if not found.name or found.name == "..":
        raise InputError(str(path) or "the empty path", "no name of a record", "the path of a record", "correct it")
    return without_suffix(found)
