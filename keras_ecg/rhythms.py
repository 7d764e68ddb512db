"""A trained rhythm model for use: recordings as they are in, tempered probabilities out.

classifier = load_rhythm_classifier("Research_Runs/final_rhythm_…")
probabilities = classifier(signal, 300.0)  # signal (M,) of one lead, mV, at 300 Hz: (4,) in the order N A O ~
"""

from pathlib import Path

import keras
import numpy as np

from keras_ecg.calibration import temper
from keras_ecg.config import Config, Rhythm, from_dict, read_yaml
from keras_ecg.data.rhythm_records import clean, samples_of
from keras_ecg.data.rhythm_stream import as_inputs, crop_starts
from keras_ecg.errors import InputError
from keras_ecg.files import read_json
from keras_ecg.models import load_model


class RhythmClassifier:
    """A model, the settings that its recordings are cleaned by, and its temperature."""

    def __init__(self, model: keras.Model, rhythm: Rhythm, temperature: float = 1.0):
        self.model, self.rhythm, self.temperature = model, rhythm, temperature

    def __call__(self, signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
        """Tempered probabilities (4,) of one lead (M,): of a long recording, means over crops of it."""
        rate, length = self.rhythm.sampling_rate_hz, samples_of(self.rhythm.window_seconds, self.rhythm)
        samples, beats = clean(np.asarray(signal, np.float32), sampling_rate_hz, self.rhythm)
        starts = crop_starts(len(samples), length, self.rhythm.crops)
        crops = [samples[start : start + length] for start in starts]
        times = [beats - np.float32(start / rate) for start in starts]
        times = [t[(t >= 0) & (t < len(crop) / rate)] for t, crop in zip(times, crops, strict=True)]
        found = self.model.predict_on_batch(as_inputs(crops, times, rate, length))  # one shape: compiled for once
        return temper(found.mean(0), self.temperature)


def load_rhythm_classifier(folder: Path | str) -> RhythmClassifier:
    """The classifier of a run folder of a held-out evaluation of rhythms.

    Raises:
        InputError: a file is missing or damaged, or the run is of another task.
    """
    folder = Path(folder)
    config = from_dict(Config, read_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
    environment = read_json(folder / "environment.json")
    if config.task != "rhythm" or "temperature" not in environment:
        expected = "a finished final evaluation of rhythms"
        raise InputError(folder, f"a run of {config.task}, without weights for use", expected, "name another --run")
    return RhythmClassifier(load_model(folder), config.rhythm, float(environment["temperature"]))
