"""Intervals and amplitudes of many recordings, measured in worker processes, which therefore import no Keras."""

from pathlib import Path

import numpy as np

from keras_ecg.databases import recordings
from keras_ecg.parallel import each
from keras_ecg.signals.intervals import interval_features


def recording_intervals(
    folder: Path | str, records: tuple[str, ...], leads: tuple[str, ...], jobs: int | None = None
) -> np.ndarray:
    """Compute `interval_features` of each recording.

    Args:
        folder: folder of the database.
        records: names of n records.
        leads: leads to measure.
        jobs: number of processes; None for one per core.

    Returns:
        (n, K) float32, in the order of the records; NaN for features that cannot be measured.

    Raises:
        InputError: a recording cannot be read, or lacks a lead.
    """

    def measure(record: str) -> tuple[str, np.ndarray]:
        recording = recordings.read_recording(folder, record, None)
        chosen = recordings.choose_leads(recording.leads, leads, (), Path(folder) / record, "leads")
        return record, interval_features(recording.signals[:, chosen], recording.sampling_rate_hz, leads)

    with each(measure, list(records), "measured", jobs) as results:
        features = dict(results)
    return np.stack([features[record] for record in records])
