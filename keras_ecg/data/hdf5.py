"""The beats of one record in one HDF5 file: its layout, and reading it.

Each file holds, for the n beats of its record:

    samples     (n, T) float16, mV: the beat itself
    scalograms  (n, F, T) float16: magnitudes of its wavelet coefficients
    sample      (n,) int64: the annotation's own index in the original recording
    label       (n,) int8: 0 to 4 for N S V F Q
    symbol      (n,) bytes: the annotation's symbol
    rr_before, rr_after  (n,) float32, seconds; NaN at the ends
    median_beat (T,) float32, mV: the record's median beat, from all its beats and no label
    context     (K,) float16, mV: the cleaned recording with half a context window added at each end; empty if none
    context_start  (n,) int32: first sample in it of each beat's window
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError

VERSION = 3  # raised when the same parameters would give another file
COLUMNS = ("sample", "symbol", "label", "rr_before", "rr_after")


def hdf5_path(folder: Path | str, record: str) -> Path:
    return Path(folder) / f"{record.replace('/', '_')}.h5"


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Yields a record's HDF5 file.

    Raises:
        InputError: no such file, or a damaged one.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, RuntimeError):  # what h5py raises on damage is not one kind of exception
        found = "a damaged file" if path.is_file() else "no such file"
        raise InputError(path, found, "a record's beats", "delete it and run preprocess_data.py") from None


@contextmanager
def writing(path: Path | str) -> Iterator[h5py.File]:
    """Yields a new HDF5 file.

    Raises:
        OSError: a full disk, also where HDF5 finds it only as it closes the file, and calls it something else.
    """
    try:
        with h5py.File(path, "w") as file:
            yield file
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from None


def stored_fingerprint(path: Path) -> str | None:
    """The fingerprint inside an HDF5 file; None where it is missing or damaged."""
    try:
        with h5py.File(path, "r") as file:
            whole = len(file["scalograms"]) == len(file["samples"]) == len(file["label"])
        return describe(path)["fingerprint"] if whole else None
    except (OSError, KeyError, ValueError, RuntimeError):  # as above
        return None


def read_columns(folder: Path | str, record: str) -> dict[str, np.ndarray]:
    """The per-beat columns of a record: sample, symbol, label, rr_before, rr_after (n,).

    Raises:
        InputError: no HDF5 file, or a damaged one.
    """
    with reading(hdf5_path(folder, record)) as file:
        return {name: file[name][:] for name in COLUMNS}


def original_rate_hz(folder: Path | str, record: str) -> float:
    """The sampling rate of a record's files, on which `sample` counts.

    Raises:
        InputError: no HDF5 file, or a damaged one.
    """
    with reading(hdf5_path(folder, record)) as file:
        return float(file.attrs["original_rate_hz"])


def describe(path: Path) -> dict:
    """One record's entry in metadata.json, read back from its HDF5 file."""
    with h5py.File(path, "r") as file:
        columns = {name: file[name][:] for name in COLUMNS}
        attrs = dict(file.attrs)
        dropped = file["dropped"][:].tolist()
    label = columns.pop("label").tolist()
    return {
        **{k: attrs[k] for k in ("subject", "lead", "fingerprint")},
        **{k: float(attrs[k]) for k in ("original_rate_hz", "sampling_rate_hz")},
        "inputs": dict(line.split(" ") for line in attrs["inputs"]),
        "corrections": list(attrs["corrections"]),
        "dropped_samples": dropped,
        "index": list(range(len(label))),
        "sample": columns["sample"].tolist(),
        "symbol": [s.decode() for s in columns["symbol"]],
        "aami_class": [mitdb.CLASSES[k] for k in label],
        "label": label,
        **{k: _without_nan(columns[k].astype(float).round(6)) for k in ("rr_before", "rr_after")},
    }


def _without_nan(values: np.ndarray) -> list[float | None]:
    out = values.tolist()
    for k in np.flatnonzero(np.isnan(values)):
        out[k] = None  # JSON has no NaN
    return out
