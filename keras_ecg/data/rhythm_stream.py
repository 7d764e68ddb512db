"""Packed recordings to batches: shuffling, cropping, augmentation and padding.

A batch contains crops of equal length T. Shorter recordings are padded with zeros at the end; `length` is the number of
samples that are not padding, so that models can mask the others.
"""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_ecg.config import Config, as_config
from keras_ecg.data.manifests import check_files
from keras_ecg.data.rhythm_augment import augment_recordings, in_order
from keras_ecg.data.rhythm_records import SCRIPT, parse_rhythm_chunk, rhythm_manifest, rhythm_records, samples_of
from keras_ecg.data.streams import batch_pools, plain, pool_size, random_seeds, read_files
from keras_ecg.errors import InputError

BEATS_PER_SECOND = 4  # capacity for the beats of a crop: no heart rate is higher for long


def beats_of(samples: int, rate: float) -> int:
    """Return the capacity K for the beats of a crop of `samples` samples."""
    return math.ceil(BEATS_PER_SECOND * samples / rate)


def get_all_recordings(config: Config | dict, records: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the metadata of recordings, in the order of the unshuffled stream.

    Args:
        config: a `Config`, or a dict of the options that differ from the defaults.
        records: names of the recordings; None for all.

    Returns:
        record (n,) str, subject (n,) str, label (n,) int64, samples (n,) int64 at the stored sampling rate.

    Raises:
        InputError: as `rhythm_manifest`; the list is empty, or a recording is not packed.
    """
    config = as_config(config)
    packed = rhythm_records(rhythm_manifest(config))
    selected = set(packed if records is None else records)
    unknown = sorted(selected - set(packed))
    if unknown or not selected:
        found = f"no recording {', '.join(unknown[:5])}" if unknown else "an empty list of recordings"
        raise InputError(config.rhythm.tfrecord_dir, found, "packed recordings", "correct the list")
    kept = {record: entry for record, entry in packed.items() if record in selected}
    return {
        "record": np.array(list(kept)),
        "subject": np.array([entry["subject"] for entry in kept.values()]),
        "label": np.array([entry["label"] for entry in kept.values()], np.int64),
        "samples": np.array([entry["samples"] for entry in kept.values()], np.int64),
    }


def crops_of(samples: np.ndarray, length: int, crops: int) -> np.ndarray:
    """Return the number (n,) of scored crops of `length` samples for recordings of `samples` (n,) samples.

    A recording that fits into a crop has one. A longer one has `crops`, or more if they are needed to cover it; with
    `crops` = 1 only its beginning is scored.
    """
    needed = -(-np.asarray(samples) // length)
    return np.where((needed > 1) & (crops > 1), np.maximum(needed, crops), 1)


def crop_starts(samples: int, length: int, crops: int) -> list[int]:
    """Return the first samples of the scored crops of a recording, evenly spaced from its beginning to its end."""
    count = int(crops_of(np.array(samples), length, crops))
    return [round(k / max(count - 1, 1) * max(samples - length, 0)) for k in range(count)]


def as_inputs(
    signals: Sequence[np.ndarray], beats: Sequence[np.ndarray], rate: float, samples: int | None = None
) -> dict[str, np.ndarray]:
    """Combine recordings from `clean` into a batch like those of the stream.

    Args:
        signals: B arrays (T,) of z-scores.
        beats: B arrays (n,) in seconds.
        rate: sampling rate in Hz.
        samples: samples T of the batch, at least those of the longest recording; None for the next multiple of 64.
    """
    length = np.array([len(signal) for signal in signals], np.int32)
    samples = samples or -(-int(length.max()) // 64) * 64
    out = {"signals": np.zeros((len(length), samples, 1), np.float32), "length": length}
    out["beats"] = np.full((len(length), beats_of(samples, rate)), -1, np.float32)
    for k, (signal, seconds) in enumerate(zip(signals, beats, strict=True)):
        seconds = seconds[: out["beats"].shape[1]]
        out["signals"][k, : len(signal), 0] = signal
        out["beats"][k, : len(seconds)] = seconds
    return out


def crop_rows(config: Config, records: Collection[str] | None, length: int | None) -> tuple[list[str], np.ndarray]:
    """Return the files of recordings, and the number of crops of each recording in them.

    Args:
        config: configuration of the stream.
        records: names of the recordings; None for all.
        length: samples T of the scored crops; None for one crop of each recording.

    Returns:
        Paths (f,), and numbers of crops (f, chunk size) int32.

    Raises:
        InputError: as `get_all_recordings` and `check_files`.
    """
    selected = set(get_all_recordings(config, records)["record"].tolist())
    manifest, folder = rhythm_manifest(config), Path(config.rhythm.tfrecord_dir)
    files, rows = {}, []
    for chunk in manifest["chunks"].values():
        row = np.zeros(config.rhythm.chunk_size, np.int32)
        for k, (record, entry) in enumerate(chunk["records"].items()):
            if record in selected:
                row[k] = 1 if length is None else crops_of(entry["samples"], length, config.rhythm.crops)
        if row.any():
            files |= chunk["files"]
            rows.append(row)
    return [str(path) for path in check_files(folder, files, SCRIPT)], np.stack(rows)


def create_rhythm_dataset(
    config: Config | dict,
    batch_size: int,
    is_training: bool,
    records: Collection[str] | None = None,
    samples: int | None = None,
) -> tf.data.Dataset:
    """Create a `tf.data` stream of batches of recordings.

    Args:
        config: `rhythm` defines files, crops and augmentation, `loader` the shuffling (cycle_length, shuffle_chunks,
            seed).
        batch_size: B; the last batch of an epoch may be smaller.
        is_training: whether to yield one random crop of each recording, augmented and in a new order each epoch,
            reproducible by `loader.seed`; otherwise evenly spaced crops (`crops_of`) in order of record and time.
        records: names of the recordings; None for all.
        samples: samples T of a crop; None for `rhythm.crop_seconds` in training and `rhythm.window_seconds` otherwise.

    Returns:
        A dataset of inputs and labels (B,) int64. `signals` (B, T, 1) float32 are z-scores, padded with zeros;
        `length` (B,) int32 is the number of samples that are not padding; `beats` (B, K) float32 are seconds from the
        beginning of the crop, -1 after the last. The cardinality of the dataset is known.

    Raises:
        InputError: as `crop_rows`.
    """
    config = as_config(config)
    rhythm = config.rhythm
    if samples is None:
        samples = samples_of(rhythm.crop_seconds if is_training else rhythm.window_seconds, rhythm)
    paths, rows = crop_rows(config, records, None if is_training else samples)
    kept, rate = beats_of(samples, rhythm.sampling_rate_hz), rhythm.sampling_rate_hz

    @plain
    def parse(text, row) -> dict:
        chunk = parse_rhythm_chunk(text)
        return {**{k: chunk[k] for k in ("signals", "start", "length", "beats", "label")}, "crops": row}

    @plain
    def draw(chunks: dict, seed):
        """Return chunk, recording and first sample of each crop, (n, 3)."""
        place = tf.where(chunks["crops"] > 0)  # (n, 2): chunk, recording
        if is_training:
            seeds = tf.random.split(tf.stack([seed, 0]), 2)
            place = tf.random.experimental.stateless_shuffle(place, seeds[0])
            share = tf.random.stateless_uniform(tf.shape(place)[:1], seeds[1])
        else:
            count = tf.gather_nd(chunks["crops"], place)
            index = tf.sequence_mask(count)  # (n, crops)
            share = tf.cumsum(tf.cast(index, tf.float32), 1, exclusive=True)
            share /= tf.maximum(tf.cast(count - 1, tf.float32), 1)[:, tf.newaxis]
            share, place = share[index], tf.repeat(place, count, 0)
        free = tf.maximum(tf.gather_nd(chunks["length"], place) - samples, 0)
        start = tf.cast(tf.round(share * tf.cast(free, tf.float32)), tf.int64)
        return tf.concat([place, start[:, tf.newaxis]], 1)

    @plain
    def gathering(chunks: dict):
        flat, chunk_samples = tf.reshape(chunks["signals"], [-1]), tf.shape(chunks["signals"], tf.int64)[1]

        @plain
        def gather(where):
            place, skipped = where[:, :2], where[:, 2:]  # (B, 2), (B, 1)
            length = tf.cast(tf.gather_nd(chunks["length"], place), tf.int64)[:, tf.newaxis] - skipped
            length = tf.minimum(length, samples)  # (B, 1)
            first = where[:, :1] * chunk_samples
            first += tf.cast(tf.gather_nd(chunks["start"], place), tf.int64)[:, tf.newaxis]
            at = tf.range(samples, dtype=tf.int64)[tf.newaxis]
            index = first + skipped + tf.minimum(at, length - 1)
            signals = tf.where(at < length, tf.cast(tf.gather(flat, index), tf.float32), 0.0)
            beats = tf.gather_nd(chunks["beats"], place)  # (B, W)
            since = beats - tf.cast(skipped, tf.float32) / rate
            inside = (beats >= 0) & (since >= 0) & (since < tf.cast(length, tf.float32) / rate)
            since = tf.pad(in_order(since, inside), ((0, 0), (0, kept)), constant_values=-1.0)[:, :kept]
            inputs = {
                "signals": signals[..., tf.newaxis],
                "length": tf.cast(length[:, 0], tf.int32),
                "beats": tf.ensure_shape(since, (None, kept)),
            }
            return inputs, tf.cast(tf.gather_nd(chunks["label"], place), tf.int64)

        return gather

    chunks = read_files(paths, rows, config.loader, is_training).map(parse, tf.data.AUTOTUNE, deterministic=True)
    one = {"signals": (None,), "start": (rows.shape[1],), "length": (rows.shape[1],), "beats": (rows.shape[1], None)}
    shapes = {**one, "label": (rows.shape[1],), "crops": (rows.shape[1],)}
    padding = {"signals": np.float16(0), "start": 0, "length": 0, "beats": np.float32(-1), "label": np.int8(0)}
    pools = chunks.padded_batch(pool_size(config.loader, is_training), shapes, {**padding, "crops": 0})
    dataset = batch_pools(pools, config.loader.seed, batch_size, draw, gathering)
    if is_training and any(vars(rhythm.augment).values()):

        @plain
        def augmented(pair, seed):
            inputs, labels = pair
            return augment_recordings(inputs, rate, rhythm.augment, seed), labels

        dataset = tf.data.Dataset.zip(dataset, random_seeds(config.loader.seed + 1)).map(
            plain(lambda pair, seed: augmented(pair, tf.stack([seed, 0]))), tf.data.AUTOTUNE
        )
    count = -(-int(rows.sum()) // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)
