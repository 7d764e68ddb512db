"""ECG strips around the most confident errors, for the report."""

import numpy as np

from keras_ecg.config import Config
from keras_ecg.databases import mitdb, recordings
from keras_ecg.evaluation import confident_errors
from keras_ecg.predictions import Predictions

SECONDS = 6.0


def error_strips(config: Config, predictions: Predictions) -> dict[str, np.ndarray]:
    """Read six seconds of the classified lead around the most confident errors, for `RunFolder.write_strips`.

    Args:
        config: configuration with the database folder and the lead.
        predictions: predictions of the model.
    """
    names = ("record", "sample", "y_true", "y_pred", "confidence", "signal", "beats", "start")
    out: dict[str, list] = {name: [] for name in names}
    mean = predictions.ensemble
    for i in confident_errors(predictions):
        recording = recordings.read_recording(config.database.data_dir, str(predictions.record[i]))
        rate = recording.sampling_rate_hz
        lead = recordings.choose_lead(recording.leads, config.beats.lead, config.beats.fallback_leads)
        width = int(SECONDS * rate)
        start = int(predictions.sample[i]) - width // 2
        strip = np.full(width, np.nan, np.float32)
        first, last = max(start, 0), min(start + width, len(recording.signals))
        strip[first - start : last - start] = recording.signals[first:last, lead]
        at = recording.samples[np.isin(recording.symbols, list(mitdb.CLASS_OF_SYMBOL))] - start
        at = at[(at >= 0) & (at < width)][:40]
        out["record"].append(str(predictions.record[i]))
        out["sample"].append(predictions.sample[i])
        out["y_true"].append(predictions.y_true[i])
        out["y_pred"].append(mean[i].argmax())
        out["confidence"].append(mean[i].max())
        out["signal"].append(strip)
        out["beats"].append(np.pad(at, (0, 40 - len(at)), constant_values=-1))
        out["start"].append(start)
    stacked = {name: np.array(values) for name, values in out.items()}
    return stacked | {"sampling_rate_hz": np.array(rate if out["record"] else config.beats.sampling_rate_hz)}
