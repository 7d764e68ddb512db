"""Packed windows to batches: shuffled, mixed, cut and z-scored; and which subjects are held out."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_ecg.config import Config, as_config
from keras_ecg.data.manifests import check_files
from keras_ecg.data.streams import Epoch, batch_pools, fixed_threads, plain, pool_size, read_files
from keras_ecg.data.window_sources import window_samples
from keras_ecg.data.windows import SCRIPT, parse_window_chunk, window_manifest, window_records
from keras_ecg.errors import InputError
from keras_ecg.files import fingerprint
from keras_ecg.signals.windows import zscore


def window_subjects(manifest: dict) -> list[str]:
    """All subjects with a window, sorted; a subject's place among them is its index in the stream."""
    return sorted({entry["subject"] for entry in window_records(manifest).values() if entry["windows"]})


def count_windows(manifest: dict, subjects: Collection[str]) -> int:
    """How many windows these subjects have."""
    wanted = set(subjects)
    return sum(entry["windows"] for entry in window_records(manifest).values() if entry["subject"] in wanted)


def split_subjects(config: Config | dict) -> tuple[list[str], list[str]]:
    """Training subjects and those held out for the validation loss, by `windows.validation_fraction` and its seed.

    The share is held out of each database, at least one subject where it has two. The order is that of hashes, so that
    a subject more, or a database more, moves no other one to the other side.

    Raises:
        InputError: as `window_manifest`; a share that is not between 0 and 1; or too few subjects to hold one out.
    """
    config = as_config(config)
    fraction, seed = config.windows.validation_fraction, config.windows.validation_seed
    if not 0 < fraction < 1:
        raise InputError("windows.validation_fraction", str(fraction), "a share between 0 and 1", "correct it")
    by_database: dict[str, list[str]] = {}
    for subject in window_subjects(window_manifest(config)):
        by_database.setdefault(subject.partition("/")[0], []).append(subject)
    held_out: set[str] = set()
    for own in by_database.values():
        count = min(max(1, round(fraction * len(own))), len(own) - 1)
        held_out |= set(sorted(own, key=lambda subject: fingerprint([seed, subject]))[:count])
    if not held_out:
        found = f"one subject in each of {', '.join(by_database)}"
        raise InputError(config.windows.tfrecord_dir, found, "two in one of them", "add records")
    training = [s for own in by_database.values() for s in own if s not in held_out]
    return sorted(training), sorted(held_out)


def subject_rows(config: Config, subjects: Collection[str] | None) -> tuple[list[str], np.ndarray]:
    """The files that hold windows of these subjects, and whose each window is.

    Returns:
        Paths (n,), and subject indices (n, windows.chunk_size) int32: -1 for a window of another subject, or none.

    Raises:
        InputError: as `window_manifest`; no subject, one without windows, or as `check_files`.
    """
    manifest, folder = window_manifest(config), Path(config.windows.tfrecord_dir)
    everyone = window_subjects(manifest)
    wanted = set(everyone if subjects is None else subjects)
    unknown = sorted(wanted - set(everyone))
    if unknown or not wanted:
        found = f"no window of {', '.join(unknown)}" if unknown else "an empty list of subjects"
        raise InputError(folder, found, "subjects of the manifest", "correct the list")
    index = {subject: k if subject in wanted else -1 for k, subject in enumerate(everyone)}
    records = window_records(manifest)
    files, rows = {}, []
    for group in manifest["groups"].values():
        for name, held in group["held"].items():
            row = np.full(config.windows.chunk_size, -1, np.int32)
            own = np.concatenate([np.full(count, index[records[record]["subject"]]) for record, count in held])
            row[: len(own)] = own
            if (row >= 0).any():
                files[name] = group["files"][name]
                rows.append(row)
    return [str(path) for path in check_files(folder, files, SCRIPT)], np.stack(rows)


def create_window_dataset(
    config: Config | dict,
    batch_size: int,
    is_training: bool,
    subjects: Collection[str] | None = None,
    epoch: Epoch = None,
) -> tf.data.Dataset:
    """A stream of batches of windows.

    Args:
        config: `windows` says what is packed, `loader` how it is shuffled (cycle_length, shuffle_chunks, seed).
        batch_size: B; the last batch of an epoch may be smaller.
        is_training: shuffled anew each epoch, deterministic under `loader.seed`; else in order of record and time.
        subjects: whose windows, such as a side of `split_subjects`; None for all.
        epoch: in training, whose order each iteration has; None: the next epoch's.

    Returns:
        A dataset of `{"signals": (B, T, L) float32, "subject": (B,) int32}`: z-scores of each lead of each window, and
        the subject's place in `window_subjects`. Every window comes once an epoch; the number of batches is known.

    Raises:
        InputError: as `subject_rows`.
    """
    config = as_config(config)
    paths, rows = subject_rows(config, subjects)
    length, leads = window_samples(config.windows), len(config.windows.leads)

    @plain
    def parse(text, row) -> dict:
        chunk = parse_window_chunk(text, leads)
        return {"signals": chunk["signals"], "start": chunk["start"], "subject": row}

    @plain
    def draw(chunks: dict, seed):
        place = tf.where(chunks["subject"] >= 0)  # (n, 2): chunk, window
        if is_training:
            place = tf.random.experimental.stateless_shuffle(place, tf.stack([seed, 0]))
        return place

    @plain
    def gathering(chunks: dict):
        flat = tf.reshape(chunks["signals"], (-1, leads))
        samples = tf.shape(chunks["signals"], tf.int64)[1]

        @plain
        def gather(where) -> dict:
            first = where[:, 0] * samples + tf.cast(tf.gather_nd(chunks["start"], where), tf.int64)
            windows = tf.gather(flat, first[:, tf.newaxis] + tf.range(length, dtype=tf.int64))  # (B, T, L)
            return {"signals": windows, "subject": tf.gather_nd(chunks["subject"], where)}

        return gather

    @plain
    def normalize(batch: dict) -> dict:
        return {**batch, "signals": zscore(tf.cast(batch["signals"], tf.float32), tf.experimental.numpy)}

    chunks = read_files(paths, rows, config.loader, is_training, epoch)
    chunks = chunks.map(parse, tf.data.AUTOTUNE, deterministic=True)
    shapes = {"signals": (None, leads), "start": (rows.shape[1],), "subject": (rows.shape[1],)}
    pools = chunks.padded_batch(pool_size(config.loader, is_training), shapes)
    dataset = batch_pools(pools, config.loader.seed, batch_size, draw, gathering, epoch)
    dataset = dataset.map(normalize, tf.data.AUTOTUNE)
    count = -(-int((rows >= 0).sum()) // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)


def create_window_epochs(
    config: Config, batch_size: int, subjects: Collection[str], first_epoch: int = 0
) -> tf.data.Dataset:
    """Shuffled whole batches, one epoch after another without end; what is left over of an epoch is left out.

    The order of an epoch depends only on `loader.seed` and on the epoch's number: a resumed training has the batches
    that it would have had without the interruption.

    Args:
        config: as `create_window_dataset`.
        batch_size: B.
        subjects: whose windows.
        first_epoch: the number of the epoch that the stream begins with, from 0.

    Raises:
        InputError: as `subject_rows`.
    """

    @plain
    def batches(epoch) -> tf.data.Dataset:
        dataset = create_window_dataset(config, batch_size, True, subjects, epoch)
        return dataset.filter(plain(lambda batch: tf.shape(batch["subject"])[0] == batch_size))

    return tf.data.Dataset.counter(first_epoch).with_options(fixed_threads()).flat_map(batches)
