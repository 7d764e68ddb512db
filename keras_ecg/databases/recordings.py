"""Reader of WFDB recordings: signals in mV, lead names and annotations, with an error for every damaged file.

    for record in list_records(folder):
        recording = read_recording(folder, record)
        lead = choose_lead(recording.leads, "MLII", ("V5",))
        check_lead(recording.signals[:, lead], folder, recording.leads[lead])

Shapes: T samples, C leads, n annotations.
"""

import math
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy
import wfdb

from keras_ecg.databases import ptbxl
from keras_ecg.databases.annotations import FETCH, FETCH_AGAIN, Annotations, read_annotations
from keras_ecg.errors import InputError

# Bytes per sample of the uncompressed WFDB formats: https://physionet.org/physiotools/wag/signal-5.htm
FORMAT_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
MAX_MV = 1000  # scalograms of larger samples would overflow float16
MILLIVOLTS = {"uV": 1e-3, "V": 1e3}  # factors to mV; leads in other units, such as mmHg, are not converted
MIN_LEAD_RATE_HZ = 50.0  # at lower rates, QRS complexes are lost
GAP = "~"  # name of a missing segment, or of the missing signal file of a layout


@dataclass(frozen=True)
class Recording:
    """A recording with all its annotations, including those that are not beats."""

    record: str
    signals: np.ndarray  # (T, C) float32, mV; NaN for samples that the file marks as invalid
    leads: tuple[str, ...]
    sampling_rate_hz: float
    samples: np.ndarray  # (n,) int64, sample indices of the annotations
    symbols: np.ndarray  # (n,) str, such as "N", "V", "+"
    corrections: dict[str, int] = field(default_factory=dict)  # number of annotations by correction
    lead_rates_hz: tuple[float, ...] = ()  # original sampling rates; leads with a lower one are interpolated


def list_records(folder: Path | str, database_name: str = "") -> list[str]:
    """List the records of a folder in ascending order: those in its RECORDS file, or else every header with a signal.

    Segments of multi-segment records are not listed. For PTB-XL its table is used, as the folder contains each
    recording at two sampling rates.

    Raises:
        InputError: the folder does not exist or contains no record.
    """
    if database_name == "ptbxl":
        return ptbxl.list_records(folder)
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder of WFDB records", FETCH)
    listed = folder / "RECORDS"
    if listed.is_file():
        try:
            names = sorted({posixpath.normpath(n) for n in listed.read_text(encoding="utf-8-sig").split()})
        except UnicodeDecodeError as error:
            raise InputError(listed, f"text that is not UTF-8 ({error.reason})", "UTF-8", "save it as UTF-8") from None
    else:
        names = [p.stem for p in sorted(folder.glob("*.hea")) if _may_have_signals(folder, p.stem)]
    segments = {segment for record in names for segment in segment_names(folder, record)}
    names = [record for record in names if record not in segments]
    if not names:
        raise InputError(folder, "no record", "WFDB records (.hea, .dat)", FETCH)
    return names


def _may_have_signals(folder: Path, record: str) -> bool:
    """Return whether a header describes signals; True for an unreadable header, so that reading the record raises."""
    try:
        return bool(_header(folder, record).n_sig)
    except InputError:
        return True


def header_names(folder: Path | str, record: str) -> tuple[list[str], list[str]]:
    """Return the names in a header, relative to the folder: segments of a multi-segment record, and signal files.

    One of both lists is empty, and both are if there is no header.
    """
    path, home = _path(Path(folder), record, "hea"), posixpath.dirname(record)
    rows = _header_rows(path) if path.is_file() else []
    if not rows:
        return [], []
    several, count = "/" in rows[0][0], "".join(rows[0][1:2])
    listed = rows[1:] if several else rows[1 : 1 + int(count)] if count.isdigit() else []
    names = (name for name in dict.fromkeys(words[0] for words in listed) if name != GAP)
    paths = [posixpath.normpath(posixpath.join(home, name)) for name in names]
    return (paths, []) if several else ([], paths)


def segment_names(folder: Path | str, record: str) -> list[str]:
    """Return the names of the segments of a multi-segment record; none for other records."""
    return header_names(folder, record)[0]


def check_distinct_records(folder: Path | str, records: list[str] | tuple[str, ...]) -> None:
    """Check that no record is a segment of another record, and that no two records share a signal file.

    Otherwise beats would be counted twice, and their subject could be on both sides of a split.

    Raises:
        InputError: two records have the same samples.
    """
    owners: dict[str, str] = {}
    listed = set(records)
    for record in records:
        segments, files = header_names(folder, record)
        if both := listed.intersection(segments):
            found = f"its segment {min(both)} as a further record"
            raise InputError(Path(folder) / record, found, "a record or its segments", "exclude one of them")
        seen, pending = {record}, list(segments)
        while pending:  # a segment may have segments of its own
            segment = pending.pop()
            if segment not in seen:
                seen.add(segment)
                further, more = header_names(folder, segment)
                pending += further
                files += more
        for name in sorted(set(files)):
            if name in owners:
                found = f"the signal file {name} of record {owners[name]}"
                raise InputError(Path(folder) / record, found, "signal files of its own", "exclude one of the records")
            owners[name] = record


def record_files(folder: Path | str, record: str, annotations: str | None = "atr") -> list[Path]:
    """Return the files of a record: header, signal files, and annotation file if it exists.

    Raises:
        InputError: the header is missing or unreadable, or a signal file is missing.
    """
    folder = Path(folder)
    header = _header(folder, record)
    home = (folder / record).parent
    if isinstance(header, wfdb.MultiRecord):
        parts = [f for name in header.seg_name if name != GAP for f in record_files(home, name, None)]
    else:
        parts = [home / name for name in dict.fromkeys(header.file_name or []) if name != GAP]
        for path in parts:
            _need(path)
    notes = [_path(folder, record, annotations)] if annotations else []
    return [_path(folder, record, "hea"), *dict.fromkeys(parts), *(p for p in notes if p.is_file())]


def record_seconds(folder: Path | str, record: str) -> float:
    """Return the duration of a record in seconds according to its header; 0 if the header does not state it.

    Raises:
        InputError: the header is missing or unreadable.
    """
    header = _header(Path(folder), record)
    return (header.sig_len or 0) / header.fs


def read_recording(folder: Path | str, record: str, annotations: str | None = "atr") -> Recording:
    """Read the signals and annotations of a record.

    Leads with different sampling rates are interpolated to the highest of them, and the annotations converted to it.

    Args:
        folder: folder of the record.
        record: name of the record.
        annotations: suffix of the annotation file; None reads no annotations.

    Raises:
        InputError: a file is missing, truncated or unreadable, or the samples do not match the header's checksum.
    """
    folder = Path(folder)
    path = _path(folder, record, "hea")
    header = _header(folder, record)
    if not header.n_sig:
        raise InputError(path, "no signal", "a header with at least one signal", "exclude the record")
    if isinstance(header, wfdb.Record):
        _check_sizes(folder, record, header)
    else:
        _check_segments(folder, record, header)
    try:
        if isinstance(header, wfdb.MultiRecord):
            data = wfdb.rdrecord(str(folder / record), smooth_frames=False)
            columns = data.e_p_signal
        else:
            data = wfdb.rdrecord(str(folder / record), physical=False, smooth_frames=False, return_res=32)
            _check_checksums(path, data)
            columns = data.dac(expanded=True, return_res=32)
    except InputError:
        raise
    except Exception as error:  # wfdb raises various exceptions on damaged files
        raise InputError(path, _reason(error), "signals that wfdb can read", FETCH_AGAIN) from error
    frame = [int(n or 1) for n in data.samps_per_frame or [1] * len(columns)]
    values = _join_leads(columns, frame)
    for lead, unit in enumerate(data.units):
        if unit in MILLIVOLTS:
            values[:, lead] *= MILLIVOLTS[unit]
    rate, found = float(data.fs) * max(frame), Annotations()
    if annotations:
        found = read_annotations(_path(folder, record, annotations), len(values), rate, float(data.fs))
    rates = tuple(float(data.fs) * n for n in frame)
    return Recording(record, values, tuple(data.sig_name), rate, found.samples, found.symbols, found.corrections, rates)


def _join_leads(columns: list[np.ndarray], frame: list[int]) -> np.ndarray:
    """Combine leads to a signal (T, C) float32; leads with fewer samples per frame than others are interpolated."""
    most = max(frame)
    out = np.empty((max(map(len, columns)), len(columns)), np.float32)
    for lead, (values, count) in enumerate(zip(columns, frame, strict=True)):
        if count < most:
            filled = np.nan_to_num(values, nan=float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0)
            invalid = ~np.isfinite(values)[np.arange(len(out)) * count // most]
            values = scipy.signal.resample_poly(filled, most, count, padtype="median")[: len(out)]
            values[invalid] = np.nan
        out[:, lead] = values
    return out


def choose_lead(
    leads: tuple[str, ...], requested: str, fallbacks: tuple[str, ...] = (), where: object = "leads"
) -> int:
    """Return the index of a lead, or of the first available fallback.

    Raises:
        InputError: the record has none of them; `where` names the record.
    """
    return choose_leads(leads, (requested,), fallbacks, where, "beats.lead")[0]


def choose_leads(
    leads: tuple[str, ...],
    requested: tuple[str, ...],
    fallbacks: tuple[str, ...] = (),
    where: object = "leads",
    setting: str = "windows.leads or windows.fallback_leads",
) -> list[int]:
    """Return the indices of leads, each missing one replaced by the first fallback that is not yet used.

    Names are compared case-insensitively, because some databases write AVR for aVR.

    Args:
        leads: names of the leads of the record.
        requested: names of the leads to choose, in this order.
        fallbacks: names of replacements.
        where: name of the record, for the message.
        setting: options to change, for the message.

    Raises:
        InputError: a lead is missing, and no fallback is left.
    """
    place = {name.casefold(): k for k, name in reversed(list(enumerate(leads)))}
    chosen = {name: place[name.casefold()] for name in requested if name.casefold() in place}
    for name in requested:
        if name not in chosen:
            available = [place[n.casefold()] for n in fallbacks if n.casefold() in place]
            left = [k for k in available if k not in chosen.values()]
            if not left:
                found = f"leads {', '.join(map(str, leads))}"
                expected = f"{name} or one of {', '.join(fallbacks)}" if fallbacks else name
                raise InputError(where, found, expected, f"add one of them to {setting}")
            chosen[name] = left[0]
    return [chosen[name] for name in requested]


def check_amplitude(signal: np.ndarray, where: Path | str) -> None:
    """Check that the amplitude of a signal in mV, of any shape, is plausible.

    Raises:
        InputError: the amplitude exceeds MAX_MV; `where` names the record.
    """
    most = np.abs(signal).max()
    if most > MAX_MV:
        raise InputError(where, f"{most:.0f} mV", f"at most {MAX_MV} mV", "correct the header's gain or unit")


def check_rates(recording: Recording, chosen: list[int], where: Path | str) -> None:
    """Check that the original sampling rate of leads is sufficient for an ECG.

    Raises:
        InputError: the rate is below MIN_LEAD_RATE_HZ; `where` names the record.
    """
    for lead in chosen:
        rate = recording.lead_rates_hz[lead] if recording.lead_rates_hz else recording.sampling_rate_hz
        if rate < MIN_LEAD_RATE_HZ:
            found = f"lead {recording.leads[lead]} at {rate:g} Hz"
            raise InputError(where, found, f"an ECG of at least {MIN_LEAD_RATE_HZ:g} Hz", "choose another lead")


def check_lead(signal: np.ndarray, path: Path | str, lead: str) -> None:
    """Check that a lead (T,) in mV is neither constant nor contains NaN or infinite samples.

    Raises:
        InputError: otherwise; `path` is the record.
    """
    do = "choose another lead (beats.lead) or exclude the record"
    missing = int(np.count_nonzero(~np.isfinite(signal)))
    if missing:
        found = f"lead {lead} with {missing} of {len(signal)} samples not a number"
        raise InputError(path, found, "a number for every sample", do)
    if not len(signal) or np.ptp(signal) == 0:
        raise InputError(path, f"lead {lead} flat", "a signal that varies", do)


def _path(folder: Path, record: str, suffix: str) -> Path:
    return folder / f"{record}.{suffix}"  # with_suffix would fail for names of records with a dot


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:120]


def _need(path: Path) -> None:
    if not path.is_file():
        raise InputError(path, "no such file", f"the record's .{path.suffix.lstrip('.')} file", FETCH)


def _header_rows(path: Path) -> list[list[str]]:
    """Split the lines of a header into words, without comments."""
    lines = path.read_bytes().decode("latin-1").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def _header(folder: Path, record: str) -> wfdb.Record | wfdb.MultiRecord:
    path = _path(folder, record, "hea")
    _need(path)
    try:
        header = wfdb.rdheader(str(folder / record))
        if header.n_sig and isinstance(header, wfdb.Record) and len(header.file_name or ()) != header.n_sig:
            raise ValueError(f"{header.n_sig} signals announced, {len(header.file_name or ())} described")
        rate = _header_rows(path)[0][2:3] or ["250"]  # the default of WFDB
        if not (0 < float(re.split("[/(]", rate[0])[0]) < math.inf):  # wfdb replaces an invalid rate by 250
            raise ValueError(f"a sampling rate of {rate[0]} Hz")
    except Exception as error:  # wfdb raises various exceptions on damaged headers
        raise InputError(path, f"unreadable header ({_reason(error)})", "a WFDB header", FETCH_AGAIN) from error
    return header


def _check_sizes(folder: Path, record: str, header: wfdb.Record) -> None:
    """Check that every signal file has at least the size that its header implies."""
    for name in dict.fromkeys(header.file_name):
        path = (folder / record).parent / name
        _need(path)
        signals = [k for k, file_name in enumerate(header.file_name) if file_name == name]
        size = FORMAT_BYTES.get(header.fmt[signals[0]])
        if size is None or header.sig_len is None:
            continue
        count = header.sig_len * sum((header.samps_per_frame or [1] * header.n_sig)[k] or 1 for k in signals)
        expected = math.ceil(count * size) + (header.byte_offset[signals[0]] or 0)
        found = path.stat().st_size
        if found < expected:
            raise InputError(path, f"{found} bytes (truncated)", f"{expected} according to the header", FETCH_AGAIN)


def _check_segments(folder: Path, record: str, header: wfdb.MultiRecord) -> None:
    """Check the sizes, checksums, sampling rates and units of the segments of a record.

    Raises:
        InputError: a segment is damaged, or differs from the record in its rate, or from another in a lead's unit.
    """
    units: dict[str, str] = {}
    for segment in dict.fromkeys(segment_names(folder, record)):
        path, part = _path(folder, segment, "hea"), _header(folder, segment)
        if part.fs != header.fs:
            found = f"{part.fs:g} Hz in a record of {header.fs:g} Hz"
            raise InputError(path, found, "segments of one sampling rate", "correct the header")
        for lead, unit in zip(part.sig_name or (), part.units or (), strict=False):
            if units.setdefault(lead, unit) != unit:
                found = f"lead {lead} in {unit}, in another segment in {units[lead]}"
                raise InputError(path, found, "one unit", "correct the header")
        if not part.sig_len or not isinstance(part, wfdb.Record):  # the layout of a record has no samples
            continue
        _check_sizes(folder, segment, part)
        try:
            data = wfdb.rdrecord(str(folder / segment), physical=False, smooth_frames=False, return_res=32)
        except Exception as error:  # wfdb raises various exceptions on damaged files
            raise InputError(path, _reason(error), "signals that wfdb can read", FETCH_AGAIN) from error
        _check_checksums(path, data)


def _check_checksums(path: Path, data: wfdb.Record) -> None:
    """Check the 16-bit sums of the stored samples against the header, in which 0 means that there is no sum.

    Leads with skew are not checked, because their samples are shifted while reading.
    """
    for lead, samples in enumerate(data.e_d_signal):
        expected = (data.checksum or [None] * len(data.e_d_signal))[lead]
        if not expected or (data.skew and data.skew[lead]):
            continue
        found = int(samples.sum(dtype=np.int64)) % 65536
        if found != expected % 65536:
            where, text = path.with_name(data.file_name[lead]), f"lead {data.sig_name[lead]} with checksum {found}"
            raise InputError(where, text, f"{expected % 65536} according to the header", FETCH_AGAIN)
