"""TFRecord bytes per sequence: each beat once as float16 against float32 sequences that store each beat three times."""

from pathlib import Path

from benchmarks import reference
from benchmarks.measure import Result
from benchmarks.pack import check, pack_reference
from benchmarks.workspace import Workspace
from keras_ecg.config import Config
from keras_ecg.data.tfrecords import read_manifest

NAME, TARGET = "pack-bytes", 5.5
SAMPLES_TOLERANCE = 2e-3  # of the largest coefficient: the samples are float16, the transform is float32


def bytes_per_sequence(config: Config, records: tuple[str, ...]) -> float:
    """Compute the TFRecord bytes per sequence of our files of these records."""
    folder = Path(config.database.tfrecord_dir)
    entries = [read_manifest(folder)["records"][record] for record in records]
    size = sum((folder / name).stat().st_size for entry in entries for name in entry["files"])
    return size / sum(len(entry["label"]) for entry in entries)


def run(workspace: Workspace) -> Result:
    sizes, rows = {}, []
    ours = {storage: workspace.packed(storage, extras=False) for storage in ("scalogram", "samples")}
    for layout in reference.LAYOUTS:
        files = pack_reference(workspace, layout, workspace.few)
        if layout == "batches":
            rows.append(check(workspace, ours["scalogram"], files, layout))
            rows.append(check(workspace, ours["samples"], files, layout, SAMPLES_TOLERANCE))
        entries = read_manifest(ours["scalogram"].database.tfrecord_dir)["records"]
        count = sum(len(entries[record]["label"]) for record in workspace.few)
        sizes[layout] = sum(Path(file).stat().st_size for file in files) / count
    least = min(sizes.values())
    each = {storage: bytes_per_sequence(config, workspace.few) for storage, config in ours.items()}
    rows.append(f"ours: storage scalogram, the default: {each['scalogram']:,.0f} bytes per sequence")
    rows.append(
        f"ours: storage samples: {each['samples']:,.0f} bytes per sequence, ratio {least / each['samples']:.1f}"
    )
    rows += [f"reference: {reference.LAYOUTS[name]}: {size:,.0f} bytes per sequence" for name, size in sizes.items()]
    rows.append(f"records {', '.join(workspace.few)}")
    return Result(NAME, least / each["scalogram"], TARGET, rows)
