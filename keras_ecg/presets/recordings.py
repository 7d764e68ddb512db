"""Classification of whole recordings, such as by rhythm: one class per recording."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import keras
import numpy as np

from keras_ecg.calibration import scale_temperature
from keras_ecg.config import Config, from_dict, read_yaml, to_dict
from keras_ecg.data.rhythm_records import clean, configured_lead, samples_of
from keras_ecg.data.rhythm_stream import as_inputs, crop_starts
from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.databases.recordings import Recording
from keras_ecg.errors import InputError
from keras_ecg.files import read_json, write_json, write_yaml
from keras_ecg.models.loading import load_model, save_model
from keras_ecg.presets import RHYTHM, find_preset
from keras_ecg.presets.inputs import as_recording
from keras_ecg.presets.results import RecordingPrediction


class RecordingClassifier:
    """A trained classifier of single-lead recordings of any length, with temperature scaling.

    Args:
        model: Keras model from the inputs of `as_inputs` to probabilities (B, K).
        config: configuration; `rhythm` defines filtering, resampling and crops.
        temperature: divisor of the logits.
    """

    classes = CLASSES

    def __init__(self, model: keras.Model, config: Config, temperature: float = 1.0):
        self.model, self.config, self.temperature = model, config, temperature

    @classmethod
    def from_preset(cls, preset: Path | str = RHYTHM) -> Self:
        """Load a classifier.

        Args:
            preset: name of a preset, or a folder written by `save_to_preset` or by a finished held-out evaluation.

        Raises:
            InputError: unknown preset, or one with a missing or damaged file.
        """
        folder = find_preset(preset, cls.__name__)
        config = from_dict(Config, read_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
        files = [folder / name for name in ("calibration.json", "environment.json") if (folder / name).is_file()]
        values = read_json(files[0]) if files else {}
        if config.task != "rhythm" or "temperature" not in values:
            expected = "a preset, or a finished held-out evaluation of recordings"
            found = "no temperature" if config.task == "rhythm" else f"a model of task {config.task}"
            raise InputError(folder, found, expected, "give another preset or folder")
        return cls(load_model(folder), config, float(values["temperature"]))

    def save_to_preset(self, folder: Path | str) -> None:
        """Write model.keras, calibration.json and config.yaml, to be loaded by `from_preset`."""
        folder = Path(folder)
        save_model(folder / "model.keras", self.model)
        write_json(folder / "calibration.json", {"temperature": self.temperature})
        write_yaml(folder / "config.yaml", to_dict(self.config))

    def predict(
        self,
        recording: Recording | Path | str | np.ndarray,
        sampling_rate_hz: float | None = None,
        leads: Sequence[str] | None = None,
    ) -> RecordingPrediction:
        """Classify a recording; probabilities of long recordings are means over crops.

        Args:
            recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
            sampling_rate_hz: sampling rate, for a signal.
            leads: names of the C leads, for a signal.

        Raises:
            InputError: an unreadable recording, no supported lead, a flat signal, more than half of the samples
                missing, or less than one second.
        """
        recording = as_recording(recording, sampling_rate_hz, leads)
        signal, rate = configured_lead(recording, self.config.rhythm, recording.record)
        missing = float(np.mean(~np.isfinite(signal)))
        notes = (f"{100 * missing:.1f} % of the samples are missing and were interpolated",) if missing else ()
        return RecordingPrediction(recording.record, self.probabilities(signal, rate), self.classes, notes)

    def probabilities(self, signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
        """Compute probabilities (K,), after temperature scaling, of a single-lead signal (T,) in mV."""
        rhythm = self.config.rhythm
        rate, length = rhythm.sampling_rate_hz, samples_of(rhythm.window_seconds, rhythm)
        samples, beats = clean(np.asarray(signal, np.float32), sampling_rate_hz, rhythm)
        starts = crop_starts(len(samples), length, rhythm.crops)
        crops = [samples[start : start + length] for start in starts]
        times = [beats - np.float32(start / rate) for start in starts]
        times = [t[(t >= 0) & (t < len(crop) / rate)] for t, crop in zip(times, crops, strict=True)]
        per_crop = self.model.predict_on_batch(as_inputs(crops, times, rate, length))  # one shape, traced only once
        return scale_temperature(per_crop.mean(0), self.temperature)

    __call__ = probabilities  # as documented in ModelBuilder since 0.1.0


load_rhythm_classifier = RecordingClassifier.from_preset  # exported by ModelBuilder
