"""Mean and standard deviation of training scalograms, in one pass over the stream."""

import numpy as np
import tensorflow as tf

from keras_ecg.config import Config, as_config
from keras_ecg.data.pipeline import chunk_files, chunk_scalograms, read_chunks
from keras_ecg.data.tfrecords import label_position


def training_statistics(record_names: list[str], config: Config | dict) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Compute mean and standard deviation of the scalograms of all beats of records, each beat once.

    The statistics of chunks are merged by the pairwise update of Chan TF, Golub GH, LeVeque RJ (1983), which needs
    little memory and avoids cancellation.

    Args:
        record_names: the training records; test records would leak into the normalization.
        config: `loader.normalize`: `scale` for each scale, `global` over all scales, `none` for no normalization.

    Returns:
        Two arrays float32 of shape (F, 1, 1), or (1, 1, 1) for `global`; (None, None) without normalization or without
        scalograms.

    Raises:
        InputError: as `chunk_files`.
    """
    config = as_config(config)
    if config.loader.normalize == "none" or not config.loader.scalograms:
        return None, None
    chunk_files(record_names, config)
    axes = (0, 2) if config.loader.normalize == "scale" else (0, 1, 2)
    first = label_position(config.sequences)

    @tf.autograph.experimental.do_not_convert
    def moments(chunks: dict):
        values = tf.cast(chunk_scalograms(chunks, config)[0], tf.float64)  # (M, F, T)
        values = values[first : first + chunks["sequences"][0]]
        mean = tf.reduce_mean(values, axes, keepdims=True)
        spread = tf.reduce_sum(tf.math.squared_difference(values, mean), axes, keepdims=True)
        return tf.size(values) / tf.size(mean), mean, spread

    count, mean, spread = 0.0, 0.0, 0.0
    chunks = read_chunks(list(record_names), config, is_training=False, scalograms=not config.loader.center, pool=1)
    for size, chunk_mean, chunk_spread in chunks.map(moments, tf.data.AUTOTUNE).as_numpy_iterator():
        delta = chunk_mean - mean
        spread = spread + chunk_spread + np.square(delta) * count * size / (count + size)
        mean = mean + delta * size / (count + size)
        count += size
    return tuple(v.reshape(-1, 1, 1).astype(np.float32) for v in (mean, np.sqrt(spread / count)))
