"""Packed windows to batches: held-out subjects, shuffling and z-scoring."""

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
    """Return all subjects with windows, sorted; the stream identifies a subject by its index in this list."""
    return sorted({entry["subject"] for entry in window_records(manifest).values() if entry["windows"]})


def count_windows(manifest: dict, subjects: Collection[str]) -> int:
    """Count the windows of subjects."""
    selected = set(subjects)
    return sum(entry["windows"] for entry in window_records(manifest).values() if entry["subject"] in selected)


def split_subjects(config: Config | dict) -> tuple[list[str], list[str]]:
    """Split the subjects into training and validation subjects, by `windows.validation_fraction` and `validation_seed`.

    The fraction is held out of each database, at least one subject if the database has two. Subjects are ordered by
    hashes, so that additional subjects or databases do not move the others to the other side.

    Returns:
        Training subjects and held-out subjects, both sorted.

    Raises:
        InputError: as `window_manifest`; the fraction is not between 0 and 1; or there are too few subjects.
    """
    config = as_config(config)
    fraction, seed = config.windows.validation_fraction, config.windows.validation_seed
    if not 0 < fraction < 1:
        raise InputError("windows.validation_fraction", str(fraction), "more than 0 and less than 1", "correct it")
    by_database: dict[str, list[str]] = {}
    for subject in window_subjects(window_manifest(config)):
        by_database.setdefault(subject.partition("/")[0], []).append(subject)
    held_out: set[str] = set()
    for subjects in by_database.values():
        count = min(max(1, round(fraction * len(subjects))), len(subjects) - 1)
        held_out |= set(sorted(subjects, key=lambda subject: fingerprint([seed, subject]))[:count])
    if not held_out:
        found = f"one subject in each of {', '.join(by_database)}"
        raise InputError(config.windows.tfrecord_dir, found, "two subjects in one of them", "add records")
    training = [s for subjects in by_database.values() for s in subjects if s not in held_out]
    return sorted(training), sorted(held_out)


def subject_rows(config: Config, subjects: Collection[str] | None) -> tuple[list[str], np.ndarray]:
    """Return the files with windows of subjects, and the subject of each window.

    Returns:
        Paths (n,), and subject indices (n, windows.chunk_size) int32: -1 for windows of other subjects and for padding.

    Raises:
        InputError: as `window_manifest` and `check_files`; the list of subjects is empty, or a subject has no windows.
    """
    manifest, folder = window_manifest(config), Path(config.windows.tfrecord_dir)
    all_subjects = window_subjects(manifest)
    selected = set(all_subjects if subjects is None else subjects)
    unknown = sorted(selected - set(all_subjects))
    if unknown or not selected:
        found = f"no window of {', '.join(unknown)}" if unknown else "an empty list of subjects"
        raise InputError(folder, found, "subjects of the manifest", "correct the list")
    index = {subject: k if subject in selected else -1 for k, subject in enumerate(all_subjects)}
    records = window_records(manifest)
    files, rows = {}, []
    for group in manifest["groups"].values():
        for name, counts in group["held"].items():
            row = np.full(config.windows.chunk_size, -1, np.int32)
            found = np.concatenate([np.full(count, index[records[record]["subject"]]) for record, count in counts])
            row[: len(found)] = found
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
    """Create a `tf.data` stream of batches of windows.

    Args:
        config: `windows` defines the files, `loader` the shuffling (cycle_length, shuffle_chunks, seed).
        batch_size: B; the last batch of an epoch may be smaller.
        is_training: whether to shuffle in a new order each epoch, reproducible by `loader.seed`; otherwise the order is
            that of record and time.
        subjects: subjects whose windows are used, such as one result of `split_subjects`; None for all.
        epoch: number of the epoch whose order is used in training; None for a new order each iteration.

    Returns:
        A dataset of `{"signals": (B, T, C) float32, "subject": (B,) int32}`: z-scores of each lead of each window, and
        indices into `window_subjects`. An epoch contains each window once; the cardinality of the dataset is known.

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
            windows = tf.gather(flat, first[:, tf.newaxis] + tf.range(length, dtype=tf.int64))  # (B, T, C)
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
    """Create an endless stream of shuffled epochs; the incomplete last batch of each epoch is dropped.

    The order of an epoch depends only on `loader.seed` and on its number, so that a resumed training gets the same
    batches as an uninterrupted one.

    Args:
        config: as `create_window_dataset`.
        batch_size: B.
        subjects: subjects whose windows are used.
        first_epoch: number of the first epoch of the stream, from 0.

    Raises:
        InputError: as `subject_rows`.
    """

    @plain
    def batches(epoch) -> tf.data.Dataset:
        dataset = create_window_dataset(config, batch_size, True, subjects, epoch)
        return dataset.filter(plain(lambda batch: tf.shape(batch["subject"])[0] == batch_size))

    return tf.data.Dataset.counter(first_epoch).with_options(fixed_threads()).flat_map(batches)
