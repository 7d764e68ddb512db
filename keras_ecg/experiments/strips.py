"""ECG around the most confident errors, for a report."""

import numpy as np

from keras_ecg.config import Config
from keras_ecg.databases import mitdb, recordings
from keras_ecg.signals.filters import resample

SECONDS, PER_KIND, MOST = 6.0, 2, 12


def confident_errors(y_true: np.ndarray, probabilities: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Indices of the most confident errors, at most two of a kind (truth, guess) and one of a kind per record."""
    guess, confidence = probabilities.argmax(1), probabilities.max(1)
    chosen, kinds, seen = [], {}, set()
    for i in np.argsort(-confidence, kind="stable"):
        kind = (int(y_true[i]), int(guess[i]))
        if kind[0] == kind[1] or kinds.get(kind, 0) >= PER_KIND or (kind, records[i]) in seen:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
        seen.add((kind, records[i]))
        chosen.append(i)
    return np.array(chosen[:MOST], int)


def error_strips(config: Config, beats: dict[str, np.ndarray], probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of `RunFolder.write_strips`: six seconds of the scored lead around each of the worst errors.

    Args:
        config: names the recordings and the lead.
        beats: record, sample, label (n,) as `get_all_beats` gives them.
        probabilities: (n, 5).
    """
    rate = config.beats.sampling_rate_hz
    width = int(SECONDS * rate)
    out: dict[str, list] = {k: [] for k in ("record", "sample", "y_true", "y_pred", "confidence", "signal", "beats")}
    for i in confident_errors(beats["label"], probabilities, beats["record"]):
        record = str(beats["record"][i])
        recording = recordings.read_recording(config.database.data_dir, record)
        lead = recordings.choose_lead(recording.leads, config.beats.lead, config.beats.fallback_leads)
        scale = rate / recording.sampling_rate_hz
        signal = resample(recording.signals[:, lead], recording.sampling_rate_hz, rate)
        start = round(beats["sample"][i] * scale) - width // 2
        strip = np.full(width, np.nan, np.float32)
        first, last = max(start, 0), min(start + width, len(signal))
        strip[first - start : last - start] = signal[first:last]
        is_beat = np.isin(recording.symbols, list(mitdb.CLASS_OF_SYMBOL))
        at = np.rint(recording.samples[is_beat] * scale).astype(int) - start
        at = at[(at >= 0) & (at < width)][:40]
        out["record"].append(record)
        out["sample"].append(beats["sample"][i])
        out["y_true"].append(beats["label"][i])
        out["y_pred"].append(probabilities[i].argmax())
        out["confidence"].append(probabilities[i].max())
        out["signal"].append(strip)
        out["beats"].append(np.pad(at, (0, 40 - len(at)), constant_values=-1))
    return {k: np.array(v) for k, v in out.items()} | {"sampling_rate_hz": np.array(rate)}
