"""TFRecord files of windows without labels for self-supervised pretraining: writer and parser.

A file contains one example: a chunk of n windows of one long record, or of short records of one source. The m samples
that the windows cover are stored once, with the start of each window; otherwise windows that overlap by 75 % would take
four times the space. Signals are stored in mV as float16, whose 11 bits are sufficient for 12-bit recordings after
filtering; the stream computes z-scores, so that files keep the amplitude. With one chunk in a file, shuffling files
shuffles chunks.

Shapes: n windows, m samples of a chunk, M samples of a record, T samples of a window, C leads.

    version  int64
    shape    int64 (4,): n, m, T, C
    signals  bytes: (m, C) float16, mV
    start    bytes: (n,) int32: first row of each window in `signals`
    record   bytes: (n,) int32: index of each window's record in `records`
    sample   bytes: (n,) int64: first sample of each window in the recording, at the original sampling rate
    records  bytes: names of the records as in the manifest, one per line
"""

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np

from keras_ecg.config import Config, Windows, to_dict
from keras_ecg.data.examples import write_example
from keras_ecg.data.manifests import load_manifest, pack_entries
from keras_ecg.data.window_sources import (
    Group,
    check_windows,
    plan_groups,
    stored_sources,
    subject_name,
    window_samples,
)
from keras_ecg.databases import recordings
from keras_ecg.databases.subjects import subjects_note
from keras_ecg.errors import InputError
from keras_ecg.files import fingerprint
from keras_ecg.signals import windows as cutting
from keras_ecg.signals.filters import bandpass, resample

logger = logging.getLogger(__name__)

VERSION = 2
SCRIPT = "keras-ecg pack-windows (create_window_tfrecords.py)"
REASONS = ("nan", "flat", "saturated")  # a dropped window is counted for the first reason that applies


def read_windows(
    folder: str, record: str, windows: Windows, overlap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Read and filter a record, and locate its usable windows.

    Returns:
        The signal (M, C) float32 in mV at the sampling rate of the windows; the starts (n,) of the usable windows in
        it; their first samples (n,) in the original recording; and the record's manifest entry: leads, numbers of kept
        and dropped windows, seconds covered.

    Raises:
        InputError: as `read_recording`, `choose_leads` and `check_amplitude`.
    """
    where = Path(folder) / record
    recording = recordings.read_recording(folder, record, annotations=None)
    chosen = recordings.choose_leads(recording.leads, windows.leads, windows.fallback_leads, where)
    recordings.check_rates(recording, chosen, where)
    raw, rate = recording.signals[:, chosen], recording.sampling_rate_hz
    filled = cutting.fill_missing(raw)
    recordings.check_amplitude(filled, where)
    signal = resample(filled, rate, windows.sampling_rate_hz)
    length, ratio = window_samples(windows), rate / windows.sampling_rate_hz
    starts = cutting.window_starts(len(signal), length, overlap)
    dropped = dict.fromkeys(REASONS, 0)
    if len(starts):
        if windows.bandpass_hz:
            signal = bandpass(signal, windows.sampling_rate_hz, *windows.bandpass_hz)
        flat = cutting.touches(cutting.flat_samples(raw, rate), starts, length, ratio)
        bad = {
            "nan": cutting.touches(~np.isfinite(raw).all(axis=1), starts, length, ratio),
            "flat": flat | cutting.flat_windows(cutting.cut_windows(signal, starts, length)),
            "saturated": cutting.touches(cutting.saturated_samples(raw, rate), starts, length, ratio),
        }
        kept = np.ones(len(starts), bool)
        for reason in REASONS:
            dropped[reason] = int(np.count_nonzero(kept & bad[reason]))
            kept &= ~bad[reason]
        starts = starts[kept]
    covered = cutting.coverage(starts, length, len(signal))
    return (
        signal,
        starts,
        np.rint(starts * ratio).astype(np.int64),
        {
            "leads": [recording.leads[k] for k in chosen],
            "seconds": len(raw) / rate,
            "windows": len(starts),
            "dropped": dropped,
            "unique_seconds": float(covered.sum() / windows.sampling_rate_hz),
            "too_short": len(signal) < length,
        },
    )


def pack_group(group: Group, windows: Windows, target: Path | str) -> dict:
    """Write the chunks of a group, and return its manifest entry without the fingerprint.

    Raises:
        InputError: as `read_windows`.
    """
    length = window_samples(windows)
    signals, rows, records = [], [], {}
    for k, item in enumerate(group.items):
        signal, starts, samples, details = read_windows(group.folder, item.record, windows, group.overlap)
        signals.append(signal)
        rows.append(np.stack([np.full(len(starts), k), starts, samples], axis=1))
        subject = subject_name(group.database, item.subject)
        records[f"{group.database}/{item.record}"] = {"subject": subject, "inputs": item.inputs, **details}
    table = np.concatenate(rows)  # record, start, sample of each window
    files, windows_of = {}, {}
    for part, first in enumerate(range(0, len(table), windows.chunk_size)):
        chunk = table[first : first + windows.chunk_size]
        name = f"{group.name}-{part:04d}.tfrecord"
        files[name] = write_window_chunk(Path(target) / name, signals, chunk, list(records), length)
        counts = zip(*np.unique(chunk[:, 0], return_counts=True), strict=True)
        windows_of[name] = [[list(records)[k], int(count)] for k, count in counts]
    return {"files": files, "held": windows_of, "records": records}


def write_window_chunk(
    path: Path, signals: list[np.ndarray], table: np.ndarray, records: list[str], length: int
) -> str:
    """Write the TFRecord file of one chunk, and return its SHA-256. The parser is `parse_window_chunk`.

    Args:
        path: path of the file.
        signals: signal (M, C) of each record in mV.
        table: (n, 3): index of each window's record, start in that record's signal, first sample in the recording.
        records: names of the records.
        length: samples T of a window.
    """
    pieces, starts, size = [], [], 0
    for k in np.unique(table[:, 0]):
        first = table[table[:, 0] == k, 1]
        covered = cutting.coverage(first, length, len(signals[k]))
        starts.append(size + np.cumsum(covered)[first] - 1)
        pieces.append(signals[k][covered].astype(np.float16))
        size += len(pieces[-1])
    features = {
        "version": (VERSION,),
        "shape": (len(table), size, length, pieces[0].shape[1]),
        "signals": np.concatenate(pieces),
        "start": np.concatenate(starts).astype(np.int32),
        "record": table[:, 0].astype(np.int32),
        "sample": table[:, 2],
        "records": "\n".join(records).encode(),
    }
    return write_example(path, features)


def parse_window_chunk(serialized, leads: int) -> dict:
    """Parse one serialized chunk. The writer is `write_window_chunk`.

    Args:
        serialized: scalar string tensor.
        leads: number C of leads.

    Returns:
        signals (m, C) float16, start (n,) int32, record (n,) int32, sample (n,) int64, records: a scalar string.
    """
    import tensorflow as tf

    names = ("signals", "start", "record", "sample", "records")
    parsed = tf.io.parse_single_example(serialized, {name: tf.io.FixedLenFeature([], tf.string) for name in names})
    return {
        "signals": tf.reshape(tf.io.decode_raw(parsed["signals"], tf.float16), (-1, leads)),
        "start": tf.io.decode_raw(parsed["start"], tf.int32),
        "record": tf.io.decode_raw(parsed["record"], tf.int32),
        "sample": tf.io.decode_raw(parsed["sample"], tf.int64),
        "records": parsed["records"],
    }


def stored_parameters(windows: Windows) -> dict:
    """Return the parameters in the manifest, equal for all windows of a folder."""
    names = ("length_seconds", "sampling_rate_hz", "leads", "fallback_leads", "bandpass_hz", "chunk_size")
    limits = {name: getattr(cutting, name.upper()) for name in ("flat_seconds", "flat_mv", "saturated_seconds")}
    section = to_dict(windows)
    return {"version": VERSION, **{name: section[name] for name in names}, **limits}


def total(records: list[dict]) -> dict:
    """Sum up the manifest entries of records."""
    return {
        "records": len(records),
        "subjects": len({entry["subject"] for entry in records}),
        "windows": sum(entry["windows"] for entry in records),
        "unique_hours": sum(entry["unique_seconds"] for entry in records) / 3600,
        "recorded_hours": sum(entry["seconds"] for entry in records) / 3600,
        "dropped": {reason: sum(entry["dropped"][reason] for entry in records) for reason in REASONS},
    }


def pack_windows(config: Config, jobs: int | None = None, quiet: bool = False) -> dict:
    """Pack the windows of all sources of `config.windows`; files that are up to date are kept.

    Returns:
        The manifest: `parameters`, `sources`, `excluded` records with their subjects, `totals` by database and for
        "all", records `too_short` for one window, and `groups`: files with their SHA-256, number of windows of each
        record in each file in stream order, and details of each record.

    Raises:
        InputError: as `check_windows`; a record cannot be read, or a source has no usable window.
    """
    windows, target = config.windows, Path(config.windows.tfrecord_dir)
    check_windows(windows)
    groups, excluded = plan_groups(windows, jobs, quiet)
    by_name = {group.name: group for group in groups}
    parameters = stored_parameters(windows)

    def fingerprint_of(group: Group) -> str:
        inputs = [[item.record, item.subject, item.inputs] for item in group.items]
        return fingerprint([parameters, group.database, group.overlap, inputs])

    def work(group: Group) -> tuple[str, dict]:
        return group.name, {"fingerprint": fingerprint_of(group), **pack_group(group, windows, target)}

    def complete(entries: dict[str, dict]) -> dict:
        records = window_records({"groups": entries})
        totals = {}
        for source in windows.sources:
            of_source = [e for r, e in records.items() if r.startswith(f"{source.database}/")]
            totals[source.database] = total(of_source)
            if not totals[source.database]["windows"]:
                found = f"no window in {len(of_source)} records, dropped {totals[source.database]['dropped']}"
                where = f"windows.sources {source.database}"
                raise InputError(
                    where, found, "at least one window", "remove the source, or set a shorter windows.length_seconds"
                )
        return {
            "sources": stored_sources(windows),
            "excluded": excluded,
            "totals": {**totals, "all": total(list(records.values()))},
            "too_short": [record for record, entry in records.items() if entry["too_short"]],
            "notes": [
                f"{s.database}: {note}"
                for s in windows.sources
                if (note := subjects_note(s.folder, s.database, recordings.list_records(s.folder, s.database)))
            ],
        }

    fingerprints = {name: fingerprint_of(group) for name, group in by_name.items()}
    manifest, written = pack_entries(
        target, "groups", parameters, fingerprints, by_name, work, complete, "windows", jobs, quiet
    )
    if not quiet:
        print_totals(manifest, target, written)
    return manifest


def print_totals(manifest: dict, target: Path, written: int) -> None:
    """Print the number of windows of each database, and the reasons for dropped windows and records."""
    files = [target / name for entry in manifest["groups"].values() for name in entry["files"]]
    size = sum(path.stat().st_size for path in files) / 1e6
    current = len(manifest["groups"]) - written
    logger.info("%s: %d files, %.1f MB, %d groups written, %d current", target, len(files), size, written, current)
    for name, of in manifest["totals"].items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in of["dropped"].items())
        short = sum(name == "all" or record.startswith(f"{name}/") for record in manifest["too_short"])
        logger.info(
            f"{name}: {of['windows']} windows, {of['unique_hours']:.2f} unique hours of {of['recorded_hours']:.2f}, "
            f"{of['records']} records of {of['subjects']} subjects; dropped {dropped}; {short} records too short"
        )
    if manifest["too_short"]:
        more = f" and {len(manifest['too_short']) - 8} more" if len(manifest["too_short"]) > 8 else ""
        logger.info("too short for one window: %s%s", ", ".join(manifest["too_short"][:8]), more)
    for note in manifest["notes"]:
        logger.warning("note: %s", note)
    for name, records in manifest["excluded"].items():
        if records:
            logger.info("excluded from %s: %s", name, ", ".join(records))


def window_manifest(config: Config) -> dict:
    """Read the manifest of the packed windows.

    Raises:
        InputError: nothing is packed, or the windows were packed with other options.
    """
    folder = Path(config.windows.tfrecord_dir)
    manifest = load_manifest(folder, SCRIPT)
    expected = {**stored_parameters(config.windows), "sources": stored_sources(config.windows)}
    stored = {**manifest["parameters"], "sources": manifest["sources"]}
    different = ", ".join(key for key in expected if stored.get(key) != expected[key])
    if different:
        found = f"windows packed with other {different}"
        raise InputError(folder, found, "the values of this configuration", f"run {SCRIPT}")
    return manifest


def window_records(manifest: dict) -> dict[str, dict]:
    """Return the manifest entry of each record, by "database/record"."""
    return {record: entry for group in manifest["groups"].values() for record, entry in group["records"].items()}


def reject_subjects(manifest: dict, subjects: Collection[str]) -> None:
    """Check that the windows contain no test subject, because a model pretrained on a subject cannot be tested on it.

    Args:
        manifest: manifest of the windows.
        subjects: names of test subjects as returned by `subject_name`, such as "mitdb/100".

    Raises:
        InputError: test subjects are included; names the source, the subjects, their records and the subjects that are
            already excluded.
    """
    for source in manifest["sources"]:
        name = source["database"]
        records = {r: e["subject"] for r, e in window_records(manifest).items() if r.startswith(f"{name}/")}
        shared = {record: subject for record, subject in records.items() if subject in set(subjects)}
        if shared:
            found = f"test subjects {', '.join(sorted(set(shared.values())))} (records {', '.join(sorted(shared))})"
            excluded = ", ".join(sorted(set(manifest["excluded"][name].values()))) or "none"
            expected = f"no test subject (excluded so far: {excluded})"
            raise InputError(
                f"windows.sources {name}", found, expected, "add them to `exclude` of the source, and pack again"
            )
