"""Preprocess recordings to HDF5: one file per record with unnormalized beats and scalograms, and metadata.json."""

import logging
from pathlib import Path

import numpy as np
import pywt
from threadpoolctl import threadpool_limits

from keras_ecg.config import Beats, Config, Context, to_dict
from keras_ecg.data.hdf5 import VERSION, describe, hdf5_path, stored_fingerprint, writing
from keras_ecg.databases import mitdb, recordings
from keras_ecg.databases.subjects import subjects, subjects_note
from keras_ecg.errors import InputError
from keras_ecg.files import atomic, fingerprint, read_sealed, sha256, swept, write_sealed
from keras_ecg.parallel import each
from keras_ecg.signals.beats import cut_beats, median_beat, near_edge
from keras_ecg.signals.filters import check_band, clean, resample_peaks
from keras_ecg.signals.rhythm import rr_intervals
from keras_ecg.signals.scalogram import scalograms

logger = logging.getLogger(__name__)

BLOCK_SIZE = 256  # beats transformed into one reused buffer: allocating new memory takes as long as the transform
REAL_WAVELETS = ("morl", "mexh", *pywt.wavelist("gaus"))


def check_parameters(beats: Beats) -> None:
    """Check the cut-off frequencies and the wavelet.

    Raises:
        InputError: a band is not within 0 Hz and half the sampling rate, or the wavelet is not real.
    """
    check_band(beats.bandpass_hz, beats.sampling_rate_hz, "beats.bandpass_hz")
    check_band(beats.context.bandpass_hz, beats.context.sampling_rate_hz, "beats.context.bandpass_hz")
    if beats.wavelet not in REAL_WAVELETS:
        raise InputError("beats.wavelet", repr(beats.wavelet), f"one of {', '.join(REAL_WAVELETS)}", "correct it")


def clean_context(signal: np.ndarray, rate_hz: float, peaks: np.ndarray, context: Context) -> dict[str, np.ndarray]:
    """Resample and filter a recording (M,) for context windows, and locate the windows of beats (n,).

    Args:
        signal: (M,) mV.
        rate_hz: sampling rate of the signal.
        peaks: (n,) sample indices of the beats.
        context: length, rate and band of the windows.

    Returns:
        `context` (K,) float16, padded by reflection by half a window at both ends so that every beat has a complete
        window, and `context_start` (n,) int32, the first sample of the window centred on each beat.
    """
    if not context.samples:
        return {"context": np.empty(0, np.float16), "context_start": np.zeros(len(peaks), np.int32)}
    around = clean(signal, rate_hz, context.sampling_rate_hz, context.bandpass_hz)
    return {
        "context": np.pad(around, context.samples // 2, mode="reflect").astype(np.float16),
        "context_start": resample_peaks(peaks, rate_hz, context.sampling_rate_hz).astype(np.int32),
    }


def extract_beats(recording: recordings.Recording, beats: Beats, where: Path | str) -> dict[str, np.ndarray]:
    """Segment a recording into beats: the arrays of its HDF5 file except for the scalograms.

    Args:
        recording: signals and annotations.
        beats: options of the segmentation.
        where: name of the recording in error messages.

    Raises:
        InputError: the recording has no beats, or its lead is missing, flat, or contains NaN.
    """
    chosen = recordings.choose_lead(recording.leads, beats.lead, beats.fallback_leads, where)
    recordings.check_rates(recording, [chosen], where)
    signal = recording.signals[:, chosen]
    recordings.check_lead(signal, where, recording.leads[chosen])
    is_beat = np.isin(recording.symbols, list(mitdb.CLASS_OF_SYMBOL))
    sample, symbol = recording.samples[is_beat], recording.symbols[is_beat]
    if not len(sample):
        raise InputError(where, "no beat among its annotations", "at least one", "exclude the record")
    rate = recording.sampling_rate_hz
    context = clean_context(signal, rate, sample, beats.context)
    signal = clean(signal, rate, beats.sampling_rate_hz, beats.bandpass_hz)
    peaks = resample_peaks(sample, rate, beats.sampling_rate_hz)
    rr_before, rr_after = rr_intervals(sample, rate)
    kept = np.ones(len(sample), bool)
    if beats.edge == "drop":
        kept = ~near_edge(len(signal), peaks, beats.half_window_samples)
        if not kept.any():
            raise InputError(where, "no beat with a complete window", "at least one", "set beats.edge=pad")
    windows = cut_beats(signal, peaks[kept], beats.half_window_samples)
    recordings.check_amplitude(windows, where)
    return {
        "samples": windows,
        "sample": sample[kept],
        "symbol": symbol[kept].astype("S1"),
        "label": np.array([mitdb.CLASS_OF_SYMBOL[s] for s in symbol[kept]], np.int8),
        "rr_before": rr_before[kept],
        "rr_after": rr_after[kept],
        "median_beat": median_beat(windows).astype(np.float32),
        "dropped": sample[~kept],
        "context": context["context"],
        "context_start": context["context_start"][kept],
    }


def preprocess_record(
    folder: str, record: str, target: str, beats: Beats, database: str, digest: str | None
) -> tuple[dict, bool]:
    """Write a record's HDF5 file unless it is up to date.

    Args:
        folder: folder of the database.
        record: name of the record.
        target: folder of the HDF5 files.
        beats: options of the segmentation.
        database: name of the database.
        digest: SHA-256 that metadata.json states for the file; a file with another content is written again.

    Returns:
        `describe` of the file, and whether it was written.

    Raises:
        InputError: as `read_recording` and `extract_beats`.
    """
    inputs = {path.name: sha256(path) for path in recordings.record_files(folder, record)}
    subject = subjects(folder, database, [record])[record]
    expected = fingerprint({"beats": to_dict(beats), "inputs": inputs, "subject": subject, "version": VERSION})
    path = hdf5_path(target, record)
    if stored_fingerprint(path) == expected:
        described = describe(path)
        if digest in (None, described["sha256"]):
            return described, False
    recording = recordings.read_recording(folder, record)
    details = {
        "subject": subject,
        "inputs": [f"{name} {digest}" for name, digest in inputs.items()],
        "fingerprint": expected,
    }
    write_beats(path, recording, beats, Path(folder) / record, details)
    return describe(path), True


def write_beats(path: Path, recording: recordings.Recording, beats: Beats, where: Path | str, details: dict) -> None:
    """Write the HDF5 file of a recording.

    Args:
        path: path of the file.
        recording: signals and annotations.
        beats: options of the segmentation.
        where: name of the recording in error messages.
        details: further attributes of the file: subject, inputs, fingerprint.
    """
    arrays = extract_beats(recording, beats, where)
    chosen = recordings.choose_lead(recording.leads, beats.lead, beats.fallback_leads, where)
    with threadpool_limits(1), atomic(path) as partial, writing(partial) as file:
        for name, values in arrays.items():
            file[name] = values.astype(np.float16) if name == "samples" else values
        samples = arrays["samples"]
        shape = (beats.scales, samples.shape[1])
        stored = file.create_dataset("scalograms", (len(samples), *shape), np.float16)
        out = np.empty((min(BLOCK_SIZE, len(samples)), *shape), np.float16)
        for start in range(0, len(samples), BLOCK_SIZE):
            block = samples[start : start + BLOCK_SIZE]
            stored[start : start + len(block)] = scalograms(block, beats.scales, beats.wavelet, out=out[: len(block)])
        file.attrs.update(
            record=recording.record,
            lead=recording.leads[chosen],
            original_rate_hz=recording.sampling_rate_hz,
            sampling_rate_hz=beats.sampling_rate_hz,
            corrections=[f"{count} {what}" for what, count in recording.corrections.items()],
            **details,
        )


def write_metadata(
    target: Path | str, records: dict[str, dict], beats: Beats, skipped: dict[str, str], notes: list[str]
) -> dict:
    """Write metadata.json.

    Args:
        target: folder of the HDF5 files.
        records: `describe` of the file of each record.
        beats: options of the segmentation.
        skipped: error message of each skipped record.
        notes: remarks on the data that reports must show.

    Returns:
        The content of the file.
    """
    parameters = {"version": VERSION, **to_dict(beats)}
    metadata = {"parameters": parameters, "skipped": skipped, "notes": notes, "records": records}
    write_sealed(Path(target) / "metadata.json", metadata)
    return metadata


def known_digests(target: Path | str) -> dict[str, str]:
    """Return the SHA-256 of each record's file as metadata.json states it; none where it is missing or invalid."""
    path = Path(target) / "metadata.json"
    try:
        records = read_sealed(path, "")["records"] if path.is_file() else {}
    except InputError:
        return {}
    return {record: entry["sha256"] for record, entry in records.items() if "sha256" in entry}


def preprocess(config: Config, skip_bad_records: bool = False, jobs: int | None = None) -> dict:
    """Preprocess all records of the configured database in parallel; files that are up to date are kept.

    Args:
        config: options `database` and `beats`.
        skip_bad_records: whether records that cannot be read are skipped and listed in metadata.json.
        jobs: number of processes; None for one per core.

    Returns:
        The content of metadata.json.

    Raises:
        InputError: a record cannot be read, unless `skip_bad_records`; or no record can be read.
    """
    check_parameters(config.beats)
    folder, target = config.database.data_dir, Path(config.database.hdf5_dir)
    records = list(config.database.records) or recordings.list_records(folder)
    recordings.check_distinct_records(folder, records)
    target.mkdir(parents=True, exist_ok=True)

    paths: dict[Path, str] = {}
    for record in records:
        if (other := paths.setdefault(hdf5_path(target, record), record)) != record:
            found = f"records {other} and {record}, whose HDF5 files would have one name"
            raise InputError(folder, found, "distinct names", "rename or exclude one of them")
    digests = known_digests(target)

    def work(record: str) -> tuple[str, dict, bool, InputError | None]:
        database = config.database.name
        try:
            found = preprocess_record(folder, record, str(target), config.beats, database, digests.get(record))
            return record, *found, None
        except InputError as error:
            return record, {}, False, error

    described: dict[str, dict] = {}
    skipped: dict[str, str] = {}
    written = 0
    with swept(target), each(work, records, "preprocess", jobs) as results:
        for record, entry, was_written, error in results:
            written += was_written
            if error and not skip_bad_records:
                raise error
            if error:
                skipped[record] = str(error)
            else:
                described[record] = entry
    kept = {r: described[r] for r in records if r in described}
    if not kept:
        first = next(iter(skipped.values()))
        raise InputError(folder, "no record that can be read", "at least one", f"first error: {first}")
    assumed = subjects_note(folder, config.database.name, list(kept))
    corrected = [f"{r}: {', '.join(entry['corrections'])}" for r, entry in kept.items() if entry["corrections"]]
    notes = [assumed] * bool(assumed) + [f"annotations of {text}" for text in corrected]
    metadata = write_metadata(target, kept, config.beats, skipped, notes)
    for note in notes:
        logger.warning("note: %s", note)
    for record, reason in skipped.items():
        logger.warning("skipped %s: %s", record, reason)
    beats = sum(len(entry["label"]) for entry in metadata["records"].values())
    dropped = {r: len(e["dropped_samples"]) for r, e in metadata["records"].items() if e["dropped_samples"]}
    current = len(kept) - written
    logger.info("%s: %d beats of %d records, %d written, %d current", target, beats, len(kept), written, current)
    if dropped:
        each_of = ", ".join(f"{r} {n}" for r, n in dropped.items())
        logger.info("dropped at the ends: %d beats (%s)", sum(dropped.values()), each_of)
    return metadata
