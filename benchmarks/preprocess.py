"""Recordings to HDF5: `keras-ecg preprocess` with its defaults against one process that transforms beat by beat."""

from dataclasses import replace

import h5py
import numpy as np

from benchmarks import reference
from benchmarks.measure import Result, UnequalError, alternate, check_equal
from benchmarks.workspace import Workspace, quietly
from keras_ecg.data.hdf5 import hdf5_path
from keras_ecg.data.preprocess import preprocess

NAME, TARGET = "preprocess", 20
HALF_ULP = 2.0**-10  # float16 roundings of nearly equal values differ by at most one unit in the last place


def check(workspace: Workspace) -> str:
    """Check that the HDF5 files of both implementations contain the same beats and scalograms."""
    target = workspace.fresh("reference")
    for record in workspace.few:
        reference.preprocess_record(workspace.database, record, target)
    arrays: dict[str, list[np.ndarray]] = {}
    for folder in (workspace.hdf5, target):
        for name in ("scalograms", "label", "sample"):
            parts = []
            for record in workspace.few:
                with h5py.File(hdf5_path(folder, record), "r") as file:
                    parts.append(file[name][:])
            arrays.setdefault(name, []).append(np.concatenate(parts))
    for name in ("label", "sample"):
        if not np.array_equal(*arrays[name]):
            raise UnequalError(f"{name} of {', '.join(workspace.few)}")
    return check_equal("labels, samples and scalograms in float16", *arrays["scalograms"], HALF_ULP)


def run(workspace: Workspace) -> Result:
    equal = check(workspace)

    def ours() -> int:
        config = workspace.config(workspace.all_records)
        database = replace(config.database, hdf5_dir=str(workspace.temporary / "ours"))
        metadata = quietly(preprocess, replace(config, database=database))
        return sum(len(entry["label"]) for entry in metadata["records"].values())

    def theirs() -> int:
        target = workspace.temporary / "reference"
        return sum(reference.preprocess_record(workspace.database, r, target) for r in workspace.few)

    compared = alternate(ours, theirs, "beat", workspace.scale.turns, workspace.ready)
    workspace.clear()
    rows = compared.rows(
        f"{len(workspace.all_records)} records, all cores, including the start of workers and metadata.json",
        f"records {', '.join(workspace.few)}, one process",
    )
    if workspace.is_sample:
        rows.append(f"ours: {workspace.scale.copies} copies of the excerpt's {len(workspace.records)} records")
    return Result(NAME, compared.ratio, TARGET, [equal, *rows])
