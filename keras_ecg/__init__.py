"""Keras ECG: from raw ECG recordings to inter-patient, leak-free results and usable Keras 3 models.

    import keras_ecg as ke

    beats = ke.BeatClassifier.from_preset().predict(ke.sample_record())
    print(beats.counts)
    vectors = ke.Encoder.from_preset("mae").embed(ke.sample_record())

Names are imported when they are first used: importing the package takes neither TensorFlow nor SciPy.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {  # the module that defines each public name
    "BeatClassifier": "keras_ecg.presets.beats",
    "BeatPredictions": "keras_ecg.presets.results",
    "EXPLANATIONS": "keras_ecg.evaluation",
    "Encoder": "keras_ecg.encoders",
    "InputError": "keras_ecg.errors",
    "MODELS": "keras_ecg.models",
    "Predictions": "keras_ecg.predictions",
    "Recording": "keras_ecg.databases.recordings",
    "RecordingClassifier": "keras_ecg.presets.recordings",
    "RecordingPrediction": "keras_ecg.presets.results",
    "build_model": "keras_ecg.models",
    "compare": "keras_ecg.evaluation",
    "confident_errors": "keras_ecg.evaluation",
    "create_dataset": "keras_ecg.data.pipeline",
    "create_rhythm_dataset": "keras_ecg.data.rhythm_stream",
    "create_search_space": "keras_ecg.experiments.tune",
    "create_window_dataset": "keras_ecg.data.window_stream",
    "curves": "keras_ecg.evaluation",
    "evaluate": "keras_ecg.evaluation",
    "evaluate_run": "keras_ecg.evaluation",
    "explain": "keras_ecg.evaluation",
    "get_all_beats": "keras_ecg.data.pipeline",
    "get_all_labels": "keras_ecg.data.pipeline",
    "get_all_recordings": "keras_ecg.data.rhythm_stream",
    "list_models": "keras_ecg.models",
    "list_presets": "keras_ecg.presets",
    "load_config": "keras_ecg.config",
    "load_model": "keras_ecg.models",
    "load_predictions": "keras_ecg.predictions",
    "load_rhythm_classifier": "keras_ecg.presets.recordings",
    "model_config": "keras_ecg.models",
    "read_record": "keras_ecg.presets.inputs",
    "sample_record": "keras_ecg.resources",
    "save_predictions": "keras_ecg.predictions",
    "split_subjects": "keras_ecg.data.window_stream",
    "training_statistics": "keras_ecg.data.statistics",
    "write_report": "keras_ecg.report",
}

__all__ = [
    "BeatClassifier",
    "BeatPredictions",
    "EXPLANATIONS",
    "Encoder",
    "InputError",
    "MODELS",
    "Predictions",
    "Recording",
    "RecordingClassifier",
    "RecordingPrediction",
    "build_model",
    "compare",
    "confident_errors",
    "create_dataset",
    "create_rhythm_dataset",
    "create_search_space",
    "create_window_dataset",
    "curves",
    "evaluate",
    "evaluate_run",
    "explain",
    "get_all_beats",
    "get_all_labels",
    "get_all_recordings",
    "list_models",
    "list_presets",
    "load_config",
    "load_model",
    "load_predictions",
    "load_rhythm_classifier",
    "model_config",
    "read_record",
    "sample_record",
    "save_predictions",
    "split_subjects",
    "training_statistics",
    "write_report",
]

if TYPE_CHECKING:
    from keras_ecg import metrics as metrics
    from keras_ecg.config import load_config
    from keras_ecg.data.pipeline import create_dataset, get_all_beats, get_all_labels
    from keras_ecg.data.rhythm_stream import create_rhythm_dataset, get_all_recordings
    from keras_ecg.data.statistics import training_statistics
    from keras_ecg.data.window_stream import create_window_dataset, split_subjects
    from keras_ecg.databases.recordings import Recording
    from keras_ecg.encoders import Encoder
    from keras_ecg.errors import InputError
    from keras_ecg.evaluation import EXPLANATIONS, compare, confident_errors, curves, evaluate, evaluate_run, explain
    from keras_ecg.experiments.tune import create_search_space
    from keras_ecg.models import MODELS, build_model, list_models, load_model, model_config
    from keras_ecg.predictions import Predictions, load_predictions, save_predictions
    from keras_ecg.presets import list_presets
    from keras_ecg.presets.beats import BeatClassifier
    from keras_ecg.presets.inputs import read_record
    from keras_ecg.presets.recordings import RecordingClassifier, load_rhythm_classifier
    from keras_ecg.presets.results import BeatPredictions, RecordingPrediction
    from keras_ecg.report import write_report
    from keras_ecg.resources import sample_record


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return importlib.import_module("keras_ecg.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
