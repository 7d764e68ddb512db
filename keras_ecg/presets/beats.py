"""Classification of the beats of a recording: N, S, V, F and Q of ANSI/AAMI EC57."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import keras
import numpy as np

from keras_ecg.config import Config, from_dict, read_yaml, to_dict
from keras_ecg.data.beat_inputs import BeatInputs
from keras_ecg.databases import recordings
from keras_ecg.databases.mitdb import CLASS_OF_SYMBOL, CLASSES
from keras_ecg.databases.recordings import Recording
from keras_ecg.errors import InputError
from keras_ecg.files import read_json, write_json, write_yaml
from keras_ecg.models.loading import load_model, save_model
from keras_ecg.presets import BEATS, find_preset
from keras_ecg.presets.inputs import as_recording, with_beats
from keras_ecg.presets.results import BeatPredictions
from keras_ecg.signals.qrs import detect_qrs, similar_beats

BATCH_SIZE = 256  # of every call of the model: one shape, which is traced once
MIN_HEART_RATE = 15.0  # beats per minute of a whole recording; fewer detections are noise
MIN_SIMILAR = 0.1  # a smaller fraction of detected beats of similar shape is noted: in noise alone there are none
LONGEST_RR_SECONDS = 5.0  # a longer interval between detected beats is noted

Peaks = Literal["auto", "annotations", "detect"]


class BeatClassifier:
    """A trained classifier of beats with its normalization and its input specification.

    Args:
        model: from the inputs of `BeatInputs` to probabilities (B, 5).
        config: `beats`, `sequences` and `loader` say how beats are cut and what the model takes.
        mean: of the scalograms of the training split, broadcasting against (F, T, 1); None for none.
        scale: by which they are divided; the same.
    """

    classes = CLASSES

    def __init__(
        self, model: keras.Model, config: Config, mean: np.ndarray | None = None, scale: np.ndarray | None = None
    ):
        self.model, self.config, self.mean, self.scale = model, config, mean, scale

    @classmethod
    def from_preset(cls, preset: Path | str = BEATS) -> Self:
        """Loads a preset by name, or a folder: of `save_to_preset`, or of a finished evaluation.

        Raises:
            InputError: no such preset, or a file of it is missing or damaged.
        """
        folder = find_preset(preset, cls.__name__)
        config = from_dict(Config, read_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
        path = folder / "normalization.json"
        if not path.is_file():
            raise InputError(path, "no such file", "a beat classifier", "name another preset")
        values = {k: None if v is None else np.array(v, np.float32) for k, v in read_json(path).items()}
        return cls(load_model(folder), config, values["mean"], values["scale"])

    def save_to_preset(self, folder: Path | str) -> None:
        """Writes model.keras, normalization.json and config.yaml, which `from_preset` reads."""
        folder = Path(folder)
        save_model(folder / "model.keras", self.model)
        values = {k: None if v is None else v.tolist() for k, v in (("mean", self.mean), ("scale", self.scale))}
        write_json(folder / "normalization.json", values)
        write_yaml(folder / "config.yaml", to_dict(self.config))

    def predict(
        self,
        recording: Recording | Path | str | np.ndarray,
        sampling_rate_hz: float | None = None,
        leads: Sequence[str] | None = None,
        peaks: Peaks = "auto",
    ) -> BeatPredictions:
        """Classifies the beats of a recording.

        Args:
            recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
            sampling_rate_hz: of a signal.
            leads: names of the C leads of a signal.
            peaks: where the beats are: `annotations` (their symbols are not read), `detect` for R peaks that are
                detected, or `auto` for the annotations if there are any of beats.

        Raises:
            InputError: an unreadable recording, no lead that the model takes, or no beat.
        """
        recording = as_recording(recording, sampling_rate_hz, leads, annotated=peaks != "detect")
        recording, notes = self.locate_beats(recording, peaks)
        inputs = BeatInputs(recording, self.config, self.mean, self.scale, recording.record)
        found = [self.model.predict_on_batch(batch) for batch in inputs.batches(BATCH_SIZE)]
        probabilities = np.concatenate(found)[: len(inputs)]
        rate = recording.sampling_rate_hz
        return BeatPredictions(recording.record, rate, inputs.sample, probabilities, self.classes, notes)

    def locate_beats(self, recording: Recording, peaks: Peaks = "auto") -> tuple[Recording, tuple[str, ...]]:
        """The recording with the positions of its beats as its annotations, and notes for the user.

        Raises:
            InputError: no beat among the annotations, or as `detect_peaks`.
        """
        beats = np.isin(recording.symbols, list(CLASS_OF_SYMBOL))
        notes = [f"annotations: {count} {what}" for what, count in recording.corrections.items()]
        if peaks == "annotations" or (peaks == "auto" and beats.any()):
            return recording, tuple(notes)
        if len(recording.symbols) and peaks == "auto":
            notes.append("the annotations have no beats; R peaks are detected")
        recording, similar = self.detect_peaks(recording)
        if similar < MIN_SIMILAR:
            notes.append(f"the {len(recording.samples)} detected beats differ in shape: they may be noise")
        edges = np.concatenate([[0], recording.samples, [len(recording.signals)]]) / recording.sampling_rate_hz
        gaps = np.diff(edges)
        silent = gaps[gaps > LONGEST_RR_SECONDS].sum()
        if silent:
            causes = "noise, a loose electrode, fibrillation or asystole"
            notes.append(f"no beat found in {silent:.0f} of {edges[-1]:.0f} s: {causes}")
        return recording, tuple(notes)

    def detect_peaks(self, recording: Recording) -> tuple[Recording, float]:
        """Detect the R peaks of a recording.

        Returns:
            The recording with R peaks in place of its annotations, and `similar_beats` of them.

        Raises:
            InputError: the lead is missing or flat, or there is no ECG in it.
        """
        beats, where = self.config.beats, recording.record
        lead = recordings.choose_lead(recording.leads, beats.lead, beats.fallback_leads, where)
        recordings.check_rates(recording, [lead], where)
        signal, name = recording.signals[:, lead], recording.leads[lead]
        recordings.check_lead(signal, where, name)
        found = detect_qrs(signal, recording.sampling_rate_hz)
        if len(found) < max(1, MIN_HEART_RATE * len(signal) / recording.sampling_rate_hz / 60):
            text = f"no ECG in lead {name}: no QRS complex stands out of the noise"
            raise InputError(where, text, "an ECG", "check the electrodes, or give a recording with another lead")
        return with_beats(recording, found), similar_beats(signal, found, recording.sampling_rate_hz)
