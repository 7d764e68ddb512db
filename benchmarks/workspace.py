"""The data of a run: the whole database or the bundled excerpt, and what our side makes of it in a temporary folder."""

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
FEW = ("208", "119")  # the reference's records, where all would take it minutes


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    turns: int = 3
    copies: int = 8  # of the excerpt, so that starting the worker processes is not all that is timed
    kernel_beats: int = 16384
    reference_beats: int = 512
    load_records: tuple[str, ...] = mitdb.DS1
    batch: int = 64  # of train-step: three full-resolution convolutions of more do not fit a laptop's memory
    steps: int = 10
    epochs: int = 3
    train: tuple[str, ...] = ("114", "118", "119", "124", "203", "208", "209")  # DS1
    held_out: tuple[str, ...] = ("205", "220", "223")  # DS1, other subjects
    normal: int = 3000  # N beats drawn an epoch, for either side: the reference's would take too long over all


TINY = Scale(1, 1, 64, 16, ("119",), 8, 1, 1, ("119",), ("208",))


def restart() -> None:
    """Ends joblib's worker processes: the next call starts them, inside what is timed. Waits for the disk besides."""
    get_reusable_executor().shutdown(wait=True)
    if hasattr(os, "sync"):
        os.sync()  # what was written before is not written back while the next side is measured


class Workspace:
    """A database folder and a temporary one.

    Args:
        temporary: an empty folder.
        scale: how much is measured.
        database: a folder of MIT-BIH records; by default what MITDB_DIR names, else the bundled excerpt.
        records: of that folder; by default all.
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
        kind = "the bundled excerpt, five minutes a record (MITDB_DIR is not set)" if self.is_sample else "MITDB_DIR"
        return f"{self.database.name}: {len(self.records)} records of {kind}"

    def config(self, records: tuple[str, ...], storage: str = "scalogram", extras: bool = True) -> Config:
        """The defaults over these records, in this workspace; without `extras` the stream holds scalograms alone."""
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
        """The database folder, with the excerpt's records several times under names such as copy1/100."""
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
        """Every record, the excerpt's copies among them."""
        copies = range(1, self.scale.copies if self.is_sample else 1)
        return (*self.records, *(f"copy{copy}/{record}" for copy in copies for record in self.records))

    @property
    def few(self) -> tuple[str, ...]:
        """The records on which a slow reference side is measured."""
        return tuple(r for r in FEW if r in self.records) or self.records[:1]

    @cached_property
    def hdf5(self) -> Path:
        """All records, preprocessed by our side."""
        quietly(preprocess, self.config(self.all_records))
        return self.temporary / "hdf5"

    def packed(self, storage: str = "scalogram", extras: bool = True) -> Config:
        """The configuration whose TFRecords hold all records, packed by our side."""
        config = self.config(self.all_records, storage, extras)
        if not Path(config.database.tfrecord_dir).exists():
            _ = self.hdf5  # preprocesses them first
            quietly(pack, config)
        return config

    def fresh(self, name: str) -> Path:
        """An empty folder of that name."""
        folder = self.temporary / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def ready(self, side: str) -> None:
        """What one side, ours or reference, finds before it is measured: no workers, a quiet disk, an empty folder.

        Its last output is removed only now. A virtual machine may give unused memory back to its host, and getting
        it again costs more than the work that is measured; so either side finds the memory that it had.
        """
        restart()
        self.fresh(side)

    def clear(self) -> None:
        """Removes what both sides wrote."""
        self.fresh("ours")
        self.fresh("reference")


def quietly(function, *arguments):
    """Calls a stage without the lines that it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return function(*arguments)
