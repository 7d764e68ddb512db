"""Classification of the beats of a recording into the ANSI/AAMI EC57 classes N, S, V, F and Q."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, get_args

import keras
import numpy as np

from keras_ecg.config import Config, from_dict, read_yaml, to_dict
from keras_ecg.data.beat_inputs import BeatInputs
from keras_ecg.databases import recordings
from keras_ecg.databases.mitdb import CLASS_OF_SYMBOL, CLASSES
from keras_ecg.databases.recordings import Recording
from keras_ecg.errors import InputError
from keras_ecg.files import read_json, write_yaml
from keras_ecg.models.loading import load_model, save_normalized
from keras_ecg.presets import BEATS, find_preset
from keras_ecg.presets.inputs import as_recording, with_beats
from keras_ecg.presets.results import BeatPredictions
from keras_ecg.signals.qrs import detect_qrs, similar_beats

BATCH_SIZE = 256  # constant, so that the model is traced only once
MIN_HEART_RATE = 15.0  # beats per minute of a whole recording; fewer detections are noise
MIN_SIMILAR = 0.1  # a smaller fraction of detected beats of similar shape is noted: in noise alone there are none
LONGEST_RR_SECONDS = 5.0  # longer intervals without detected beats are reported in the notes

Peaks = Literal["auto", "annotations", "detect"]


class BeatClassifier:
    """A trained beat classifier with its normalization and its input specification.

    Args:
        model: Keras model from the inputs of `BeatInputs` to probabilities (B, 5).
        config: configuration; `beats`, `sequences` and `loader` define the segmentation and the model's inputs.
        mean: mean of the training scalograms, broadcastable to (F, T, 1); None for no normalization.
        scale: divisor of the scalograms, of the same shape.
    """

    classes = CLASSES

    def __init__(
        self, model: keras.Model, config: Config, mean: np.ndarray | None = None, scale: np.ndarray | None = None
    ):
        self.model, self.config, self.mean, self.scale = model, config, mean, scale

    @classmethod
    def from_preset(cls, preset: Path | str = BEATS) -> Self:
        """Load a classifier.

        Args:
            preset: name of a preset, or a folder written by `save_to_preset` or by a finished evaluation.

        Raises:
            InputError: unknown preset, or one with a missing or damaged file.
        """
        folder = find_preset(preset, cls.__name__)
        config = from_dict(Config, read_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
        path = folder / "normalization.json"
        if not path.is_file():
            raise InputError(path, "no such file", "the normalization of a beat classifier", "give another preset")
        values = {k: None if v is None else np.array(v, np.float32) for k, v in read_json(path).items()}
        return cls(load_model(folder), config, values["mean"], values["scale"])

    def save_to_preset(self, folder: Path | str) -> None:
        """Write model.keras, normalization.json and config.yaml, to be loaded by `from_preset`."""
        save_normalized(folder, self.model, self.mean, self.scale)
        write_yaml(Path(folder) / "config.yaml", to_dict(self.config))

    def predict(
        self,
        recording: Recording | Path | str | np.ndarray,
        sampling_rate_hz: float | None = None,
        leads: Sequence[str] | None = None,
        peaks: Peaks = "auto",
    ) -> BeatPredictions:
        """Classify the beats of a recording.

        Args:
            recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
            sampling_rate_hz: sampling rate, for a signal.
            leads: names of the C leads, for a signal.
            peaks: source of the R peaks: `annotations` (their symbols are ignored), `detect` for the QRS detector, or
                `auto` for annotations if they contain beats, else the detector.

        Raises:
            InputError: an unreadable recording, no supported lead, or no beat.
        """
        recording = as_recording(recording, sampling_rate_hz, leads, annotated=peaks != "detect")
        recording, notes = self.locate_beats(recording, peaks)
        inputs = BeatInputs(recording, self.config, self.mean, self.scale, recording.record)
        batches = [self.model.predict_on_batch(batch) for batch in inputs.batches(BATCH_SIZE)]
        probabilities = np.concatenate(batches)[: len(inputs)]
        rate = recording.sampling_rate_hz
        return BeatPredictions(recording.record, rate, inputs.sample, probabilities, self.classes, notes)

    def locate_beats(self, recording: Recording, peaks: Peaks = "auto") -> tuple[Recording, tuple[str, ...]]:
        """Return the recording with its beats as annotations, and notes on corrections and gaps.

        Raises:
            InputError: annotations without beats, or as in `detect_peaks`.
        """
        if peaks not in get_args(Peaks):
            raise InputError("peaks", repr(peaks), f"one of {', '.join(get_args(Peaks))}", "correct it")
        beats = np.isin(recording.symbols, list(CLASS_OF_SYMBOL))
        notes = [f"annotations: {count} {what}" for what, count in recording.corrections.items()]
        if peaks == "annotations" or (peaks == "auto" and beats.any()):
            return recording, tuple(notes)
        if len(recording.symbols) and peaks == "auto":
            notes.append("the annotations contain no beats; R peaks were detected")
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
            InputError: a missing or flat lead, or one without QRS complexes.
        """
        beats, where = self.config.beats, recording.record
        lead = recordings.choose_lead(recording.leads, beats.lead, beats.fallback_leads, where)
        recordings.check_rates(recording, [lead], where)
        signal, name = recording.signals[:, lead], recording.leads[lead]
        recordings.check_lead(signal, where, name)
        peaks = detect_qrs(signal, recording.sampling_rate_hz)
        if len(peaks) < max(1, MIN_HEART_RATE * len(signal) / recording.sampling_rate_hz / 60):
            text = f"no ECG in lead {name}: no QRS complex was detected above the noise"
            raise InputError(where, text, "an ECG", "check the electrodes, or give a recording with another lead")
        return with_beats(recording, peaks), similar_beats(signal, peaks, recording.sampling_rate_hz)
