"""R peaks of recordings: wfdb's XQRS with our search for local peaks against the same with its own."""

import numpy as np
from wfdb.processing import qrs
from wfdb.processing.peaks import find_local_peaks

from benchmarks.measure import Result, alternate, check_equal
from benchmarks.workspace import Workspace
from keras_ecg.databases.recordings import read_recording
from keras_ecg.signals.qrs import detect_qrs, local_peaks

NAME, TARGET = "detect-beats", 4
SECONDS = 60


def run(workspace: Workspace) -> Result:
    signals = []
    for record in workspace.records[: workspace.scale.turns * 4]:
        found = read_recording(workspace.database, record, None)
        rate = found.sampling_rate_hz
        signals.append(found.signals[: round(SECONDS * rate), 0])

    def detect(peaks) -> list[np.ndarray]:
        qrs.find_local_peaks = peaks
        try:
            return [detect_qrs(signal, rate) for signal in signals]
        finally:
            qrs.find_local_peaks = local_peaks

    both = [np.concatenate(detect(peaks)) for peaks in (local_peaks, find_local_peaks)]
    rows = [check_equal("R peaks", *both, 0)]

    def timed(peaks):
        return lambda: len(detect(peaks))

    turns = workspace.scale.turns
    compared = alternate(timed(local_peaks), timed(find_local_peaks), "recording", turns)
    rows += compared.rows(f"{SECONDS} s, a maximum filter, then the peaks", "a loop over all samples")
    return Result(NAME, compared.ratio, TARGET, rows)
