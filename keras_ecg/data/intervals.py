"""Intervals and amplitudes of many recordings, without Keras: worker processes measure them."""

from pathlib import Path

import numpy as np

from keras_ecg.databases import recordings
from keras_ecg.parallel import each
from keras_ecg.signals.intervals import interval_features


def recording_intervals(
    folder: Path | str, records: tuple[str, ...], leads: tuple[str, ...], jobs: int | None = None
) -> np.ndarray:
    """What `interval_features` measures on each recording.

    Args:
        folder: of the database.
        records: n of them.
        leads: those that are measured; every recording has them.
        jobs: processes; None for one per core.

    Returns:
        (n, K) float32, in the order of the records; NaN where something cannot be measured.

    Raises:
        InputError: a recording cannot be read, or lacks a lead.
    """

    def measure(record: str) -> tuple[str, np.ndarray]:
        recording = recordings.read_recording(folder, record, None)
        own = recording.signals[:, recordings.choose_leads(recording.leads, leads, (), Path(folder) / record, "leads")]
        return record, interval_features(own, recording.sampling_rate_hz, leads)

    with each(measure, list(records), "measured", jobs) as results:
        features = dict(results)
    return np.stack([features[record] for record in records])
