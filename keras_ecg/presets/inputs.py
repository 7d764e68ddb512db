"""Conversion of the inputs of `predict` and `embed` (recording, path or arrays) to a `Recording`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_ecg.databases.paths import record_path
from keras_ecg.databases.recordings import Recording, read_recording
from keras_ecg.errors import InputError

NO_SAMPLES, NO_SYMBOLS = np.empty(0, np.int64), np.empty(0, "<U1")


def read_record(path: Path | str, annotator: str = "atr") -> Recording:
    """Read a WFDB record, and its annotations if there are any.

    Args:
        path: path of the record, with or without suffix.
        annotator: suffix of the annotation file.

    Raises:
        InputError: a missing, truncated or unreadable file.
    """
    path = record_path(path)
    annotated = path.with_name(f"{path.name}.{annotator}").is_file()
    return read_recording(path.parent, path.name, annotator if annotated else None)


def as_recording(
    recording: Recording | Path | str | np.ndarray,
    sampling_rate_hz: float | None = None,
    leads: Sequence[str] | None = None,
    annotated: bool = False,
) -> Recording:
    """Convert an input of `predict` or `embed` to a `Recording`.

    Args:
        recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
        sampling_rate_hz: sampling rate, for a signal.
        leads: names of the C leads, for a signal; optional for a single lead.
        annotated: read the annotations of a path, too.

    Raises:
        InputError: as in `read_record`, or a signal without sampling rate or with a wrong number of lead names.
    """
    if isinstance(recording, Recording):
        return recording
    if isinstance(recording, str | os.PathLike):
        path = record_path(os.fspath(recording))
        return read_record(path) if annotated else read_recording(path.parent, path.name, None)
    if isinstance(leads, str):
        leads = (leads,)
    if sampling_rate_hz is not None and not isinstance(sampling_rate_hz, int | float | np.number):
        raise InputError("sampling_rate_hz", repr(sampling_rate_hz), "a number", "correct it")
    signal = np.asarray(recording, np.float32)
    signal = signal[:, np.newaxis] if signal.ndim == 1 else signal
    if sampling_rate_hz is None or not 0 < sampling_rate_hz < np.inf:
        raise InputError(
            "sampling_rate_hz", str(sampling_rate_hz), "a positive sampling rate in Hz", "give sampling_rate_hz=..."
        )
    if leads is None and signal.ndim == 2 and signal.shape[1] == 1:
        leads = ("ECG",)
    names = tuple(leads or ())
    if signal.ndim != 2 or len(names) != signal.shape[1]:
        found = f"a signal of shape {np.shape(recording)} and {len(names)} leads"
        raise InputError("recording", found, "(T, C) in mV, and the names of its C leads", "give leads=[...]")
    return Recording("recording", signal, names, float(sampling_rate_hz), NO_SAMPLES, NO_SYMBOLS)


def with_beats(recording: Recording, samples: np.ndarray) -> Recording:
    """Return the recording with beats at the given samples (n,) as its annotations."""
    return replace(recording, samples=samples, symbols=np.full(len(samples), "N"), corrections={})
