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
    "Encoder": "keras_ecg.encoders",
    "MODELS": "keras_ecg.models",
    "Recording": "keras_ecg.databases.recordings",
    "RecordingClassifier": "keras_ecg.presets.recordings",
    "RecordingPrediction": "keras_ecg.presets.results",
    "build_model": "keras_ecg.models",
    "create_dataset": "keras_ecg.data.pipeline",
    "evaluate": "keras_ecg.evaluation",
    "get_all_labels": "keras_ecg.data.pipeline",
    "list_models": "keras_ecg.models",
    "list_presets": "keras_ecg.presets",
    "load_config": "keras_ecg.config",
    "load_model": "keras_ecg.models",
    "load_predictions": "keras_ecg.predictions",
    "read_record": "keras_ecg.presets.inputs",
    "sample_record": "keras_ecg.resources",
    "training_statistics": "keras_ecg.data.statistics",
}

__all__ = [
    "BeatClassifier",
    "BeatPredictions",
    "Encoder",
    "MODELS",
    "Recording",
    "RecordingClassifier",
    "RecordingPrediction",
    "build_model",
    "create_dataset",
    "evaluate",
    "get_all_labels",
    "list_models",
    "list_presets",
    "load_config",
    "load_model",
    "load_predictions",
    "read_record",
    "sample_record",
    "training_statistics",
]

if TYPE_CHECKING:
    from keras_ecg.config import load_config
    from keras_ecg.data.pipeline import create_dataset, get_all_labels
    from keras_ecg.data.statistics import training_statistics
    from keras_ecg.databases.recordings import Recording
    from keras_ecg.encoders import Encoder
    from keras_ecg.evaluation import evaluate
    from keras_ecg.models import MODELS, build_model, list_models, load_model
    from keras_ecg.predictions import load_predictions
    from keras_ecg.presets import list_presets
    from keras_ecg.presets.beats import BeatClassifier
    from keras_ecg.presets.inputs import read_record
    from keras_ecg.presets.recordings import RecordingClassifier
    from keras_ecg.presets.results import BeatPredictions, RecordingPrediction
    from keras_ecg.resources import sample_record


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
