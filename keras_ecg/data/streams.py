"""Batches from TFRecord files of chunks.

In training, files are shuffled and interleaved, and examples are shuffled within pools of chunks.

Whole chunks are parsed, and whole batches gathered from them, which is faster than single examples.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_ecg.config import Loader
from keras_ecg.data.manifests import damaged_files
from keras_ecg.errors import InputError

Epoch = int | tf.Tensor | None  # number of the epoch; None: each iteration is a new epoch
EPOCH_SEEDS = 1_000_003  # distance between consecutive seeds: larger than any number of epochs

# AutoGraph is not needed, as nothing branches on tensors, and its conversion takes seconds.
plain = tf.autograph.experimental.do_not_convert


def fixed_threads() -> tf.data.Options:
    """Return options with which AUTOTUNE is one thread per core from the first batch on.

    By default tf.data searches for the number of threads while the stream runs, and the end of an epoch waits for the
    next step of that search, which may take as long as the epoch.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def epoch_seed(seed: int, epoch: Epoch, number) -> tf.Tensor:
    """Return the seed (2,) for stateless random functions of draw `number` of an epoch."""
    return tf.stack([tf.cast(EPOCH_SEEDS * seed + epoch, tf.int64), tf.cast(number, tf.int64)])


def read_files(
    files: list[str], extra: np.ndarray, loader: Loader, is_training: bool, epoch: Epoch = None
) -> tf.data.Dataset:
    """Read the serialized chunk of each file, paired with the row of `extra` of that file.

    Args:
        files: n paths.
        extra: (n, ...), data of each file.
        loader: options of shuffling.
        is_training: whether to shuffle and interleave the files.
        epoch: number of the epoch, which with `loader.seed` determines the order; None for a new order each iteration.
    """

    @plain
    def one_file(path, row):
        file = tf.data.TFRecordDataset(path, buffer_size=0)  # one example per file, so read-ahead is useless
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
    """Yield random numbers without end, reproducible by seed: those of an epoch, or new ones in each iteration."""
    if epoch is None:
        return tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    @plain
    def draw(number):
        return tf.random.stateless_uniform((), epoch_seed(seed, epoch, number), None, None, tf.int64)

    return tf.data.Dataset.counter().map(draw)


def pool_size(loader: Loader, is_training: bool) -> int:
    """Return the number of chunks in a pool; few if nothing is shuffled."""
    return loader.shuffle_chunks if is_training else 4


def batch_pools(
    pools: tf.data.Dataset, seed: int, batch_size: int, draw: Callable, gathering: Callable, epoch: Epoch = None
) -> tf.data.Dataset:
    """Create batches from pools of chunks.

    Args:
        pools: dataset of parsed chunks.
        seed: seed of `draw`.
        batch_size: B; only the last batch of the dataset is smaller.
        draw: function from a pool's chunks and a random number to the positions (n, ...) of examples in the pool, in
            the order of the stream.
        gathering: function from a pool's chunks to a function from B positions to the content of a batch.
        epoch: number of the epoch, for the seeds of `draw`.
    """

    @plain
    def align(waiting, pool: tuple) -> tuple:
        """Let a pool's first batch complete the previous pool's last one: only that batch is copied by `rebatch`."""
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
    """Convert TensorFlow's data loss errors in the block to an InputError that names the damaged files.

    Args:
        folder: folder of the TFRecord files.
        entries: function that returns the manifest entries read in the block.
        script: name of the script that writes the files, for the message.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
        damaged = [str(path) for entry in entries() for path in damaged_files(folder, entry)]
        if not damaged:
            raise
        found, expected = "damaged bytes", "the checksum in manifest.json"
        raise InputError(", ".join(damaged[:3]), found, expected, f"run {script}") from None
