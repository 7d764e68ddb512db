"""Models by name.

    from ModelBuilder import MODELS, build_model, load_model

    model = build_model("cnn_conformer", {"scalograms": (3, 32, 187, 1), "rr": (3, 31)}, options={"width": 64})
    classifier = load_rhythm_classifier("Research_Runs/final_rhythm_resnet1d_…")  # (signal, rate) to N A O ~
    model = load_model("Research_Runs/final_ds1_ds2_cnn_conformer_…")

`MODELS` lists every model with its dataclass of hyperparameters; `create_search_space` adapts any of them to the tuner.
"""

from keras_ecg.experiments.tune import create_search_space
from keras_ecg.models import MODELS, build_model, load_model, model_config
from keras_ecg.presets.recordings import load_rhythm_classifier

__all__ = ["MODELS", "build_model", "create_search_space", "load_model", "load_rhythm_classifier", "model_config"]
