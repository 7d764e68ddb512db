"""An epoch of shuffled, normalized batches of 256 from TFRecords: whole chunks at once against example by example."""

from functools import partial

import numpy as np

from benchmarks import textbook
from benchmarks.measure import Result, UnequalError, alternate, check_equal, seconds_per_unit
from benchmarks.pack import pack_textbook
from benchmarks.workspace import Workspace
from keras_ecg.data.pipeline import create_dataset
from keras_ecg.data.statistics import training_statistics

NAME, TARGET = "load", 4
BATCH, BUFFER = 256, 1024


def drain(dataset) -> int:
    """Runs through a stream of batches and returns its number of sequences."""
    return sum(int(labels.shape[0]) for _, labels in dataset)


def digest(dataset) -> np.ndarray:
    """Label, mean and weighted sum of every sequence, each column sorted: equal for equal multisets of sequences."""
    rows = []
    for values, labels in dataset.as_numpy_iterator():
        flat = values.reshape(len(labels), -1)
        weights = np.cos(np.arange(flat.shape[1], dtype=np.float32))
        rows.append(np.stack([labels, flat.mean(1, dtype="f8"), flat @ weights], 1))
    return np.sort(np.concatenate(rows), 0)


def check(ours, theirs, shuffled: list) -> list[str]:
    """In order the two streams are equal, and shuffled each yields the same sequences again."""
    pairs = zip(ours.as_numpy_iterator(), theirs.as_numpy_iterator(), strict=True)
    kept = [], [], []
    for (a, labels), (b, others) in pairs:
        if not np.array_equal(labels, others):
            raise UnequalError("labels")
        for part, values in zip(kept, (a, b, labels), strict=True):
            part.append(values)
    rows = [check_equal("sequences in order", *(np.concatenate(k) for k in kept[:2]), 1e-6)]
    sums = [digest(stream) for stream in (ours, *shuffled)]
    for other in sums[1:]:
        check_equal("sequences shuffled, as a multiset", other, sums[0], 1e-5)
    return [*rows, f"equal: both shuffled passes yield these {len(sums[0])} sequences, each once"]


def run(workspace: Workspace) -> Result:
    records = tuple(r for r in workspace.scale.load_records if r in workspace.records) or workspace.few
    few = tuple(r for r in workspace.few if r in records) or records[:1]
    config = workspace.packed(extras=False)
    mean, scale = training_statistics(list(records), config)

    def stream(training: bool, records=records, config=config):
        return create_dataset(list(records), config, BATCH, training, mean, scale)

    rows, compared = [], {}
    for layout in textbook.LAYOUTS:
        files = pack_textbook(workspace, layout, records)

        def theirs(shuffle: int, files=files, layout=layout):
            return textbook.load(files, layout, BATCH, mean[..., 0], scale[..., 0], shuffle)

        some = [files[records.index(r)] for r in few]
        rows += check(stream(False, few), theirs(0, some), [stream(True, few), theirs(BUFFER, some)])
        sides = partial(drain, stream(True)), partial(drain, theirs(BUFFER))
        compared[layout] = alternate(*sides, "sequence", 2 * workspace.scale.turns + 1)
        workspace.fresh(f"textbook_{layout}")
    for layout, each in compared.items():
        rows += each.rows(
            "create_dataset, pools of 4,096 sequences, the same tensors",
            f"{textbook.LAYOUTS[layout]}, parallel maps, shuffle buffer of {BUFFER}",
        )
    more = stream(True, config=workspace.packed())
    whole = min(seconds_per_unit(partial(drain, more)) for _ in range(2))
    rows.append(f"ours with RR features and waveforms besides: {1 / whole:,.0f} sequences/s")
    rows.append(
        f"records {', '.join(records)}; to {textbook.LAYOUTS['examples']} the ratio is {compared['examples'].ratio:.1f}"
    )
    return Result(NAME, compared["batches"].ratio, TARGET, rows)
