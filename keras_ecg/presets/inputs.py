"""What a user hands to a classifier or an encoder, a recording, a path or arrays, as one `Recording`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_ecg.databases.recordings import Recording, read_recording, without_suffix
from keras_ecg.errors import InputError

NO_SAMPLES, NO_SYMBOLS = np.empty(0, np.int64), np.empty(0, "<U1")


def read_record(path: Path | str, annotator: str = "atr") -> Recording:
    """Reads a WFDB record with its annotations, where it has any.

    Args:
        path: of the record, with or without a suffix.
        annotator: suffix of the annotation file.

    Raises:
        InputError: a missing, truncated or unreadable file.
    """
    path = without_suffix(Path(path))
    annotated = path.with_name(f"{path.name}.{annotator}").is_file()
    return read_recording(path.parent, path.name, annotator if annotated else None)


def as_recording(
    recording: Recording | Path | str | np.ndarray,
    sampling_rate_hz: float | None = None,
    leads: Sequence[str] | None = None,
    annotated: bool = False,
) -> Recording:
    """A `Recording` of what `predict` and `embed` accept.

    Args:
        recording: a recording, the path of one, or its signal: (T,) or (T, C) in mV.
        sampling_rate_hz: of a signal.
        leads: the names of its C leads; one lead may go without a name.
        annotated: whether the annotations of a path are read, too.

    Raises:
        InputError: as `read_record`, or a signal without a sampling rate or with another number of leads.
    """
    if isinstance(recording, Recording):
        return recording
    if isinstance(recording, str | Path):
        path = without_suffix(Path(recording))
        return read_record(path) if annotated else read_recording(path.parent, path.name, None)
    signal = np.asarray(recording, np.float32)
    signal = signal[:, np.newaxis] if signal.ndim == 1 else signal
    if sampling_rate_hz is None or not 0 < sampling_rate_hz < np.inf:
        raise InputError(
            "sampling_rate_hz", str(sampling_rate_hz), "a positive sampling rate, of the signal", "give it"
        )
    if leads is None and signal.ndim == 2 and signal.shape[1] == 1:
        leads = ("ECG",)
    names = tuple(leads or ())
    if signal.ndim != 2 or len(names) != signal.shape[1]:
        found = f"a signal of shape {np.shape(recording)} and {len(names)} leads"
        raise InputError("recording", found, "(T, C) in mV, and the names of its C leads", "give leads=[...]")
    return Recording("recording", signal, names, float(sampling_rate_hz), NO_SAMPLES, NO_SYMBOLS)


def with_beats(recording: Recording, samples: np.ndarray) -> Recording:
    """The recording with beats at these samples (n,) in place of its annotations."""
    return replace(recording, samples=samples, symbols=np.full(len(samples), "N"), corrections={})
