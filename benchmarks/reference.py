"""Reference implementations of each stage, which process one beat or one sequence at a time.

They follow tutorials and public repositories on the same data, without avoidable overhead: scales and file handles are
created once, tf.data maps run in parallel, and batches are prefetched.
"""

from pathlib import Path

import h5py
import numpy as np
import pywt
import wfdb

HALF_WINDOW = 93
SCALES = np.arange(1, 33)
BEATS = 3
AAMI = {symbol: k for k, symbols in enumerate(("NLRej", "AaJS", "VE", "F", "/fQ")) for symbol in symbols}
LAYOUTS = {
    "batches": "256 sequences per Example",  # the layout of the closest public repository
    "examples": "one sequence per Example",  # the layout of tutorials
}
BATCH = 256


def scalogram(beat: np.ndarray) -> np.ndarray:
    """Compute the magnitudes (F, T) of the Morlet wavelet coefficients of one beat (T,)."""
    coefficients, _ = pywt.cwt(beat, SCALES, "morl")
    return np.abs(coefficients)


def preprocess_record(folder: Path | str, record: str, target: Path | str) -> int:
    """Write scalograms (float16), labels and samples of a record's beats to HDF5, and return the number of beats."""
    recording = wfdb.rdrecord(str(Path(folder) / record))
    annotation = wfdb.rdann(str(Path(folder) / record), "atr")
    lead = recording.sig_name.index("MLII") if "MLII" in recording.sig_name else 0
    signal = np.pad(recording.p_signal[:, lead], HALF_WINDOW, mode="edge")
    scalograms, labels, samples = [], [], []
    for peak, symbol in zip(annotation.sample, annotation.symbol, strict=True):
        if symbol in AAMI:
            beat = signal[peak : peak + 2 * HALF_WINDOW + 1]
            scalograms.append(scalogram(beat).astype(np.float16))
            labels.append(AAMI[symbol])
            samples.append(peak)
    with h5py.File(Path(target) / f"{record.replace('/', '_')}.h5", "w") as file:
        file["scalograms"] = np.array(scalograms)
        file["label"] = np.array(labels)
        file["sample"] = np.array(samples)
    return len(labels)


def sequences_of(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read overlapping float32 sequences (n, S, F, T) of a record, and the labels of their middle beats."""
    with h5py.File(path, "r") as file:
        scalograms, labels = file["scalograms"][:].astype(np.float32), file["label"][:]
    # The first and last beats are repeated, so that every beat is the middle of one sequence.
    padded = np.concatenate([scalograms[:1], scalograms, scalograms[-1:]])
    return np.array([padded[i : i + BEATS] for i in range(len(labels))]), labels.astype(np.int64)


def _bytes(value: bytes):
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values):
    import tensorflow as tf

    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def pack_record(path: Path | str, target: Path | str, layout: str) -> int:
    """Pack a record's HDF5 file into one TFRecord file, and return the number of sequences."""
    import tensorflow as tf

    sequences, labels = sequences_of(path)
    size = 1 if layout == "examples" else BATCH
    with tf.io.TFRecordWriter(str(Path(target) / f"{Path(path).stem}.tfrecord")) as writer:
        for start in range(0, len(labels), size):
            part = sequences[start : start + size]
            feature = {
                "shape": _ints(part.shape[-4:] if layout == "batches" else part.shape[1:]),
                "sequence": _bytes(part.tobytes()),
                "label": _ints(labels[start : start + size]),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return len(labels)


def load(files: list[str], layout: str, batch_size: int, mean, scale, shuffle: int = 0):
    """Create a tf.data stream of batches (B, S, F, T, 1) and labels, normalized one sequence at a time.

    Args:
        files: files written by `pack_record`.
        layout: their layout, a key of `LAYOUTS`.
        batch_size: B.
        mean: (F, 1), or None.
        scale: (F, 1), or None.
        shuffle: size of the shuffle buffer in sequences, with interleaved files; 0 for no shuffling.
    """
    import tensorflow as tf

    description = {
        "shape": tf.io.FixedLenFeature([3 if layout == "examples" else 4], tf.int64),
        "sequence": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
    }

    def parse(text):
        parsed = tf.io.parse_single_example(text, description)
        values = tf.reshape(tf.io.decode_raw(parsed["sequence"], tf.float32), parsed["shape"])
        return values, parsed["label"][0] if layout == "examples" else parsed["label"]

    def normalize(sequence, label):
        if mean is not None:
            sequence = (sequence - mean) / scale
        return sequence[..., tf.newaxis], label

    dataset = tf.data.Dataset.from_tensor_slices(files)
    if shuffle:
        dataset = dataset.shuffle(len(files)).interleave(
            tf.data.TFRecordDataset, cycle_length=4, num_parallel_calls=tf.data.AUTOTUNE
        )
    else:
        dataset = dataset.flat_map(tf.data.TFRecordDataset)
    dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    if layout == "batches":
        dataset = dataset.unbatch()
    dataset = dataset.map(normalize, num_parallel_calls=tf.data.AUTOTUNE)
    if shuffle:
        dataset = dataset.shuffle(shuffle)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def build_model(shape: tuple[int, ...], token: int, classes: int, config, pool: bool):
    """Build a CNN-Conformer with a front end of three 3x3 convolutions on each beat's scalogram.

    Positions, Conformer blocks and head are those of the default model.

    Args:
        shape: (S, F, T, 1) of the input.
        token: position of the labelled beat.
        classes: number of classes.
        config: hyperparameters of the default model.
        pool: max-pool by 2 after the first and second convolution, as the closest public model does; else all three
            convolutions run at full resolution.
    """
    import keras
    from keras import layers, ops

    from keras_ecg.layers.conformer import ConformerBlock
    from keras_ecg.layers.positions import PositionEmbedding
    from keras_ecg.models.heads import classification_head

    scalograms = keras.Input(shape, name="scalograms")
    x = ops.reshape(scalograms, (-1, *shape[1:]))  # (B S, F, T, 1)
    for i, width in enumerate((32, 64, config.width)):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        # With the default momentum of 0.99 the moving averages would lag behind in a training of a few epochs.
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        if pool and i < 2:
            x = layers.MaxPooling2D(2)(x)
    x = ops.reshape(layers.GlobalAveragePooling2D()(x), (-1, shape[0], config.width))  # (B, S, D)
    x = PositionEmbedding()(layers.Dense(config.width)(x))
    for _ in range(config.blocks):
        x = ConformerBlock(config.heads, config.kernel_size, config.expansion, config.block_dropout)(x)
    x = layers.Dense(config.width, activation="silu")(x)
    return keras.Model({"scalograms": scalograms}, classification_head(x, token, classes, config.dropout))
