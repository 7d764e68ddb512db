"""Data of the benchmarks: the whole database or the bundled excerpt, preprocessed and packed in a temporary folder."""

import contextlib
import io
import os
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from joblib.externals.loky import get_reusable_executor

from keras_ecg.config import Config, Database, Loader, Sequences
from keras_ecg.data.preprocess import preprocess
from keras_ecg.data.tfrecords import pack
from keras_ecg.databases import mitdb
from keras_ecg.databases.recordings import list_records

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
FEW = ("208", "119")  # records for slow reference implementations


@dataclass(frozen=True)
class Scale:
    """Amount of data and number of repetitions."""

    turns: int = 3  # repetitions
    copies: int = 8  # of the excerpt, so that the start of the workers does not dominate
    kernel_beats: int = 16384
    reference_beats: int = 512
    load_records: tuple[str, ...] = mitdb.DS1
    batch: int = 64  # of train-step: larger batches at full resolution exceed the memory of a laptop
    steps: int = 10
    epochs: int = 3
    train: tuple[str, ...] = ("114", "118", "119", "124", "203", "208", "209")  # DS1
    held_out: tuple[str, ...] = ("205", "220", "223")  # DS1, other subjects
    normal: int = 3000  # N beats per epoch, for all models: the reference would take too long on all beats


TINY = Scale(1, 1, 64, 16, ("119",), 8, 1, 1, ("119",), ("208",))


def restart() -> None:
    """Stop joblib's workers, so that their start is included in the next measurement, and flush the disk caches."""
    get_reusable_executor().shutdown(wait=True)
    if hasattr(os, "sync"):
        os.sync()  # otherwise earlier writes would be flushed during the next measurement


class Workspace:
    """A database folder, and a temporary folder for its preprocessed and packed data.

    Args:
        temporary: an empty folder.
        scale: amount of data and number of repetitions.
        database: folder of MIT-BIH records; default: MITDB_DIR, else the bundled excerpt.
        records: records of that folder; default: all.
    """

    def __init__(
        self,
        temporary: Path,
        scale: Scale | None = None,
        database: Path | str | None = None,
        records: tuple[str, ...] = (),
    ):
        self.temporary, self.scale = Path(temporary), scale or Scale()
        named = database or os.environ.get("MITDB_DIR")
        self.is_sample = not named
        self.database = Path(named or SAMPLE).resolve()
        self.records = tuple(records or list_records(self.database))

    def __str__(self) -> str:
        kind = "the bundled excerpt, 5 minutes per record (MITDB_DIR is not set)" if self.is_sample else "MITDB_DIR"
        return f"{self.database.name}: {len(self.records)} records of {kind}"

    def config(self, records: tuple[str, ...], storage: str = "scalogram", extras: bool = True) -> Config:
        """Return the default configuration for these records; without `extras`, inputs are scalograms only."""
        folders = Database(
            data_dir=str(self.many), hdf5_dir=str(self.temporary / "hdf5"), tfrecord_dir=str(self.temporary / storage)
        )
        return Config(
            database=replace(folders, records=records),
            sequences=Sequences(storage=storage),
            loader=Loader(rr_features=extras, waveforms=extras),
        )

    @cached_property
    def many(self) -> Path:
        """Database folder; for the excerpt, with copies of its records under names such as copy1/100."""
        if not self.is_sample:
            return self.database
        folder = self.temporary / "database"
        folder.mkdir()
        for path in self.database.iterdir():
            (folder / path.name).symlink_to(path)
        for copy in range(1, self.scale.copies):
            (folder / f"copy{copy}").symlink_to(self.database)
        return folder

    @property
    def all_records(self) -> tuple[str, ...]:
        """All records, including the copies of the excerpt."""
        copies = range(1, self.scale.copies if self.is_sample else 1)
        return (*self.records, *(f"copy{copy}/{record}" for copy in copies for record in self.records))

    @property
    def few(self) -> tuple[str, ...]:
        """Records for slow reference implementations."""
        return tuple(r for r in FEW if r in self.records) or self.records[:1]

    @cached_property
    def hdf5(self) -> Path:
        """Folder of all records, preprocessed by ours."""
        quietly(preprocess, self.config(self.all_records))
        return self.temporary / "hdf5"

    def packed(self, storage: str = "scalogram", extras: bool = True) -> Config:
        """Pack all records if needed, and return their configuration."""
        config = self.config(self.all_records, storage, extras)
        if not Path(config.database.tfrecord_dir).exists():
            _ = self.hdf5  # preprocesses the records first
            quietly(pack, config)
        return config

    def fresh(self, name: str) -> Path:
        """Create an empty folder of that name."""
        folder = self.temporary / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def ready(self, side: str) -> None:
        """Prepare a measurement of `ours` or `reference`: no workers, flushed disk caches, an empty output folder.

        The last output is removed only here. A virtual machine may return freed memory to its host, and allocating it
        again would take longer than the measured work.
        """
        restart()
        self.fresh(side)

    def clear(self) -> None:
        """Remove the outputs of both implementations."""
        self.fresh("ours")
        self.fresh("reference")


def quietly(function, *arguments):
    """Call a stage without its output."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return function(*arguments)
