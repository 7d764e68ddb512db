"""Results of the classifiers, with export to CSV, pandas and WFDB annotations.

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

EXTENSION = "aami"  # suffix of the annotation files


def write_table(path: Path | str, header: list[str], rows: list[list]) -> Path:
    """Write a CSV file atomically."""
    with atomic(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return Path(path)


def data_frame(header: list[str], rows: list[list]) -> "pandas.DataFrame":
    """Create a pandas DataFrame.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("to_dataframe", "no package pandas", "pandas", "pip install pandas") from None
    return pandas.DataFrame(rows, columns=header)


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class BeatPredictions:
    """Classified beats of one recording, in order of time.

    Attributes:
        record: name of the recording.
        sampling_rate_hz: sampling rate of the recording.
        sample: R-peak positions (n,) int64, in samples at the recording's sampling rate.
        probabilities: class probabilities (n, K) float32.
        classes: names of the K classes.
        notes: corrections made, and parts that could not be analysed.
    """

    record: str
    sampling_rate_hz: float
    sample: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def seconds(self) -> np.ndarray:
        """R-peak times (n,) in seconds from the beginning of the recording."""
        return self.sample / self.sampling_rate_hz

    @property
    def label(self) -> np.ndarray:
        """Index (n,) of each beat's most probable class."""
        return self.probabilities.argmax(1)

    @property
    def symbol(self) -> np.ndarray:
        """Name (n,) of each beat's most probable class."""
        return np.array(self.classes)[self.label]

    @property
    def counts(self) -> dict[str, int]:
        """Number of beats per class."""
        return {name: int(np.count_nonzero(self.label == k)) for k, name in enumerate(self.classes)}

    def _table(self) -> tuple[list[str], list[list]]:
        header = ["sample", "seconds", "class", *(f"p_{name}" for name in self.classes)]
        columns = (self.sample.tolist(), self.seconds.tolist(), self.symbol.tolist(), self.probabilities.tolist())
        return header, [[s, t, name, *per_class] for s, t, name, per_class in zip(*columns, strict=True)]

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return a pandas DataFrame with one row per beat.

        Raises:
            InputError: pandas is not installed.
        """
        return data_frame(*self._table())

    def to_csv(self, path: Path | str) -> Path:
        """Write a CSV file with one row per beat: sample, seconds, class, and the probability of each class."""
        header, rows = self._table()
        return write_table(path, header, [[s, f"{t:.3f}", c, *(f"{p:.4f}" for p in rest)] for s, t, c, *rest in rows])

    def to_wfdb(self, folder: Path | str) -> Path:
        """Write a WFDB annotation file RECORD.aami, with the class names as symbols.

        Raises:
            InputError: there are no beats, for which WFDB has no annotation file.
        """
        if not len(self):
            raise InputError(self.record, "no beats", "at least one", "write a CSV file instead")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{Path(self.record).name}.{EXTENSION}"
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            # wfdb restricts record names to letters, digits, hyphens and underscores, so the file is renamed
            # afterwards.
            symbols, rate = self.symbol.tolist(), self.sampling_rate_hz
            wfdb.wrann("record", EXTENSION, self.sample, symbol=symbols, fs=rate, write_dir=partial)
            (Path(partial) / f"record.{EXTENSION}").replace(target)
        return target


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class RecordingPrediction:
    """Predicted class of one recording.

    Attributes:
        record: name of the recording.
        probabilities: class probabilities (K,) float64, after temperature scaling.
        classes: names of the K classes.
        notes: corrections made, and parts that could not be analysed.
    """

    record: str
    probabilities: np.ndarray
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> int:
        """Index of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def symbol(self) -> str:
        """Name of the most probable class."""
        return self.classes[self.label]

    def _table(self) -> tuple[list[str], list[list]]:
        header = ["record", "class", *(f"p_{name}" for name in self.classes)]
        return header, [[self.record, self.symbol, *self.probabilities.tolist()]]

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return a pandas DataFrame with one row.

        Raises:
            InputError: pandas is not installed.
        """
        return data_frame(*self._table())

    def to_csv(self, path: Path | str) -> Path:
        """Write a CSV file with one row: record, class, and the probability of each class."""
        header, [[record, symbol, *probabilities]] = self._table()
        return write_table(path, header, [[record, symbol, *(f"{p:.4f}" for p in probabilities)]])
