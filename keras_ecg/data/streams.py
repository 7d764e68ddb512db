"""Files of chunks to batches: shuffled, interleaved, and mixed within pools of chunks.

Whole chunks are parsed at once and whole batches gathered from them; nothing is done example by example.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_ecg.config import Loader
from keras_ecg.data.manifests import damaged_files
from keras_ecg.errors import InputError

Epoch = int | tf.Tensor | None  # its number; None: each iteration is another epoch
EPOCH_SEEDS = 1_000_003  # between the seeds of one epoch under two seeds: more than a training has epochs

plain = tf.autograph.experimental.do_not_convert  # nothing here branches on tensors, and converting takes seconds


def fixed_threads() -> tf.data.Options:
    """AUTOTUNE means one thread a core, from the first batch on.

    Otherwise tf.data searches for the number while the stream runs, and its search outlives the stream: the end of an
    epoch waits for the search's next step, which may take as long as the epoch itself.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def epoch_seed(seed: int, epoch: Epoch, number) -> tf.Tensor:
    """A seed (2,) of TensorFlow's stateless functions: the one of this number in an epoch."""
    return tf.stack([tf.cast(EPOCH_SEEDS * seed + epoch, tf.int64), tf.cast(number, tf.int64)])


def read_files(
    files: list[str], extra: np.ndarray, loader: Loader, is_training: bool, epoch: Epoch = None
) -> tf.data.Dataset:
    """The serialized chunk of each file, with that file's row of `extra`; in training shuffled and interleaved.

    With an epoch's number the order depends on nothing but the number and `loader.seed`.
    """

    @plain
    def one_file(path, row):
        file = tf.data.TFRecordDataset(path, buffer_size=0)  # one record: nothing to read ahead
        return tf.data.Dataset.zip(file, tf.data.Dataset.from_tensors(row))

    rows = (files, extra)
    if is_training and epoch is not None:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(files)), epoch_seed(loader.seed, epoch, -1))
        rows = (tf.gather(files, order), tf.gather(extra, order))
    paths = tf.data.Dataset.from_tensor_slices(rows).with_options(fixed_threads())
    if not is_training:
        return paths.flat_map(one_file)
    if epoch is None:
        paths = paths.shuffle(len(files), seed=loader.seed, reshuffle_each_iteration=True)
    return paths.interleave(
        one_file, cycle_length=loader.cycle_length, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def random_seeds(seed: int, epoch: Epoch = None) -> tf.data.Dataset:
    """Numbers without end, the same ones for the same seed: of an epoch, or others at each iteration."""
    if epoch is None:
        return tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    @plain
    def draw(number):
        return tf.random.stateless_uniform((), epoch_seed(seed, epoch, number), None, None, tf.int64)

    return tf.data.Dataset.counter().map(draw)


def pool_size(loader: Loader, is_training: bool) -> int:
    """Chunks in a pool: as many as are to be mixed, and few where nothing is."""
    return loader.shuffle_chunks if is_training else 4


def batch_pools(
    pools: tf.data.Dataset, seed: int, batch_size: int, draw: Callable, gathering: Callable, epoch: Epoch = None
) -> tf.data.Dataset:
    """Batches from pools of chunks.

    Args:
        pools: of parsed chunks.
        seed: of what `draw` draws.
        batch_size: B; only the last batch of all is smaller.
        draw: from a pool's chunks and a number that differs from pool to pool to place (n, ...), which says where in
            the pool each example is, in the wanted order.
        gathering: from a pool's chunks to a function from B rows of place to what a batch holds.
        epoch: whose seeds `draw` takes.
    """

    @plain
    def align(waiting, pool: tuple) -> tuple:
        """A pool's first batch fills up what the last pool has left: all others are whole, and never copied."""
        chunks, place = pool
        return (waiting + tf.shape(place, tf.int64)[0]) % batch_size, (chunks, place, -waiting)

    @plain
    def batches(chunks: dict, place, first) -> tf.data.Dataset:
        gather = gathering(chunks)
        starts = tf.data.Dataset.range(first, tf.shape(place, tf.int64)[0], batch_size)
        return starts.map(
            plain(lambda start: gather(place[tf.maximum(start, 0) : start + batch_size])), tf.data.AUTOTUNE
        )

    drawn = tf.data.Dataset.zip(pools, random_seeds(seed, epoch))
    drawn = drawn.map(plain(lambda chunks, seed: (chunks, draw(chunks, seed))))
    return drawn.scan(np.int64(0), align).flat_map(batches).rebatch(batch_size)


@contextmanager
def naming_damaged_files(folder: Path | str, entries: Callable[[], Iterable[dict]], script: str) -> Iterator[None]:
    """Turns TensorFlow's data loss inside the block into an InputError that names the damaged files.

    Args:
        folder: of the TFRecords.
        entries: gives those of its manifest that are read inside.
        script: what writes them.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
        damaged = [str(path) for entry in entries() for path in damaged_files(folder, entry)]
        if not damaged:
            raise
        found, expected = "damaged bytes", "the checksum in manifest.json"
        raise InputError(", ".join(damaged[:3]), found, expected, f"run {script}") from None
