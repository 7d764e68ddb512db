"""Models, one paper per file. `MODELS` maps each name to its dataclass of hyperparameters and its builder."""

from functools import partial

import keras

from keras_ecg.config import from_dict
from keras_ecg.errors import InputError
from keras_ecg.models import ablations, cnn_conformer, resnet1d, rhythm_encoder, window_classifier
from keras_ecg.models.loading import load_model
from keras_ecg.models.objectives import OBJECTIVES

__all__ = ["MODELS", "RHYTHM_MODELS", "build_model", "list_models", "load_model", "model_config"]

RHYTHM_MODELS = {  # classifiers of whole recordings
    "resnet1d": (resnet1d.ResNet1DConfig, resnet1d.build),
    "rhythm_encoder": (rhythm_encoder.RhythmEncoderConfig, rhythm_encoder.build),
}
MODELS = {
    "cnn_conformer": (cnn_conformer.CNNConformerConfig, cnn_conformer.build),
    "attention_only": (ablations.AttentionOnlyConfig, ablations.build_attention_only),
    "cnn_lstm": (ablations.ConvolutionConfig, ablations.build_cnn_lstm),
    "cnn": (ablations.ConvolutionConfig, ablations.build_cnn),
    **RHYTHM_MODELS,
    **{
        objective: (window_classifier.WindowClassifierConfig, partial(window_classifier.build, objective))
        for objective in OBJECTIVES
    },
}


def list_models() -> list[str]:
    """List the names that `build_model` accepts."""
    return list(MODELS)


def model_config(name: str, options: dict | None = None):
    """Return the dataclass of a model's hyperparameters: its defaults, overridden by `options`.

    Raises:
        InputError: unknown model or hyperparameter.
    """
    if name not in MODELS:
        raise InputError("model.name", repr(name), f"one of {', '.join(MODELS)}", "correct it")
    return from_dict(MODELS[name][0], options or {}, "model.options")


def build_model(
    name: str, shapes: dict[str, tuple[int, ...]], options: dict | None = None, *, token: int = 1, classes: int = 5
) -> keras.Model:
    """Build a classifier by name: named inputs to probabilities (B, classes).

    Args:
        name: a key of `MODELS`.
        shapes: shapes of the named inputs (`keras_ecg.models.inputs`), without the batch axis.
        options: hyperparameters that differ from the model's defaults.
        token: position of the labelled beat in a sequence.
        classes: number of classes.

    Raises:
        InputError: unknown model or hyperparameter, or an invalid combination of hyperparameters.
    """
    config = model_config(name, options)
    try:
        return MODELS[name][1](shapes, token, classes, config)
    except (ValueError, ZeroDivisionError) as error:
        found = str(error).strip().split("\n")[0]
        raise InputError(
            "model.options", found, f"hyperparameters of {name} that fit together", "correct them"
        ) from error
