"""What the classifiers return: arrays, and tables and WFDB annotations of them.

Shapes: n beats, K classes.
"""

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import wfdb

from keras_ecg.errors import InputError
from keras_ecg.files import atomic

if TYPE_CHECKING:
    import pandas

EXTENSION = "aami"  # the suffix of the annotation files


def write_table(path: Path | str, header: list[str], rows: list[list]) -> Path:
    """Writes a CSV file, whole or not at all."""
    with atomic(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return Path(path)


def data_frame(header: list[str], rows: list[list]) -> "pandas.DataFrame":
    """A pandas table.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("to_dataframe", "no package pandas", "pandas", "pip install pandas") from None
    return pandas.DataFrame(rows, columns=header)


@dataclass(frozen=True)
class BeatPredictions:
    """The classified beats of one recording, in order of time."""

    record: str
    sampling_rate_hz: float
    sample: np.ndarray  # (n,) int64, indices of the R peaks at the recording's own sampling rate
    probabilities: np.ndarray  # (n, K) float32
    classes: tuple[str, ...]  # (K,) names
    notes: tuple[str, ...] = ()  # what was corrected or could not be analysed

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def seconds(self) -> np.ndarray:
        """Times (n,) of the R peaks from the beginning of the recording."""
        return self.sample / self.sampling_rate_hz

    @property
    def label(self) -> np.ndarray:
        """Indices (n,) of the most probable classes."""
        return self.probabilities.argmax(1)

    @property
    def symbol(self) -> np.ndarray:
        """Names (n,) of the most probable classes."""
        return np.array(self.classes)[self.label]

    @property
    def counts(self) -> dict[str, int]:
        """How many beats are of each class."""
        return {name: int(np.count_nonzero(self.label == k)) for k, name in enumerate(self.classes)}

    def _table(self) -> tuple[list[str], list[list]]:
        header = ["sample", "seconds", "class", *(f"p_{name}" for name in self.classes)]
        columns = (self.sample.tolist(), self.seconds.tolist(), self.symbol.tolist(), self.probabilities.tolist())
        return header, [[s, t, name, *chances] for s, t, name, chances in zip(*columns, strict=True)]

    def to_dataframe(self) -> "pandas.DataFrame":
        """A table with a row for each beat; needs pandas.

        Raises:
            InputError: pandas is not installed.
        """
        return data_frame(*self._table())

    def to_csv(self, path: Path | str) -> Path:
        """Writes a row for each beat: sample, seconds, class, and the probability of each class."""
        header, rows = self._table()
        return write_table(path, header, [[s, f"{t:.3f}", c, *(f"{p:.4f}" for p in rest)] for s, t, c, *rest in rows])

    def to_wfdb(self, folder: Path | str) -> Path:
        """Writes a WFDB annotation file RECORD.aami, with the classes as its symbols."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{self.record}.{EXTENSION}"
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            # wfdb takes letters, digits, hyphens and underscores in a name: the file gets the record's afterwards.
            symbols, rate = self.symbol.tolist(), self.sampling_rate_hz
            wfdb.wrann("record", EXTENSION, self.sample, symbol=symbols, fs=rate, write_dir=partial)
            (Path(partial) / f"record.{EXTENSION}").replace(target)
        return target


@dataclass(frozen=True)
class RecordingPrediction:
    """The class of one whole recording."""

    record: str
    probabilities: np.ndarray  # (K,) float64
    classes: tuple[str, ...]  # (K,) names
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> int:
        """The index of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def symbol(self) -> str:
        """The name of the most probable class."""
        return self.classes[self.label]

    def _table(self) -> tuple[list[str], list[list]]:
        header = ["record", "class", *(f"p_{name}" for name in self.classes)]
        return header, [[self.record, self.symbol, *self.probabilities.tolist()]]

    def to_dataframe(self) -> "pandas.DataFrame":
        """A table with one row; needs pandas.

        Raises:
            InputError: pandas is not installed.
        """
        return data_frame(*self._table())

    def to_csv(self, path: Path | str) -> Path:
        """Writes one row: record, class, and the probability of each class."""
        header, [[record, symbol, *chances]] = self._table()
        return write_table(path, header, [[record, symbol, *(f"{p:.4f}" for p in chances)]])
