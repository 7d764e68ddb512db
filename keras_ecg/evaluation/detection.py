"""Detected R peaks against annotated ones, by wfdb's comparator."""

import numpy as np
from wfdb.processing import compare_annotations

TOLERANCE_SECONDS = 0.15  # ANSI/AAMI EC57


def compare_peaks(reference: np.ndarray, detected: np.ndarray, sampling_rate_hz: float) -> tuple[int, int, int]:
    """Counts matched, spurious and missed R peaks; a match is at most TOLERANCE_SECONDS away.

    Args:
        reference: sample indices (n,) of the annotated peaks, ascending.
        detected: sample indices (m,) of the detected peaks, ascending.
        sampling_rate_hz: of both.

    Returns:
        True positives, false positives, false negatives.
    """
    if not len(reference) or not len(detected):
        return 0, len(detected), len(reference)
    found = compare_annotations(
        np.asarray(reference), np.asarray(detected), round(TOLERANCE_SECONDS * sampling_rate_hz)
    )
    return found.tp, found.fp, found.fn
