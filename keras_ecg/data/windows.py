"""Recordings to TFRecord: unlabelled windows for self-supervised pretraining. Writer and parser.

One file holds one example, a chunk of n windows from one long record or several short ones of one source. It holds
the m samples that the windows cover, each once, and where each window starts in them: windows that overlap by 75 %
would else take four times the bytes. They are millivolts in half precision: its eleven bits are finer than what is left
of a 12-bit recording's steps, no scale need be carried along, and the z-score, which loses the amplitude, is the
reader's. Shuffling files is shuffling chunks.

    version  int64
    shape    int64 (4,): n, m, T, L
    signals  bytes: (m, L) float16, mV
    start    bytes: (n,) int32: a window's first row of `signals`
    record   bytes: (n,) int32: its place in `records`
    sample   bytes: (n,) int64: its first sample in the recording, at the recording's own rate
    records  bytes: names as the manifest lists them, one a line
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
SCRIPT = "create_window_tfrecords.py"
REASONS = ("nan", "flat", "saturated")  # a window counts for the first that holds


def read_windows(
    folder: str, record: str, windows: Windows, overlap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """One record, cleaned, and where its windows are.

    Returns:
        The signal (M, L) float32 mV at the windows' rate; the kept windows' starts in it (n,); their first samples in
        the recording (n,); and what the manifest says of the record: leads, kept and dropped windows, seconds covered.

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
        still = cutting.touches(cutting.flat_samples(raw, rate), starts, length, ratio)
        bad = {
            "nan": cutting.touches(~np.isfinite(raw).all(axis=1), starts, length, ratio),
            "flat": still | cutting.flat_windows(cutting.cut_windows(signal, starts, length)),
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
    """Writes one group's chunks, and returns its entry of the manifest, without the fingerprint.

    Raises:
        InputError: as `read_windows`.
    """
    length = window_samples(windows)
    signals, rows, records = [], [], {}
    for k, item in enumerate(group.items):
        signal, starts, samples, said = read_windows(group.folder, item.record, windows, group.overlap)
        signals.append(signal)
        rows.append(np.stack([np.full(len(starts), k), starts, samples], axis=1))
        subject = subject_name(group.database, item.subject)
        records[f"{group.database}/{item.record}"] = {"subject": subject, "inputs": item.inputs, **said}
    table = np.concatenate(rows)  # record, start, sample of each window
    files, held = {}, {}
    for part, first in enumerate(range(0, len(table), windows.chunk_size)):
        own = table[first : first + windows.chunk_size]
        name = f"{group.name}-{part:04d}.tfrecord"
        files[name] = write_window_chunk(Path(target) / name, signals, own, list(records), length)
        held[name] = [[list(records)[k], int(np.count_nonzero(own[:, 0] == k))] for k in np.unique(own[:, 0])]
    return {"files": files, "held": held, "records": records}


def write_window_chunk(
    path: Path, signals: list[np.ndarray], table: np.ndarray, records: list[str], length: int
) -> str:
    """Writes one chunk's example and returns the file's SHA-256. The parser is `parse_window_chunk`.

    Args:
        path: of the file.
        signals: of each record, (M, L) mV.
        table: (n, 3): a window's record, its start in that record's signal, its first sample in the recording.
        records: their names.
        length: T.
    """
    pieces, starts, size = [], [], 0
    for k in np.unique(table[:, 0]):
        own = table[table[:, 0] == k, 1]
        covered = cutting.coverage(own, length, len(signals[k]))
        starts.append(size + np.cumsum(covered)[own] - 1)
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
    """Parses one serialized chunk. The writer is `write_window_chunk`.

    Args:
        serialized: scalar string tensor.
        leads: L.

    Returns:
        signals (m, L) float16, start (n,) int32, record (n,) int32, sample (n,) int64, records: a scalar string.
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
    """What every window of a folder has in common."""
    names = ("length_seconds", "sampling_rate_hz", "leads", "fallback_leads", "bandpass_hz", "chunk_size")
    limits = {name: getattr(cutting, name.upper()) for name in ("flat_seconds", "flat_mv", "saturated_seconds")}
    section = to_dict(windows)
    return {"version": VERSION, **{name: section[name] for name in names}, **limits}


def total(records: list[dict]) -> dict:
    """What records' entries of the manifest add up to."""
    return {
        "records": len(records),
        "subjects": len({entry["subject"] for entry in records}),
        "windows": sum(entry["windows"] for entry in records),
        "unique_hours": sum(entry["unique_seconds"] for entry in records) / 3600,
        "recorded_hours": sum(entry["seconds"] for entry in records) / 3600,
        "dropped": {reason: sum(entry["dropped"][reason] for entry in records) for reason in REASONS},
    }


def pack_windows(config: Config, jobs: int | None = None, quiet: bool = False) -> dict:
    """Packs the windows of every source of `config.windows`; what is current and whole is left as it is.

    Returns:
        The manifest: `parameters`, `sources`, `excluded` records and subjects, `totals` by database and of "all",
        records `too_short` for one window, and `groups`: files with their SHA-256, how many windows of which record
        each holds, in the stream's order, and what was found of each record.

    Raises:
        InputError: settings that cut nothing, a bad record, or a source without any window.
    """
    windows, target = config.windows, Path(config.windows.tfrecord_dir)
    check_windows(windows)
    groups, excluded = plan_groups(windows, jobs, quiet)
    by_name = {group.name: group for group in groups}
    parameters = stored_parameters(windows)

    def mark(group: Group) -> str:
        inputs = [[item.record, item.subject, item.inputs] for item in group.items]
        return fingerprint([parameters, group.database, group.overlap, inputs])

    def work(group: Group) -> tuple[str, dict]:
        return group.name, {"fingerprint": mark(group), **pack_group(group, windows, target)}

    def complete(entries: dict[str, dict]) -> dict:
        records = window_records({"groups": entries})
        totals = {}
        for source in windows.sources:
            of_source = [e for r, e in records.items() if r.startswith(f"{source.database}/")]
            totals[source.database] = total(of_source)
            if not totals[source.database]["windows"]:
                found = f"no window in {len(of_source)} records, dropped {totals[source.database]['dropped']}"
                where = f"windows.sources {source.database}"
                raise InputError(where, found, "at least one", "leave it out, or cut shorter windows")
        return {
            "sources": stored_sources(windows),
            "excluded": excluded,
            "totals": {**totals, "all": total(list(records.values()))},
            "too_short": [record for record, entry in records.items() if entry["too_short"]],
            "notes": [
                f"{s.database}: {note}" for s in windows.sources if (note := subjects_note(s.folder, s.database))
            ],
        }

    prints = {name: mark(group) for name, group in by_name.items()}
    manifest, written = pack_entries(
        target, "groups", parameters, prints, by_name, work, complete, "windows", jobs, quiet
    )
    if not quiet:
        print_totals(manifest, target, written)
    return manifest


def print_totals(manifest: dict, target: Path, written: int) -> None:
    """Says how much there is, of which database, and what was left out and why."""
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
    """The manifest of the packed windows, which must be those of this configuration.

    Raises:
        InputError: nothing is packed, or with other settings.
    """
    folder = Path(config.windows.tfrecord_dir)
    manifest = load_manifest(folder, SCRIPT)
    wanted = {**stored_parameters(config.windows), "sources": stored_sources(config.windows)}
    stored = {**manifest["parameters"], "sources": manifest["sources"]}
    odd = [key for key in wanted if stored.get(key) != wanted[key]]
    if odd:
        raise InputError(folder, f"windows of other {', '.join(odd)}", "those of this config", f"run {SCRIPT}")
    return manifest


def window_records(manifest: dict) -> dict[str, dict]:
    """What the manifest says of each record, by "database/record"."""
    return {record: entry for group in manifest["groups"].values() for record, entry in group["records"].items()}


def refuse_subjects(manifest: dict, subjects: Collection[str]) -> None:
    """Refuses windows of test subjects: what is pretrained on them cannot be tested on them.

    Args:
        manifest: of the windows.
        subjects: as `subject_name` gives them, such as "mitdb/100".

    Raises:
        InputError: names the source, the subjects, their records, and who is excluded already.
    """
    for source in manifest["sources"]:
        name = source["database"]
        records = {r: e["subject"] for r, e in window_records(manifest).items() if r.startswith(f"{name}/")}
        shared = {record: subject for record, subject in records.items() if subject in set(subjects)}
        if shared:
            found = f"test subjects {', '.join(sorted(set(shared.values())))} (records {', '.join(sorted(shared))})"
            out = ", ".join(sorted(set(manifest["excluded"][name].values()))) or "nobody"
            expected = f"no test subject; excluded are {out}"
            raise InputError(f"windows.sources {name}", found, expected, "add them to its exclude, and pack again")
