"""HDF5 files of preprocessed records: layout and reader.

The file of a record with n beats contains:

    samples     (n, T) float16, mV: the beats
    scalograms  (n, F, T) float16: magnitudes of their wavelet coefficients
    sample      (n,) int64: sample index of the annotation in the original recording
    label       (n,) int8: 0 to 4 for N S V F Q
    symbol      (n,) bytes: symbol of the annotation
    rr_before, rr_after  (n,) float32: RR intervals in seconds; NaN at the ends
    median_beat (T,) float32, mV: median of all beats of the record; uses no labels
    context     (K,) float16, mV: filtered recording, padded by half a context window at each end; may be empty
    context_start  (n,) int32: first sample of each beat's context window in `context`
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError
from keras_ecg.files import sha256

VERSION = 4  # to be increased when equal parameters give a different file
COLUMNS = ("sample", "symbol", "label", "rr_before", "rr_after")


def hdf5_path(folder: Path | str, record: str) -> Path:
    """Return the path of a record's HDF5 file."""
    return Path(folder) / f"{record.replace('/', '_')}.h5"


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open a record's HDF5 file for reading.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, RuntimeError):  # h5py raises various exceptions on damaged files
        found = "a damaged file" if path.is_file() else "no such file"
        raise InputError(
            path, found, "a record's beats", "delete it and run keras-ecg preprocess (preprocess_data.py)"
        ) from None


@contextmanager
def writing(path: Path | str) -> Iterator[h5py.File]:
    """Create an HDF5 file.

    Raises:
        OSError: writing failed, for example on a full disk; HDF5 reports some failures on closing, as RuntimeError.
    """
    try:
        with h5py.File(path, "w") as file:
            yield file
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from None


def stored_fingerprint(path: Path) -> str | None:
    """Read the fingerprint of an HDF5 file; None if the file is missing or damaged."""
    try:
        with h5py.File(path, "r") as file:
            complete = len(file["scalograms"]) == len(file["samples"]) == len(file["label"])
        return describe(path)["fingerprint"] if complete else None
    except (OSError, KeyError, ValueError, RuntimeError):  # as above
        return None


def read_columns(folder: Path | str, record: str) -> dict[str, np.ndarray]:
    """Read the per-beat metadata of a record: sample, symbol, label, rr_before, rr_after, each (n,).

    Raises:
        InputError: the file is missing or damaged.
    """
    with reading(hdf5_path(folder, record)) as file:
        return {name: file[name][:] for name in COLUMNS}


def original_rate_hz(folder: Path | str, record: str) -> float:
    """Read the sampling rate (Hz) of the original recording, to which `sample` refers.

    Raises:
        InputError: the file is missing or damaged.
    """
    with reading(hdf5_path(folder, record)) as file:
        return float(file.attrs["original_rate_hz"])


def describe(path: Path) -> dict:
    """Read the entry of metadata.json for a record from its HDF5 file."""
    with h5py.File(path, "r") as file:
        columns = {name: file[name][:] for name in COLUMNS}
        attrs = dict(file.attrs)
        dropped = file["dropped"][:].tolist()
    label = columns.pop("label").tolist()
    return {
        **{k: attrs[k] for k in ("subject", "lead", "fingerprint")},
        "sha256": sha256(path),
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
        out[k] = None  # JSON does not allow NaN
    return out
