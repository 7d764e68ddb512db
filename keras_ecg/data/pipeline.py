"""TFRecord files to batches of beat sequences: selection, augmentation and normalization of the inputs.

Shuffling is in `keras_ecg.data.streams`. Shapes: B batch, S beats in a sequence, F scales, T samples, R RR features.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from keras_ecg.config import Augment, Config, as_config, to_dict
from keras_ecg.data.augment import augment_rhythm, augment_waveform, fuse
from keras_ecg.data.manifests import check_files
from keras_ecg.data.streams import batch_pools, plain, pool_size, random_seeds, read_files
from keras_ecg.data.tfrecords import SCRIPT, VERSION, label_position, parse_chunks, read_manifest, rr_context
from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.errors import InputError
from keras_ecg.signals.rhythm import CONTEXT, rr_features
from keras_ecg.signals.scalogram import cwt_matrix
from keras_ecg.signals.windows import zscore

TENSORFLOW = SimpleNamespace(
    log=tf.math.log,
    clip=tf.clip_by_value,
    sort=tf.sort,
    join=tf.concat,
    std=tf.math.reduce_std,
    mean=tf.reduce_mean,
    abs=tf.abs,
    number=lambda truth: tf.cast(truth, tf.float32),
)


def chunk_files(record_names: list[str], config: Config | dict) -> list[str]:
    """Return the TFRecord files of records, in order of record and time.

    Raises:
        InputError: the list is empty, a record is not packed, the files were packed with another configuration, or as
            `check_files`.
    """
    config = as_config(config)
    folder = Path(config.database.tfrecord_dir)
    manifest = read_manifest(folder)
    if not record_names:
        raise InputError(folder, "an empty list of records", "at least one record", "list the records")
    stored = manifest["parameters"]
    expected = {"version": VERSION, "beats": to_dict(config.beats), **to_dict(config.sequences)}
    if stored != expected:
        different = ", ".join(k for k in expected if stored.get(k) != expected[k])
        do = "run keras-ecg pack (create_batched_tfrecords.py)"
        raise InputError(folder, f"other {different}", "the values of this configuration", do)
    files: dict[str, str] = {}
    for record in record_names:
        if record not in manifest["records"]:
            raise InputError(folder, f"no record {record}", "packed records", "pack it, or correct the list")
        files |= manifest["records"][record]["files"]
    return [str(path) for path in check_files(folder, files, SCRIPT)]


def get_all_beats(record_names: list[str], config: Config | dict) -> dict[str, np.ndarray]:
    """Return the metadata of all sequences, in the order of the unshuffled stream.

    Returns:
        record (n,) str, subject (n,) str, sample (n,) int64, label (n,) int64.
    """
    chunk_files(record_names, config)
    entries = read_manifest(as_config(config).database.tfrecord_dir)["records"]
    parts = [(r, entries[r]) for r in record_names]
    return {
        "record": np.concatenate([np.full(len(e["label"]), r) for r, e in parts]),
        "subject": np.concatenate([np.full(len(e["label"]), e["subject"]) for _, e in parts]),
        "sample": np.concatenate([np.asarray(e["sample"], np.int64) for _, e in parts]),
        "label": np.concatenate([np.asarray(e["label"], np.int64) for _, e in parts]),
    }


def get_all_labels(record_names: list[str], config: Config | dict) -> np.ndarray:
    """Return the labels (n,) int64 of all sequences, in the order of the unshuffled stream."""
    return get_all_beats(record_names, config)["label"]


def keep_shares(record_names: list[str], config: Config) -> dict[str, np.ndarray]:
    """Return the probability (5,) of each class that a beat of a record is drawn in an epoch, by record.

    If `augment` limits the beats of a class in an epoch, each record contributes in proportion to the square root of
    its number of beats of that class; otherwise the probability is 1.
    """
    counts = {r: np.bincount(get_all_labels([r], config), minlength=len(CLASSES)) for r in record_names}
    per_epoch = np.zeros(len(CLASSES))
    per_epoch[CLASSES.index("N")] = config.augment.normal_per_epoch
    per_epoch[CLASSES.index("F")] = config.augment.fusion_per_epoch
    total = np.maximum(sum(n**0.5 for n in counts.values()), 1.0)
    return {
        r: np.where(per_epoch > 0, np.minimum(1.0, per_epoch / total / np.maximum(n, 1) ** 0.5), 1.0)
        for r, n in counts.items()
    }


def read_chunks(
    record_names: list[str], config: Config, is_training: bool, scalograms: bool, pool: int
) -> tf.data.Dataset:
    """Read and parse the chunks of records, and group `pool` of them.

    Args:
        record_names: records to read.
        config: configuration of the stream.
        is_training: whether to shuffle and interleave the files.
        scalograms: whether to parse stored scalograms.
        pool: number of chunks in a group.
    """
    files = [(f, r) for r in record_names for f in chunk_files([r], config)]
    # Only training draws a part of the beats.
    keep = keep_shares(record_names, config) if is_training else dict.fromkeys(record_names, np.ones(len(CLASSES)))
    shares = np.array([keep[r] for _, r in files], np.float32)
    paths = read_files([f for f, _ in files], shares, config.loader, is_training)
    shapes = read_manifest(config.database.tfrecord_dir)["records"]
    scales, samples = shapes[record_names[0]]["shape"]

    @plain
    def parse(text, share):
        chunk = parse_chunks(text[tf.newaxis], config.sequences, scales, samples, scalograms, config.loader.context)
        return {**{name: values[0] for name, values in chunk.items()}, "keep": share}

    chunks = paths.map(parse, tf.data.AUTOTUNE, deterministic=True)
    return chunks.padded_batch(pool) if config.loader.context else chunks.batch(pool)


def to_scalograms(samples, config: Config):
    """Compute scalograms (B, S, F, T) of samples (B, S, T) float32 in the graph."""
    beats, width = samples.shape[1:]
    matrix = cwt_matrix(width, config.beats.scales, config.beats.wavelet)
    values = tf.abs(tf.reshape(samples, (-1, width)) @ matrix)
    return tf.reshape(values, (-1, beats, config.beats.scales, width))


def chunk_scalograms(chunks: dict, config: Config):
    """Return the scalograms (P, M, F, T) of P parsed chunks of M beats: the stored ones, or computed from samples."""
    if "scalograms" in chunks:
        return chunks["scalograms"]
    samples = tf.cast(chunks["samples"], tf.float32)
    return to_scalograms(samples - chunks["level"][..., tf.newaxis] if config.loader.center else samples, config)


@tf.function(jit_compile=True, autograph=False)
def normalize(scalograms, mean, scale):
    """Standardize scalograms (B, S, F, T) to (B, S, F, T, 1) float32, compiled to one pass over memory."""
    return (tf.cast(scalograms, tf.float32)[..., tf.newaxis] - mean) / scale


def sequence_rr_features(intervals, config: Config):
    """Compute the RR features (B, S, R) of all beats of sequences.

    Args:
        intervals: (B, 2 C + 1) RR intervals in seconds around the labelled beats.
        config: `sequences` defines C.
    """
    position = label_position(config.sequences)
    first = rr_context(config.sequences) - CONTEXT - position
    windows = [intervals[:, first + s : first + s + 2 * CONTEXT + 1] for s in range(config.sequences.length)]
    return tf.stack([rr_features(w, TENSORFLOW) for w in windows], 1)


def to_example(beats: dict, labels, config: Config, mean, scale, seed=None):
    """Convert the beats of a batch to the inputs of a model, and their labels.

    Args:
        beats: samples (B, S, T) float16, level (B, S), median_beat (B, T) float16, difference_quantiles (B, 4),
            rr (B, 2 C + 1), and stored scalograms (B, S, F, T) if they are used.
        labels: (B,) int64.
        config: `loader` selects the inputs, `augment` the augmentation.
        mean: subtracted from the scalograms; broadcasts to (B, S, F, T, 1).
        scale: divisor of the scalograms; broadcasts to the same shape.
        seed: (2,) int, seed of the augmentation; None disables it.
    """
    augment, position = config.augment, label_position(config.sequences)
    intervals, inputs = beats["rr"], {}
    if seed is not None:
        center = rr_context(config.sequences)
        intervals, labels = augment_rhythm(intervals, labels, center, augment, tf.random.fold_in(seed, 1))
    if "samples" in beats:
        level = beats["level"][..., tf.newaxis]
        samples = tf.cast(beats["samples"], tf.float32) - level
        median = tf.cast(beats["median_beat"], tf.float32)
        median_beats = median[:, tf.newaxis]
        if seed is not None:
            if augment.fusion:
                samples, labels = fuse(samples, median, labels, position, augment, tf.random.fold_in(seed, 2))
            samples, median_beats = augment_waveform(samples, median, augment, tf.random.fold_in(seed, 3))
    if config.loader.scalograms:
        if "scalograms" in beats:
            values = beats["scalograms"]
        else:
            values = to_scalograms(samples if config.loader.center else samples + level, config)
        inputs["scalograms"] = normalize(values, mean, scale)
    if config.loader.context:
        inputs["context"] = zscore(tf.cast(beats["context"], tf.float32), tf.experimental.numpy)
    if config.loader.waveforms:
        inputs["waveforms"] = tf.stack([samples, samples - median_beats], -1)
    if config.loader.difference_quantiles:
        inputs["difference_quantiles"] = beats["difference_quantiles"]
    if config.loader.rr_features:
        inputs["rr"] = sequence_rr_features(intervals, config)
    return (inputs["scalograms"] if list(inputs) == ["scalograms"] else inputs), labels


def changes_waveform(augment: Augment) -> bool:
    """Return whether the augmentation changes samples, so that stored scalograms cannot be used."""
    return any((augment.fusion, augment.amplitude, augment.shift_samples, augment.noise_mv, augment.wander_mv))


def create_dataset(
    record_names: list[str],
    config: Config | dict,
    batch_size: int,
    is_training: bool,
    mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Create a `tf.data` stream of batches of beat sequences.

    Args:
        record_names: records to stream.
        config: a `Config`, or a dict of the options that differ from the defaults.
        batch_size: B; the last batch of an epoch may be smaller.
        is_training: whether to augment, and to shuffle in a new order each epoch, reproducible by `loader.seed`;
            otherwise the order is that of record and time.
        mean: subtracted from the scalograms; broadcasts to (B, S, F, T, 1); None subtracts nothing.
        scale: divisor of the scalograms after that; broadcasts to the same shape; None means 1.

    Returns:
        A dataset of `(scalograms (B, S, F, T, 1) float32, labels (B,) int64)`. If the configuration selects other
        inputs, they are a dict: `loader.scalograms` selects `scalograms`, `loader.rr_features` `rr` (B, S, R),
        `loader.waveforms` `waveforms` (B, S, T, 2), `loader.difference_quantiles` `difference_quantiles` (B, 4), and
        `loader.context` `context` (B, T, 1), the z-scored window centred on the labelled beat. An epoch contains every
        sequence once, unless `augment.normal_per_epoch` or `augment.fusion_per_epoch` limits it.

    Raises:
        InputError: as `chunk_files`; `difference_quantiles` without `waveforms`; `context` although no context windows
            are stored; or no input is selected.
    """
    config = as_config(config)
    record_names = list(record_names)
    chunk_files(record_names, config)
    if config.loader.difference_quantiles and not config.loader.waveforms:
        raise InputError("loader.difference_quantiles", "no loader.waveforms", "both", "set loader.waveforms=true")
    window = config.beats.context.samples
    if config.loader.context and not window:
        raise InputError(
            "loader.context",
            "no stored context windows",
            "beats.context.seconds above 0",
            "set it, preprocess and pack again",
        )
    if not any((config.loader.scalograms, config.loader.context, config.loader.waveforms, config.loader.rr_features)):
        raise InputError("loader", "no input", "scalograms, context, waveforms or rr_features", "select one")
    length = config.sequences.length
    beats_per_chunk, context = config.sequences.chunk_size + length - 1, rr_context(config.sequences)
    augmented = is_training and config.augment != Augment()
    redrawn = config.loader.center or (augmented and changes_waveform(config.augment))
    stored = config.loader.scalograms and config.sequences.storage == "scalogram" and not redrawn
    computed = config.loader.scalograms and not stored
    beat_arrays = ["scalograms"] * stored + ["samples", "level"] * (config.loader.waveforms or computed)

    @plain
    def draw(chunks: dict, seed):
        place = tf.where(tf.sequence_mask(chunks["sequences"], config.sequences.chunk_size))  # (n, 2): chunk, sequence
        if is_training:
            seeds = tf.random.split(tf.stack([seed, 0]), 2)
            label = tf.cast(tf.gather_nd(chunks["label"], place), tf.int64)
            share = tf.gather_nd(chunks["keep"], tf.stack([place[:, 0], label], 1))
            kept = tf.random.stateless_uniform(tf.shape(share), seeds[0]) < share
            place = tf.random.experimental.stateless_shuffle(place[kept], seeds[1])
        return place

    @plain
    def gathering(chunks: dict):
        flat = {name: tf.reshape(chunks[name], (-1, *chunks[name].shape[2:])) for name in (*beat_arrays, "rr")}

        @plain
        def gather(where):
            chunk, sequence = where[:, :1], where[:, 1:]
            beat = chunk * beats_per_chunk + sequence + tf.range(length, dtype=tf.int64)  # (B, S)
            interval = chunk * chunks["rr"].shape[1] + sequence + tf.range(2 * context + 1, dtype=tf.int64)
            out = {name: tf.gather(flat[name], beat) for name in beat_arrays}
            out["rr"] = tf.gather(flat["rr"], interval)
            for name in ("median_beat", "difference_quantiles"):
                out[name] = tf.gather(chunks[name], chunk[:, 0])
            if config.loader.context:
                samples = tf.shape(chunks["context"], tf.int64)[1]
                first = chunk[:, 0] * samples + tf.cast(tf.gather_nd(chunks["context_start"], where), tf.int64)
                index = first[:, tf.newaxis] + tf.range(window, dtype=tf.int64)
                out["context"] = tf.gather(tf.reshape(chunks["context"], (-1, 1)), index)  # (B, T, 1)
            return out, tf.cast(tf.gather_nd(chunks["label"], where), tf.int64)

        return gather

    mean = np.float32(0 if mean is None else mean)
    scale = np.float32(1 if scale is None else scale)
    pools = read_chunks(record_names, config, is_training, stored, pool_size(config.loader, is_training))
    dataset = batch_pools(pools, config.loader.seed, batch_size, draw, gathering)
    if augmented:
        dataset = tf.data.Dataset.zip(dataset, random_seeds(config.loader.seed + 1)).map(
            plain(lambda pair, seed: to_example(*pair, config, mean, scale, tf.stack([seed, 0]))), tf.data.AUTOTUNE
        )
    else:
        dataset = dataset.map(
            plain(lambda beats, labels: to_example(beats, labels, config, mean, scale)), tf.data.AUTOTUNE
        )
    return dataset.prefetch(2)
