"""Models by name: the functions of `keras_ecg` that build and load models.

    from ModelBuilder import MODELS, build_model, load_model, load_rhythm_classifier

    model = build_model("cnn_conformer", {"scalograms": (3, 32, 187, 1), "rr": (3, 40)}, options={"width": 64})
    model = load_model("Research_Runs/final_ds1_ds2_cnn_conformer_…")
    classifier = load_rhythm_classifier("Research_Runs/final_rhythm_resnet1d_…")  # a keras_ecg.RecordingClassifier
    rhythm = classifier.predict("sample_data/100")

`MODELS` maps the name of every model to its dataclass of hyperparameters; `create_search_space` draws hyperparameters
from a search space for KerasTuner.
"""

from keras_ecg.experiments.tune import create_search_space
from keras_ecg.models import MODELS, build_model, load_model, model_config
from keras_ecg.presets.recordings import load_rhythm_classifier

__all__ = ["MODELS", "build_model", "create_search_space", "load_model", "load_rhythm_classifier", "model_config"]
