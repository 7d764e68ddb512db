"""The reference side: ordinary, competent code for each stage, one beat or one sequence at a time.

It does what tutorials and public repositories on the same data do, with nothing in it that only costs time: scales and
file handles are set up once, tf.data maps run in parallel, batches are prefetched.
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
    "batches": "256 sequences an Example",  # as the closest public work packs them
    "examples": "one Example a sequence",  # as tutorials do
}
BATCH = 256


def scalogram(beat: np.ndarray) -> np.ndarray:
    """Magnitudes (F, T) of the Morlet wavelet coefficients of one beat (T,)."""
    coefficients, _ = pywt.cwt(beat, SCALES, "morl")
    return np.abs(coefficients)


def preprocess_record(folder: Path | str, record: str, target: Path | str) -> int:
    """Writes the scalograms (float16), labels and samples of a record's beats to HDF5; returns how many there were."""
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
    """Overlapping float32 sequences (n, S, F, T) of a record's HDF5 file, and the labels of their middle beats."""
    with h5py.File(path, "r") as file:
        scalograms, labels = file["scalograms"][:].astype(np.float32), file["label"][:]
    # The end beats are repeated, so that every beat stands once in the middle.
    padded = np.concatenate([scalograms[:1], scalograms, scalograms[-1:]])
    return np.array([padded[i : i + BEATS] for i in range(len(labels))]), labels.astype(np.int64)


def _bytes(value: bytes):
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values):
    import tensorflow as tf

    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def pack_record(path: Path | str, target: Path | str, layout: str) -> int:
    """Packs a record's HDF5 file into one TFRecord file and returns its number of sequences."""
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
    """A tf.data stream of normalized batches (B, S, F, T, 1) and labels, normalized one sequence at a time.

    Args:
        files: written by `pack_record`.
        layout: the one they were written in.
        batch_size: B.
        mean: (F, 1), or None.
        scale: (F, 1), or None.
        shuffle: sequences in the shuffle buffer, with the files interleaved; 0 keeps their order.
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
    """A CNN-Conformer whose front end is three 3x3 convolutions on each beat's scalogram.

    Behind the pooled feature maps stand the positions, the Conformer blocks and the head of the default model.

    Args:
        shape: (S, F, T, 1) of its input.
        token: which beat is labelled.
        classes: how many.
        config: the default model's hyperparameters.
        pool: halves the map after the first and the second convolution, as the closest public model does; else all
            three run at full resolution.
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
        # Moving averages that follow within a few epochs: at the default 0.99 its predictions lag behind its training.
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        if pool and i < 2:
            x = layers.MaxPooling2D(2)(x)
    x = ops.reshape(layers.GlobalAveragePooling2D()(x), (-1, shape[0], config.width))  # (B, S, D)
    x = PositionEmbedding()(layers.Dense(config.width)(x))
    for _ in range(config.blocks):
        x = ConformerBlock(config.heads, config.kernel_size, config.expansion, config.block_dropout)(x)
    x = layers.Dense(config.width, activation="silu")(x)
    return keras.Model({"scalograms": scalograms}, classification_head(x, token, classes, config.dropout))
