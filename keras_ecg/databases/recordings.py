"""WFDB recordings read whole: signals in millivolts, leads by name, annotations, and every fault named.

    for record in list_records(folder):
        recording = read_recording(folder, record)
        lead = choose_lead(recording.leads, "MLII", ("V5",))
        check_lead(recording.signals[:, lead], folder, recording.leads[lead])

Shapes: T samples, L leads, n annotations.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wfdb

from keras_ecg.databases import cinc2017, mitdb, ptbxl
from keras_ecg.errors import InputError

FETCH = "run download_data.py, or name the right folder"
FETCH_AGAIN = "run download_data.py again, which replaces damaged files"
# Bytes per sample of the WFDB formats that are not compressed: https://physionet.org/physiotools/wag/signal-5.htm
FORMAT_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
MOST_MV = 1000  # what is made of larger samples would overflow float16
MILLIVOLTS = {"uV": 1e-3, "V": 1e3}  # a lead in another unit (mmHg) is left as it is


@dataclass(frozen=True)
class Recording:
    """One recording and all its annotations, beats or not."""

    record: str
    signals: np.ndarray  # (T, L) float32, mV; NaN where the file marks a sample as invalid
    leads: tuple[str, ...]
    sampling_rate_hz: float
    samples: np.ndarray  # (n,) int64, the annotations' own indices
    symbols: np.ndarray  # (n,) str, such as "N", "V", "+"


def list_records(folder: Path | str, database_name: str = "") -> list[str]:
    """The records of a folder: what its RECORDS file lists, else every `.hea` with a signal, sorted.

    PTB-XL's table says what it has: the same recordings stand there at two rates.

    Raises:
        InputError: no such folder, or no record in it.
    """
    if database_name == "ptbxl":
        return ptbxl.list_records(folder)
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder of WFDB records", FETCH)
    if (folder / "RECORDS").is_file():
        names = sorted(set((folder / "RECORDS").read_text(encoding="utf-8").split()))
    else:
        names = [p.stem for p in sorted(folder.glob("*.hea")) if _header(folder, p.stem).n_sig]
    if not names:
        raise InputError(folder, "no record", "WFDB records (.hea, .dat)", FETCH)
    return names


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
        parts = [f for name in header.seg_name if name != "~" for f in record_files(home, name, None)]
    else:
        parts = [home / name for name in dict.fromkeys(header.file_name or [])]
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
            data = wfdb.rdrecord(str(folder / record))
            values = data.p_signal.astype(np.float32)  # (T, L)
        else:
            data = wfdb.rdrecord(str(folder / record), physical=False, return_res=32)
            _check_checksums(path, data)
            values = data.dac(return_res=32)  # (T, L)
    except InputError:
        raise
    except Exception as error:  # what wfdb raises on a damaged file is not one kind of exception
        raise InputError(path, _reason(error), "signals that wfdb can read", FETCH_AGAIN) from error
    for lead, unit in enumerate(data.units):
        if unit in MILLIVOLTS:
            values[:, lead] *= MILLIVOLTS[unit]
    samples, symbols = np.empty(0, np.int64), np.empty(0, "<U1")
    if annotations:
        samples, symbols = _read_annotations(_path(folder, record, annotations), len(values), float(data.fs))
    return Recording(record, values, tuple(data.sig_name), float(data.fs), samples, symbols)


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


def subjects(folder: Path | str, database_name: str, records: list[str] | tuple[str, ...]) -> dict[str, str]:
    """The subject of each record: known for MIT-BIH, CinC 2017 and PTB-XL, else from subjects.csv, else the record.

    Raises:
        InputError: a subjects.csv without the columns record and subject, or without one of the records.
    """
    if database_name in ("mitdb", "sample"):
        return {record: mitdb.subject_of(record) for record in records}
    if database_name == "cinc2017":
        return {record: cinc2017.subject_of(record) for record in records}
    if database_name == "ptbxl":
        return _all_known(ptbxl.patients(folder), records, Path(folder) / ptbxl.TABLE)
    path = Path(folder) / "subjects.csv"
    if not path.is_file():
        return {record: record for record in records}
    with open(path, newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if not {"record", "subject"} <= set(reader.fieldnames or ()):
            found = f"columns {', '.join(reader.fieldnames or ()) or 'none'}"
            raise InputError(path, found, "the columns record,subject", "correct its first line")
        known = {row["record"]: row["subject"] for row in reader if row["subject"]}
    return _all_known(known, records, path)


def _all_known(known: dict[str, str], records: Sequence[str], path: Path) -> dict[str, str]:
    missing = [record for record in records if record not in known]
    if missing:
        raise InputError(path, f"no subject for {', '.join(missing)}", "one line per record", "add them")
    return {record: known[record] for record in records}


def _path(folder: Path, record: str, suffix: str) -> Path:
    return folder / f"{record}.{suffix}"  # not with_suffix: a record's name may hold a dot


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:120]


def _need(path: Path) -> None:
    if not path.is_file():
        raise InputError(path, "no such file", f"the record's .{path.suffix.lstrip('.')} file", FETCH)


def _header(folder: Path, record: str) -> wfdb.Record | wfdb.MultiRecord:
    path = _path(folder, record, "hea")
    _need(path)
    try:
        header = wfdb.rdheader(str(folder / record))
        if header.n_sig and isinstance(header, wfdb.Record) and len(header.file_name or ()) != header.n_sig:
            raise ValueError(f"{header.n_sig} signals announced, {len(header.file_name or ())} described")
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
    """The 16-bit sums of the samples are the header's; a 0 there means that its writer gave none."""
    if not data.checksum or any((n or 1) != 1 for n in data.samps_per_frame or ()):
        return
    sums = [int(samples.sum(dtype=np.int64)) % 65536 for samples in data.d_signal.T]
    for lead, found, expected in zip(data.sig_name, sums, data.checksum, strict=True):
        if expected and found != expected % 65536:
            where = path.with_name(data.file_name[data.sig_name.index(lead)])
            raise InputError(
                where, f"lead {lead} with checksum {found}", f"{expected % 65536} as the header says", FETCH_AGAIN
            )


def _read_annotations(path: Path, length: int, sampling_rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Annotation indices (n,) int64 and symbols (n,) str of a record of `length` samples."""
    _need(path)
    if path.read_bytes()[-2:] != b"\0\0":  # the mark that ends every MIT annotation file
        raise InputError(path, "no end mark (truncated)", "a whole annotation file", FETCH_AGAIN)
    try:
        notes = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except Exception as error:  # as above
        raise InputError(path, f"unreadable ({_reason(error)})", "a WFDB annotation file", FETCH_AGAIN) from error
    if notes.fs and float(notes.fs) != sampling_rate_hz:
        raise InputError(
            path, f"annotations at {notes.fs:g} Hz", f"the signal's {sampling_rate_hz:g} Hz", "resample them"
        )
    samples = np.asarray(notes.sample, np.int64)
    outside = samples[(samples < 0) | (samples >= length)]
    if len(outside):
        raise InputError(path, f"an annotation at sample {outside[0]}", f"0 to {length - 1}", FETCH_AGAIN)
    return samples, np.asarray(notes.symbol, dtype=str)
