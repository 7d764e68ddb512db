"""HDF5 to TFRecord: `keras-ecg pack` with its defaults against float32 sequences that store each beat three times."""

from dataclasses import replace

import numpy as np

from benchmarks import reference
from benchmarks.measure import Result, UnequalError, alternate, check_equal
from benchmarks.workspace import Workspace, quietly
from keras_ecg.config import Config
from keras_ecg.data.hdf5 import hdf5_path
from keras_ecg.data.pipeline import create_dataset
from keras_ecg.data.tfrecords import pack

NAME, TARGET = "pack", 10


def pack_reference(workspace: Workspace, layout: str, records: tuple[str, ...]) -> list[str]:
    """Pack records' HDF5 files with the reference implementation to an empty folder, and return the files."""
    target = workspace.fresh(f"reference_{layout}")
    for record in records:
        reference.pack_record(hdf5_path(workspace.hdf5, record), target, layout)
    return [str(target / f"{record}.tfrecord") for record in records]


def check(workspace: Workspace, config: Config, files: list[str], layout: str, tolerance: float = 0.0) -> str:
    """Check that the TFRecords of both implementations contain the same sequences and labels, in the same order."""
    sides = []
    for stream in (
        create_dataset(list(workspace.few), config, 256, is_training=False),
        reference.load(files, layout, 256, None, None),
    ):
        values, labels = zip(*stream.as_numpy_iterator(), strict=True)
        sides.append((np.concatenate(values), np.concatenate(labels)))
    if not np.array_equal(sides[0][1], sides[1][1]):
        raise UnequalError(f"labels of {', '.join(workspace.few)}")
    return check_equal(f"labels and sequences, {config.sequences.storage}", sides[0][0], sides[1][0], tolerance)


def run(workspace: Workspace) -> Result:
    config = workspace.packed(extras=False)
    rows = [
        check(workspace, config, pack_reference(workspace, layout, workspace.few), layout)
        for layout in reference.LAYOUTS
    ]

    def ours() -> int:
        database = replace(config.database, tfrecord_dir=str(workspace.temporary / "ours"))
        manifest = quietly(pack, replace(config, database=database))
        return sum(len(entry["label"]) for entry in manifest["records"].values())

    def theirs(layout: str) -> int:
        target = workspace.temporary / "reference"
        return sum(reference.pack_record(hdf5_path(workspace.hdf5, r), target, layout) for r in workspace.few)

    compared = {
        layout: alternate(
            ours, lambda layout=layout: theirs(layout), "sequence", workspace.scale.turns, workspace.ready
        )
        for layout in reference.LAYOUTS
    }
    workspace.clear()
    for layout, each in compared.items():
        rows += each.rows(
            f"{len(workspace.all_records)} records, all cores, including the start of workers, SHA-256 and manifest",
            f"{reference.LAYOUTS[layout]}, records {', '.join(workspace.few)}, one process",
        )
    rows.append(f"ratio to {reference.LAYOUTS['examples']}: {compared['examples'].ratio:.1f}")
    return Result(NAME, compared["batches"].ratio, TARGET, rows)
