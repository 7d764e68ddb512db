"""WFDB annotation files: reader that corrects and counts invalid annotations.

Shapes: n annotations.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import wfdb

from keras_ecg.errors import InputError

FETCH = "run keras-ecg download (download_data.py), or correct the folder"
FETCH_AGAIN = "run keras-ecg download (download_data.py) again, which replaces damaged files"
BEAT_SYMBOLS = tuple("NLRBAaJSVrFejnE/fQ?")  # https://archive.physionet.org/physiobank/annotations.shtml
DUPLICATE, UNORDERED, OUTSIDE = "duplicate beats dropped", "out of order, sorted", "outside the signal, dropped"


@dataclass(frozen=True)
class Annotations:
    """Annotations of a recording in ascending order, with at most one beat per sample."""

    samples: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # (n,) int64, indices into the signal
    symbols: np.ndarray = field(default_factory=lambda: np.empty(0, "<U1"))  # (n,) str, such as "N", "V", "+"
    corrections: dict[str, int] = field(default_factory=dict)  # number of annotations by correction


def read_annotations(path: Path, length: int, sampling_rate_hz: float, frame_rate_hz: float) -> Annotations:
    """Read a WFDB annotation file.

    Faults that occur in public databases are corrected and counted: annotations out of order are sorted, those outside
    the signal are dropped, and of several beats at the same sample the first is kept.

    Args:
        path: path of the file; its suffix is the name of the annotator.
        length: number of samples of the signal.
        sampling_rate_hz: sampling rate of the signal.
        frame_rate_hz: frame rate in the record's header, the time unit of annotations unless the file states another.

    Returns:
        Annotations with sample indices at the sampling rate of the signal.

    Raises:
        InputError: the file is missing, truncated or unreadable, or most beats are outside the signal.
    """
    if not path.is_file():
        raise InputError(path, "no such file", "an annotation file", FETCH)
    if path.read_bytes()[-2:] != b"\0\0":  # end mark of annotation files in MIT format
        raise InputError(path, "no end mark (truncated)", "a complete annotation file", FETCH_AGAIN)
    try:
        found = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except Exception as error:  # wfdb raises various exceptions on damaged files
        reason = " ".join(f"{type(error).__name__} {error}".split())[:120]
        raise InputError(path, f"unreadable ({reason})", "a WFDB annotation file", FETCH_AGAIN) from error
    rate = float(found.fs or frame_rate_hz)
    samples = np.rint(np.asarray(found.sample, np.int64) * (sampling_rate_hz / rate)).astype(np.int64)
    symbols = np.asarray(found.symbol, dtype=str)
    annotations = correct_annotations(samples, symbols, length)
    beats = samples[np.isin(symbols, BEAT_SYMBOLS)]
    outside = int(np.count_nonzero((beats < 0) | (beats >= length)))
    if outside > len(beats) / 2:
        found_text = f"{outside} of {len(beats)} beats outside the signal's {length} samples"
        raise InputError(path, found_text, "the annotations of this signal", "check that both files belong together")
    return annotations


def correct_annotations(samples: np.ndarray, symbols: np.ndarray, length: int) -> Annotations:
    """Sort annotations, and drop those outside the signal and beats at the same sample as another beat.

    Args:
        samples: (n,) int64 sample indices, in the order of the file.
        symbols: (n,) str.
        length: number of samples of the signal.
    """
    unordered = int(np.count_nonzero(np.diff(samples) < 0))
    order = np.argsort(samples, kind="stable")
    samples, symbols = samples[order], symbols[order]
    inside = (samples >= 0) & (samples < length)
    samples, symbols = samples[inside], symbols[inside]
    beats = np.flatnonzero(np.isin(symbols, BEAT_SYMBOLS))
    duplicates = beats[1:][np.diff(samples[beats]) == 0]
    counts = {DUPLICATE: len(duplicates), UNORDERED: unordered, OUTSIDE: int(np.count_nonzero(~inside))}
    corrections = {what: count for what, count in counts.items() if count}
    return Annotations(np.delete(samples, duplicates), np.delete(symbols, duplicates), corrections)
