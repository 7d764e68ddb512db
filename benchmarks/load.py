"""Loading: an epoch of shuffled, normalized batches from TFRecords, parsed by chunk against parsed by example."""

import time

import numpy as np

from benchmarks import reference
from benchmarks.measure import Result, UnequalError, alternate, check_equal, seconds_per_unit
from benchmarks.pack import pack_reference
from benchmarks.workspace import Workspace
from keras_ecg.data.pipeline import create_dataset
from keras_ecg.data.statistics import training_statistics

NAME, TARGET = "load", 4
BATCH, BUFFER = 256, 1024


class Epoch:
    """Iterates over a stream of batches, and measures closing the iterator separately.

    Closing waits for tf.data's autotuning, which may sleep as long as the epoch took. It runs on the reference's stream
    only, so counting it would favour ours.
    """

    def __init__(self, stream):
        self.stream, self.iterator, self.closing = stream, None, []

    def __call__(self) -> int:
        """Run one epoch, and return its number of sequences."""
        self.iterator = iter(self.stream)
        return sum(int(labels.shape[0]) for _, labels in self.iterator)

    def close(self) -> None:
        start = time.perf_counter()
        self.iterator = None
        self.closing.append(time.perf_counter() - start)


def digest(dataset) -> np.ndarray:
    """Compute sorted columns of label, mean and weighted sum of every sequence, equal for equal sets of sequences."""
    rows = []
    for values, labels in dataset.as_numpy_iterator():
        flat = values.reshape(len(labels), -1)
        weights = np.cos(np.arange(flat.shape[1], dtype=np.float32))
        rows.append(np.stack([labels, flat.mean(1, dtype="f8"), flat @ weights], 1))
    return np.sort(np.concatenate(rows), 0)


def check(ours, theirs, shuffled: list) -> list[str]:
    """Check that both streams are equal in order, and that the shuffled streams yield the same sequences."""
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
    return [*rows, f"equal: both shuffled epochs yield these {len(sums[0])} sequences, each once"]


def run(workspace: Workspace) -> Result:
    records = tuple(r for r in workspace.scale.load_records if r in workspace.records) or workspace.few
    few = tuple(r for r in workspace.few if r in records) or records[:1]
    config = workspace.packed(extras=False)
    mean, scale = training_statistics(list(records), config)

    def stream(training: bool, records=records, config=config):
        return create_dataset(list(records), config, BATCH, training, mean, scale)

    rows, compared, closing = [], {}, {}
    for layout in reference.LAYOUTS:
        files = pack_reference(workspace, layout, records)

        def theirs(shuffle: int, files=files, layout=layout):
            return reference.load(files, layout, BATCH, mean[..., 0], scale[..., 0], shuffle)

        some = [files[records.index(r)] for r in few]
        rows += check(stream(False, few), theirs(0, some), [stream(True, few), theirs(BUFFER, some)])
        sides = {"ours": Epoch(stream(True)), "reference": Epoch(theirs(BUFFER))}
        turns = 2 * workspace.scale.turns + 1
        compared[layout] = alternate(
            *sides.values(), "sequence", turns, after=lambda side, sides=sides: sides[side].close()
        )
        closing[layout] = [max(side.closing) for side in sides.values()]
        workspace.fresh(f"reference_{layout}")
    for layout, each in compared.items():
        rows += each.rows(
            "create_dataset, pools of 4,096 sequences, the same tensors",
            f"{reference.LAYOUTS[layout]}, parallel maps, shuffle buffer of {BUFFER}",
        )
        rows.append("closing the stream, not counted: at most {:.1f} s; reference {:.1f} s".format(*closing[layout]))
    more = Epoch(stream(True, config=workspace.packed()))
    whole = min(seconds_per_unit(more) for _ in range(2))
    rows.append(f"ours with RR features and waveforms: {1 / whole:,.0f} sequences/s")
    rows.append(
        f"records {', '.join(records)}; ratio to {reference.LAYOUTS['examples']}: {compared['examples'].ratio:.1f}"
    )
    return Result(NAME, compared["batches"].ratio, TARGET, rows)
