"""WFDB recordings read whole: signals in millivolts, leads by name, annotations, and an error for every damaged file.

    for record in list_records(folder):
        recording = read_recording(folder, record)
        lead = choose_lead(recording.leads, "MLII", ("V5",))
        check_lead(recording.signals[:, lead], folder, recording.leads[lead])

Shapes: T samples, L leads, n annotations.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy
import wfdb

from keras_ecg.databases import ptbxl
from keras_ecg.databases.annotations import FETCH, FETCH_AGAIN, Annotations, read_annotations
from keras_ecg.errors import InputError

# Bytes per sample of the WFDB formats that are not compressed: https://physionet.org/physiotools/wag/signal-5.htm
FORMAT_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
MOST_MV = 1000  # what is made of larger samples would overflow float16
MILLIVOLTS = {"uV": 1e-3, "V": 1e3}  # a lead in another unit (mmHg) is left as it is
MIN_LEAD_RATE_HZ = 50.0  # an ECG recorded more slowly has lost its QRS complexes
GAP = "~"  # the name of a segment, or of a layout's file, that does not exist


@dataclass(frozen=True)
class Recording:
    """One recording and all its annotations, beats or not."""

    record: str
    signals: np.ndarray  # (T, L) float32, mV; NaN where the file marks a sample as invalid
    leads: tuple[str, ...]
    sampling_rate_hz: float
    samples: np.ndarray  # (n,) int64, the annotations' own indices
    symbols: np.ndarray  # (n,) str, such as "N", "V", "+"
    corrections: dict[str, int] = field(default_factory=dict)  # how many annotations, by what was done
    lead_rates_hz: tuple[float, ...] = ()  # as recorded; leads below `sampling_rate_hz` are interpolated


def list_records(folder: Path | str, database_name: str = "") -> list[str]:
    """The records of a folder: what its RECORDS file lists, else every `.hea` with a signal, sorted.

    A segment that the header of a multi-segment record names is a part of that record, and not a record itself.
    PTB-XL's table says what it has: the same recordings stand there at two rates.

    Raises:
        InputError: no such folder, or no record in it.
    """
    if database_name == "ptbxl":
        return ptbxl.list_records(folder)
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder of WFDB records", FETCH)
    listed = folder / "RECORDS"
    if listed.is_file():
        try:
            names = sorted(set(listed.read_text(encoding="utf-8-sig").split()))
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
    """Whether a header describes signals; one that cannot be read is left to the error of the record itself."""
    try:
        return bool(_header(folder, record).n_sig)
    except InputError:
        return True


def segment_names(folder: Path | str, record: str) -> list[str]:
    """The records that the header of a multi-segment record names as its segments; none of any other record."""
    path = _path(Path(folder), record, "hea")
    rows = _header_rows(path) if path.is_file() else []
    if not rows or "/" not in rows[0][0]:
        return []
    home = record.rpartition("/")[0]
    names = dict.fromkeys(words[0] for words in rows[1:] if words[0] != GAP)
    return [f"{home}/{name}" if home else name for name in names]


def check_no_segments(folder: Path | str, records: list[str] | tuple[str, ...]) -> None:
    """Checks that no record is a segment of another one.

    Raises:
        InputError: one is: its beats would be counted twice, and its subject could be on both sides of a split.
    """
    for record in records:
        both = set(segment_names(folder, record)) & set(records)
        if both:
            found = f"its segment {min(both)} as a further record"
            raise InputError(Path(folder) / record, found, "a record or its segments", "leave one of them out")


def without_suffix(path: Path) -> Path:
    """The record that a path of one of its files names."""
    return path.with_suffix("") if path.suffix in (".hea", ".dat", ".mat", ".atr") else path


def record_files(folder: Path | str, record: str, annotations: str | None = "atr") -> list[Path]:
    """The files that a record consists of: header, signal files, and annotations where there are any.

    Raises:
        InputError: a missing or unreadable header, or a missing signal file.
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
    """How long a record is, by its header; 0 where the header does not say.

    Raises:
        InputError: a missing or unreadable header.
    """
    header = _header(Path(folder), record)
    return (header.sig_len or 0) / header.fs


def read_recording(folder: Path | str, record: str, annotations: str | None = "atr") -> Recording:
    """Reads a record's signals, and its annotations unless `annotations` (the file's suffix) is None.

    Where leads have different numbers of samples in a frame, all are brought to the highest rate among them, and the
    annotations too: nothing is averaged.

    Raises:
        InputError: a missing, truncated or unreadable file, or samples that fail the header's checksum.
    """
    folder = Path(folder)
    path = _path(folder, record, "hea")
    header = _header(folder, record)
    if not header.n_sig:
        raise InputError(path, "no signal", "a header with at least one signal", "leave the record out")
    if isinstance(header, wfdb.Record):
        _check_sizes(folder, record, header)
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
    except Exception as error:  # what wfdb raises on a damaged file is not one kind of exception
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
    """Leads of so many samples in a frame as one signal (T, L) float32; those of fewer samples are interpolated."""
    most = max(frame)
    out = np.empty((max(map(len, columns)), len(columns)), np.float32)
    for lead, (values, count) in enumerate(zip(columns, frame, strict=True)):
        if count < most:
            filled = np.nan_to_num(values, nan=float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0)
            invalid = np.repeat(~np.isfinite(values), -(-most // count))[: len(out)]
            values = scipy.signal.resample_poly(filled, most, count, padtype="median")[: len(out)]
            values[: len(invalid)][invalid] = np.nan
        out[:, lead] = values
    return out


def choose_lead(leads: tuple[str, ...], wanted: str, fallbacks: tuple[str, ...] = (), where: object = "leads") -> int:
    """The index of the wanted lead, else of the first fallback that the record has.

    Raises:
        InputError: none of them is there; `where` names the record.
    """
    return choose_leads(leads, (wanted,), fallbacks, where, "beats.lead")[0]


def choose_leads(
    leads: tuple[str, ...],
    wanted: tuple[str, ...],
    fallbacks: tuple[str, ...] = (),
    where: object = "leads",
    setting: str = "windows.leads or windows.fallback_leads",
) -> list[int]:
    """The indices of the wanted leads, in that order; a missing one is replaced by the first fallback not yet taken.

    Upper and lower case are one: aVR is AVR in some databases.

    Raises:
        InputError: nothing is left for one of them; `where` names the record, `setting` what to change.
    """
    place = {name.casefold(): k for k, name in reversed(list(enumerate(leads)))}
    chosen = {name: place[name.casefold()] for name in wanted if name.casefold() in place}
    for name in wanted:
        if name not in chosen:
            there = [place[n.casefold()] for n in fallbacks if n.casefold() in place]
            left = [k for k in there if k not in chosen.values()]
            if not left:
                found = f"leads {', '.join(map(str, leads))}"
                expected = f"{name} or one of {', '.join(fallbacks)}" if fallbacks else name
                raise InputError(where, found, expected, f"name one of them as {setting}")
            chosen[name] = left[0]
    return [chosen[name] for name in wanted]


def check_amplitude(signal: np.ndarray, where: Path | str) -> None:
    """Checks that a signal, mV, of any shape, is one that a body makes.

    Raises:
        InputError: more than MOST_MV; `where` names the record.
    """
    most = np.abs(signal).max()
    if most > MOST_MV:
        raise InputError(where, f"{most:.0f} mV", f"at most {MOST_MV} mV", "correct the header's gain or unit")


def check_rates(recording: Recording, chosen: list[int], where: Path | str) -> None:
    """Checks that leads were recorded fast enough to be an ECG.

    Raises:
        InputError: less than MIN_LEAD_RATE_HZ; `where` names the record.
    """
    for lead in chosen:
        rate = recording.lead_rates_hz[lead] if recording.lead_rates_hz else recording.sampling_rate_hz
        if rate < MIN_LEAD_RATE_HZ:
            found = f"lead {recording.leads[lead]} at {rate:g} Hz"
            raise InputError(where, found, f"an ECG of at least {MIN_LEAD_RATE_HZ:g} Hz", "choose another lead")


def check_lead(signal: np.ndarray, path: Path | str, lead: str) -> None:
    """Checks that one lead, (T,) mV, holds a signal.

    Raises:
        InputError: a NaN in it, or the same value throughout.
    """
    do = "choose another lead (beats.lead) or leave the record out"
    missing = int(np.count_nonzero(~np.isfinite(signal)))
    if missing:
        found = f"lead {lead} with {missing} of {len(signal)} samples not a number"
        raise InputError(path, found, "a number for every sample", do)
    if not len(signal) or np.ptp(signal) == 0:
        raise InputError(path, f"lead {lead} flat", "a signal that varies", do)


def _path(folder: Path, record: str, suffix: str) -> Path:
    return folder / f"{record}.{suffix}"  # not with_suffix: a record's name may hold a dot


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:120]


def _need(path: Path) -> None:
    if not path.is_file():
        raise InputError(path, "no such file", f"the record's .{path.suffix.lstrip('.')} file", FETCH)


def _header_rows(path: Path) -> list[list[str]]:
    """The words of each line of a header that is no comment."""
    lines = path.read_bytes().decode("latin-1").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def _header(folder: Path, record: str) -> wfdb.Record | wfdb.MultiRecord:
    path = _path(folder, record, "hea")
    _need(path)
    try:
        header = wfdb.rdheader(str(folder / record))
        if header.n_sig and isinstance(header, wfdb.Record) and len(header.file_name or ()) != header.n_sig:
            raise ValueError(f"{header.n_sig} signals announced, {len(header.file_name or ())} described")
        rate = _header_rows(path)[0][2:3] or ["250"]  # the rate that WFDB takes where there is none
        if not (0 < float(re.split("[/(]", rate[0])[0]) < math.inf):  # wfdb takes what it cannot read for 250
            raise ValueError(f"a sampling rate of {rate[0]} Hz")
    except Exception as error:  # what wfdb raises on a damaged header is not one kind of exception
        raise InputError(path, f"unreadable header ({_reason(error)})", "a WFDB header", FETCH_AGAIN) from error
    return header


def _check_sizes(folder: Path, record: str, header: wfdb.Record) -> None:
    """Every signal file holds at least the bytes that its header announces."""
    for name in dict.fromkeys(header.file_name):
        path = (folder / record).parent / name
        _need(path)
        own = [k for k, file_name in enumerate(header.file_name) if file_name == name]
        size = FORMAT_BYTES.get(header.fmt[own[0]])
        if size is None or header.sig_len is None:
            continue
        count = header.sig_len * sum((header.samps_per_frame or [1] * header.n_sig)[k] or 1 for k in own)
        expected = math.ceil(count * size) + (header.byte_offset[own[0]] or 0)
        found = path.stat().st_size
        if found < expected:
            raise InputError(path, f"{found} bytes (truncated)", f"{expected} as the header says", FETCH_AGAIN)


def _check_checksums(path: Path, data: wfdb.Record) -> None:
    """The 16-bit sums of the stored samples are the header's; a 0 there means that its writer gave none.

    A lead with skew is left out: its samples are shifted as they are read.
    """
    for lead, samples in enumerate(data.e_d_signal):
        expected = (data.checksum or [None] * len(data.e_d_signal))[lead]
        if not expected or (data.skew and data.skew[lead]):
            continue
        found = int(samples.sum(dtype=np.int64)) % 65536
        if found != expected % 65536:
            where, text = path.with_name(data.file_name[lead]), f"lead {data.sig_name[lead]} with checksum {found}"
            raise InputError(where, text, f"{expected % 65536} as the header says", FETCH_AGAIN)
