"""TFRecord files of whole recordings with labels and detected beats: writer and parser.

A file contains one example, a chunk of n concatenated recordings with m samples in total. Signals are resampled,
filtered, z-scored and stored as float16. Beats are detected at the original sampling rate.

    version  int64
    shape    int64 (3,): n, m, W
    signals  bytes: (m,) float16, z-scores of each recording
    start    bytes: (n,) int32: first row of each recording in `signals`
    length   bytes: (n,) int32: samples of each recording
    beats    bytes: (n, W) float32: beats in seconds from the beginning of the recording, -1 after the last
    label    bytes: (n,) int8
    records  bytes: names of the recordings as in the manifest, one per line
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_ecg.config import Config, Rhythm, to_dict
from keras_ecg.data.examples import write_example
from keras_ecg.data.manifests import load_manifest, pack_entries
from keras_ecg.databases import cinc2017, recordings
from keras_ecg.databases.subjects import subjects
from keras_ecg.errors import InputError
from keras_ecg.files import fingerprint, sha256
from keras_ecg.parallel import each
from keras_ecg.signals import filters
from keras_ecg.signals.qrs import detect_qrs
from keras_ecg.signals.windows import fill_missing, zscore

logger = logging.getLogger(__name__)

VERSION = 2
SCRIPT = "keras-ecg pack-recordings (create_rhythm_tfrecords.py)"
PARAMETERS = ("lead", "fallback_leads", "sampling_rate_hz", "bandpass_hz", "chunk_size", "labels")
MIN_SAMPLES = 32  # of a recording: the band-pass filter pads its ends by so many


@dataclass(frozen=True)
class Item:
    """A recording to pack: name, subject, class index, and SHA-256 of its files."""

    record: str
    subject: str
    label: int
    inputs: dict[str, str]


def samples_of(seconds: float, rhythm: Rhythm) -> int:
    """Return the samples T of a crop, rounded to a multiple of 64, which the strides of every model divide."""
    return max(64, round(seconds * rhythm.sampling_rate_hz / 64) * 64)


def clean(signal: np.ndarray, rate: float, rhythm: Rhythm) -> tuple[np.ndarray, np.ndarray]:
    """Preprocess one lead (M,) for a model, and detect its beats.

    Returns:
        z-scores (T,) float16 at the configured sampling rate, and beats (n,) float32 in seconds.
    """
    filled = fill_missing(signal[:, np.newaxis])[:, 0]
    beats = (detect_qrs(filled, rate) / rate).astype(np.float32)
    out = filters.clean(filled, rate, rhythm.sampling_rate_hz, rhythm.bandpass_hz)
    return zscore(out[:, np.newaxis])[:, 0].astype(np.float16), beats


def lead_of(folder: Path | str, record: str, rhythm: Rhythm) -> tuple[np.ndarray, float]:
    """Read a record and return its `configured_lead`.

    Raises:
        InputError: as `read_recording` and `configured_lead`.
    """
    return configured_lead(recordings.read_recording(folder, record, None), rhythm, Path(folder) / record)


def configured_lead(recording: recordings.Recording, rhythm: Rhythm, where: Path | str) -> tuple[np.ndarray, float]:
    """Return the configured lead (M,) of a recording in mV, and its sampling rate in Hz.

    Raises:
        InputError: as `choose_leads`, `check_rates` and `check_amplitude`, or the recording is shorter than a second;
            `where` is its name in the message.
    """
    settings = "rhythm.lead or rhythm.fallback_leads"
    [lead] = recordings.choose_leads(recording.leads, (rhythm.lead,), rhythm.fallback_leads, where, settings)
    recordings.check_rates(recording, [lead], where)
    signal, rate = recording.signals[:, lead], recording.sampling_rate_hz
    if len(signal) < rate or len(signal) * rhythm.sampling_rate_hz / rate < MIN_SAMPLES:
        raise InputError(where, f"{len(signal) / rate:.2f} s", "at least a second", "exclude the record")
    missing = np.count_nonzero(~np.isfinite(signal))
    if 2 * missing > len(signal) or np.ptp(signal[np.isfinite(signal)]) == 0:
        found = f"{missing} of {len(signal)} samples missing" if missing else "a flat signal"
        raise InputError(where, found, "an ECG", "choose another lead, or exclude the record")
    recordings.check_amplitude(signal[np.isfinite(signal)] if np.isfinite(signal).any() else np.zeros(1), where)
    return signal, rate


def write_rhythm_chunk(
    path: Path, signals: list[np.ndarray], beats: list[np.ndarray], labels: list[int], records: list[str]
) -> str:
    """Write the TFRecord file of one chunk, and return its SHA-256. The parser is `parse_rhythm_chunk`."""
    length = np.array([len(signal) for signal in signals], np.int32)
    table = np.full((len(beats), max(map(len, beats), default=0)), -1, np.float32)
    for row, seconds in zip(table, beats, strict=True):
        row[: len(seconds)] = seconds
    features = {
        "version": (VERSION,),
        "shape": (len(signals), int(length.sum()), table.shape[1]),
        "signals": np.concatenate(signals),
        "start": (np.cumsum(length) - length).astype(np.int32),
        "length": length,
        "beats": table,
        "label": np.array(labels, np.int8),
        "records": "\n".join(records).encode(),
    }
    return write_example(path, features)


def parse_rhythm_chunk(serialized) -> dict:
    """Parse one serialized chunk. The writer is `write_rhythm_chunk`.

    Args:
        serialized: scalar string tensor.

    Returns:
        signals (m,) float16, start and length (n,) int32, beats (n, W) float32, label (n,) int8, records: a scalar
        string.
    """
    import tensorflow as tf

    kinds = {
        "signals": tf.float16,
        "start": tf.int32,
        "length": tf.int32,
        "beats": tf.float32,
        "label": tf.int8,
        "records": None,
    }
    strings = {name: tf.io.FixedLenFeature([], tf.string) for name in kinds}
    parsed = tf.io.parse_single_example(serialized, {**strings, "shape": tf.io.FixedLenFeature([3], tf.int64)})
    out = {name: tf.io.decode_raw(parsed[name], kind) if kind else parsed[name] for name, kind in kinds.items()}
    out["beats"] = tf.reshape(out["beats"], (parsed["shape"][0], parsed["shape"][2]))
    return out


def stored_parameters(rhythm: Rhythm) -> dict:
    """Return the parameters in the manifest, equal for all recordings of a folder."""
    section = to_dict(rhythm)
    return {"version": VERSION, **{name: section[name] for name in PARAMETERS}}


def check_rhythm(config: Config) -> None:
    """Check the options of packing.

    Raises:
        InputError: the database has no labels, or an option is out of range; names the option.
    """
    rhythm = config.rhythm
    if config.database.name != "cinc2017":
        do = "set database.name and database.data_dir, as configs/cinc2017.yaml does"
        raise InputError("database.name", repr(config.database.name), "cinc2017, which has labels of recordings", do)
    if not 0 < rhythm.crop_seconds <= rhythm.window_seconds:
        found = f"{rhythm.crop_seconds} s of {rhythm.window_seconds} s"
        raise InputError("rhythm.crop_seconds", found, "more than 0, at most rhythm.window_seconds", "correct it")
    filters.check_band(rhythm.bandpass_hz, rhythm.sampling_rate_hz, "rhythm.bandpass_hz")


def plan_items(config: Config, jobs: int | None, quiet: bool) -> list[Item]:
    """List the configured recordings with subject, class and files.

    Raises:
        InputError: the folder, a record or a label is missing.
    """
    folder, name = config.database.data_dir, config.database.name
    available = recordings.list_records(folder, name)
    records = config.database.records or available
    labels = cinc2017.read_labels(folder, config.rhythm.labels)
    for what, existing in (("record", available), ("label", labels)):
        missing = [record for record in records if record not in existing]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            found = f"no {what} of {', '.join(missing[:5])}{more}"
            raise InputError(
                folder,
                found,
                f"a recording and a label (labels {config.rhythm.labels}) of each record",
                "complete the folder",
            )
    recordings.check_distinct_records(folder, records)
    subject_of = subjects(folder, name, list(records))

    def describe(record: str) -> Item:
        inputs = {path.name: sha256(path) for path in recordings.record_files(folder, record, None)}
        return Item(record, subject_of[record], labels[record], inputs)

    with each(describe, list(records), "check", jobs, quiet) as results:
        items = {item.record: item for item in results}
    return [items[record] for record in records]


def pack_rhythm(config: Config, jobs: int | None = None, quiet: bool = False) -> dict:
    """Pack the configured recordings with their labels; files that are up to date are kept.

    Returns:
        The manifest: `parameters` (including the version of the labels), `class_counts`, and `chunks`: files with
        their SHA-256, and subject, label, number of samples and number of beats of each record, in stream order.

    Raises:
        InputError: as `check_rhythm`; a record has no label, or cannot be read.
    """
    check_rhythm(config)
    rhythm, target, folder = config.rhythm, Path(config.rhythm.tfrecord_dir), config.database.data_dir
    items = plan_items(config, jobs, quiet)
    starts = range(0, len(items), rhythm.chunk_size)
    names = [f"recordings-{k:04d}" for k in range(len(starts))]
    tasks = {name: (name, items[at : at + rhythm.chunk_size]) for name, at in zip(names, starts, strict=True)}
    parameters = stored_parameters(rhythm)

    def fingerprint_of(task: tuple[str, list[Item]]) -> str:
        return fingerprint([parameters, task[0], [[i.record, i.subject, i.label, i.inputs] for i in task[1]]])

    def work(task: tuple[str, list[Item]]) -> tuple[str, dict]:
        name, chunk = task
        signals, beats, records = [], [], {}
        for item in chunk:
            signal, seconds = clean(*lead_of(folder, item.record, rhythm), rhythm)
            signals.append(signal)
            beats.append(seconds)
            records[item.record] = {
                "subject": item.subject,
                "label": item.label,
                "samples": len(signal),
                "beats": len(seconds),
            }
        file = f"{name}.tfrecord"
        digest = write_rhythm_chunk(target / file, signals, beats, [i.label for i in chunk], list(records))
        return name, {"fingerprint": fingerprint_of(task), "files": {file: digest}, "records": records}

    def complete(entries: dict[str, dict]) -> dict:
        labels = [e["label"] for entry in entries.values() for e in entry["records"].values()]
        return {"class_counts": {c: labels.count(k) for k, c in enumerate(cinc2017.CLASSES)}}

    fingerprints = {name: fingerprint_of(task) for name, task in tasks.items()}
    manifest, written = pack_entries(
        target, "chunks", parameters, fingerprints, tasks, work, complete, "pack", jobs, quiet
    )
    if not quiet:
        records = rhythm_records(manifest)
        hours = sum(e["samples"] for e in records.values()) / rhythm.sampling_rate_hz / 3600
        classes = ", ".join(f"{c} {n}" for c, n in manifest["class_counts"].items())
        logger.info(
            f"{target}: {len(records)} recordings, {hours:.1f} hours, labels {rhythm.labels}: {classes}; "
            f"{written} chunks written, {len(tasks) - written} current"
        )
    return manifest


def rhythm_manifest(config: Config) -> dict:
    """Read the manifest of the packed recordings.

    Raises:
        InputError: nothing is packed, or the recordings were packed with other options.
    """
    folder = Path(config.rhythm.tfrecord_dir)
    manifest = load_manifest(folder, SCRIPT)
    expected = stored_parameters(config.rhythm)
    different = ", ".join(key for key in expected if manifest["parameters"].get(key) != expected[key])
    if different:
        found = f"recordings packed with other {different}"
        raise InputError(folder, found, "the values of this configuration", f"run {SCRIPT}")
    return manifest


def rhythm_records(manifest: dict) -> dict[str, dict]:
    """Return the manifest's metadata of each record, in stream order."""
    return {record: entry for chunk in manifest["chunks"].values() for record, entry in chunk["records"].items()}
