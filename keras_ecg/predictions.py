"""Stored predictions of a run, from which every published metric is computed.

`predictions.npz` holds, for n beats and K seeds: record (n,) int or str, subject (n,) str, sample (n,) int64 (the
annotation's own index), y_true (n,) int in the order N S V F Q, probabilities (K, n, 5) float16, seeds (K,), and for a
k-fold also fold (n,). The decision is the largest probability.
"""

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keras_ecg.databases.mitdb import CLASSES, subject_of
from keras_ecg.errors import InputError
from keras_ecg.files import atomic

NEEDED = ("record", "sample", "y_true", "probabilities", "seeds")  # a file may do without subject, and without fold
AGAIN = "rerun the command that writes it"
# Exceptions of reading a damaged npz; zipfile raises the last two where a flag or an offset is damaged.
DAMAGE = (ValueError, TypeError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, RuntimeError, OSError)


@dataclass(frozen=True)
class Predictions:
    """The arrays of one `predictions.npz`; records as text, probabilities as float32."""

    record: np.ndarray
    subject: np.ndarray
    sample: np.ndarray
    y_true: np.ndarray
    probabilities: np.ndarray
    seeds: np.ndarray
    fold: np.ndarray | None = None

    @property
    def y_pred(self) -> np.ndarray:
        """Decisions (K, n)."""
        return self.probabilities.argmax(-1)

    @property
    def ensemble(self) -> np.ndarray:
        """Mean probabilities over the seeds, (n, 5)."""
        return self.probabilities.mean(0)

    def take(self, beats: np.ndarray) -> "Predictions":
        """The chosen beats only (mask or indices)."""
        fold = None if self.fold is None else self.fold[beats]
        kept = {f: getattr(self, f)[beats] for f in ("record", "subject", "sample", "y_true")}
        return replace(self, **kept, probabilities=self.probabilities[:, beats], fold=fold)


@contextmanager
def _opened(path: Path | str) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below; an OSError here is not damage
    except FileNotFoundError:
        raise InputError(path, "no such file", "stored arrays", AGAIN) from None
    try:
        with stream, np.load(stream, allow_pickle=False) as stored:
            yield stored
    except DAMAGE as error:
        found = str(error).split("\n")[0] or type(error).__name__
        raise InputError(path, found, "a whole npz file of plain arrays", "delete it and rerun") from None


def read_npz(path: Path | str) -> dict[str, np.ndarray]:
    """All arrays of an npz file; never unpickles.

    Raises:
        InputError: no such file, or not a whole npz of plain arrays.
    """
    with _opened(path) as stored:
        # NumPy checks no checksum of an array whose damaged header says that it is shorter.
        if damaged := stored.zip.testzip():
            raise zipfile.BadZipFile(f"a wrong checksum of {damaged}")
        arrays = dict(stored)
    if not all(isinstance(value, np.ndarray) for value in arrays.values()):
        raise InputError(path, "members that are not arrays", "a whole npz file of plain arrays", "delete it and rerun")
    return arrays


def need_arrays(where: object, arrays: Collection[str], names: Collection[str]) -> None:
    """Rejects arrays without those of these names.

    Raises:
        InputError: lists the missing arrays of the file `where`.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(where, f"no array {', '.join(missing)}", f"the arrays {', '.join(names)}", AGAIN)


def read_arrays(path: Path | str, names: Collection[str]) -> dict[str, np.ndarray]:
    """`read_npz` of a file that must have arrays of these names; it may have more.

    Raises:
        InputError: as `read_npz` and `need_arrays`.
    """
    stored = read_npz(path)
    need_arrays(path, stored, names)
    return stored


def write_npz(path: Path | str, *, compressed: bool = True, **arrays: np.ndarray) -> None:
    """Writes arrays atomically; an array of objects is not allowed, since reading it would unpickle."""
    for name, value in arrays.items():
        if np.asarray(value).dtype.hasobject:
            raise InputError(path, f"{name} is an array of objects", "numbers or text", "give it a plain type")
    with atomic(path) as partial:
        (np.savez_compressed if compressed else np.savez)(partial, **arrays)


def check(where: object, arrays: dict[str, np.ndarray]) -> Predictions:
    """The arrays as Predictions.

    Raises:
        InputError: an array is missing, or has an invalid shape or invalid values.
    """

    def need(good: bool, found: str, expected: str) -> None:
        if not good:
            raise InputError(where, found, expected, AGAIN)

    need_arrays(where, arrays, NEEDED)
    p, y = np.asarray(arrays["probabilities"], "f4"), np.asarray(arrays["y_true"])
    shape = (len(arrays["seeds"]), len(y), len(CLASSES))
    need(len(y) > 0, "no beats", "at least one beat")
    need(p.shape == shape, f"probabilities of shape {p.shape}", f"{shape}: seeds, beats, classes")
    for name in ("record", "subject", "sample", "fold"):
        if name in arrays:
            need(np.shape(arrays[name]) == y.shape, f"{name} of shape {np.shape(arrays[name])}", f"{y.shape}")
    need(np.issubdtype(y.dtype, np.integer) and y.min() >= 0 and y.max() < 5, "invalid values in y_true", "0 to 4")
    need(bool(np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1.001), "invalid probabilities", "0 to 1, finite")
    record, sample = np.asarray(arrays["record"]).astype(str), np.asarray(arrays["sample"]).astype("i8")
    need(len(set(zip(record.tolist(), sample.tolist(), strict=True))) == len(y), "a duplicate beat", "each beat once")
    subject = np.asarray(arrays["subject"] if "subject" in arrays else [subject_of(r) for r in record]).astype(str)
    fold = np.asarray(arrays["fold"]).astype(int) if "fold" in arrays else None
    return Predictions(record, subject, sample, y.astype(int), p, np.asarray(arrays["seeds"]), fold)


def load_predictions(path: Path | str) -> Predictions:
    """Reads and checks a predictions file.

    Raises:
        InputError: the file or one of its arrays is missing, damaged or invalid.
    """
    return check(path, read_npz(path))


def save_predictions(path: Path | str, **arrays: np.ndarray) -> None:
    """Checks the arrays and writes them atomically, probabilities as float16.

    Raises:
        InputError: as `check`.
    """
    arrays = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    checked = check(path, arrays)
    stored = arrays | {"probabilities": checked.probabilities.astype("f2"), "subject": checked.subject}
    write_npz(path, **stored)


def file_name(baseline: str = "model") -> str:
    """`predictions.npz` for the model, `predictions_<baseline>.npz` for a baseline."""
    return "predictions.npz" if baseline == "model" else f"predictions_{baseline}.npz"


def baseline_files(folder: Path | str) -> dict[str, Path]:
    """The baselines stored in a run folder, by name."""
    found = sorted(Path(folder).glob("predictions_*.npz"))
    return {path.stem.removeprefix("predictions_"): path for path in found}
