"""Objectives of self-supervised pretraining. `OBJECTIVES` maps each name to its hyperparameters and its builder.

An objective is a Keras model that is fitted to dicts of `signals` (B, T, L) and `subject` (B,) int, as the window
stream yields them. Its `encoder` maps signals to tokens (B, N, D) and is the result of pretraining. An objective may
define `begin(signals, batches, accumulated)`, called before training with some training windows (n, T, L), the number
of training batches, and the number of batches per optimizer step; and `scores(signals, seed)`, which an evaluation
stores for held-out windows. The losses of `contrastive` depend on the batch, so it has no `scores`.
"""

from dataclasses import dataclass, field

import keras

from keras_ecg.config import from_dict
from keras_ecg.errors import InputError
from keras_ecg.models.contrastive import Contrastive, view_shape
from keras_ecg.models.ecg_jepa import ECGJEPA, ECGJEPAConfig
from keras_ecg.models.encoders import build_encoder
from keras_ecg.models.mae import MAEConfig, MaskedAutoencoder
from keras_ecg.models.st_mem import STMEM, STMEMConfig
from keras_ecg.models.vqvae import VQVAE, VQVAEConfig
from keras_ecg.signals.window_augment import WindowAugment


@dataclass(frozen=True)
class ContrastiveConfig:
    """Hyperparameters of the contrastive objectives."""

    objective: str = "nt_xent"  # or cmsc (halves in time), cmlc (leads), cmsmlc (both)
    level: str = "window"  # or token: contrast tokens, with nt_xent and without augmentations that move samples
    encoder: str = "cnn_transformer"  # or cnn, cnn_lstm, cnn_attention_lstm, resnet1d
    encoder_options: dict = field(default_factory=dict)
    temperature: float = 0.1
    projection: int = 128
    augment: WindowAugment = field(default_factory=WindowAugment)  # a probability of 0 turns augmentation off


def build_contrastive(shape: tuple[int, int], config: ContrastiveConfig, seed: int) -> keras.Model:
    """Build an encoder of views with a contrastive objective."""
    encoder = build_encoder(config.encoder, view_shape(shape, config.objective), config.encoder_options)
    augment = config.augment if config.augment.probability else None
    if config.level == "token" and augment and (augment.time_warp or augment.permutation):
        raise ValueError("level token needs augment.time_warp and augment.permutation of 0")
    return Contrastive(encoder, config.objective, config.level, config.temperature, config.projection, augment, seed)


OBJECTIVES = {
    "mae": (MAEConfig, MaskedAutoencoder),
    "contrastive": (ContrastiveConfig, build_contrastive),
    "st_mem": (STMEMConfig, STMEM),
    "ecg_jepa": (ECGJEPAConfig, ECGJEPA),
    "vqvae": (VQVAEConfig, VQVAE),
}


def objective_config(name: str, options: dict | None = None):
    """Return the dataclass of an objective's hyperparameters: its defaults, overridden by `options`.

    Raises:
        InputError: unknown objective or hyperparameter.
    """
    if name not in OBJECTIVES:
        raise InputError("model.name", repr(name), f"one of {', '.join(OBJECTIVES)}", "correct it")
    return from_dict(OBJECTIVES[name][0], options or {}, "model.options")


def build_objective(name: str, shape: tuple[int, int], options: dict | None = None, seed: int = 0) -> keras.Model:
    """Build a pretraining objective with its encoder.

    Args:
        name: a key of `OBJECTIVES`.
        shape: (T, L) of the windows.
        options: hyperparameters that differ from the objective's defaults.
        seed: seed of masks and augmentation; the weights depend on Keras' global seed.

    Raises:
        InputError: unknown objective or hyperparameter, or hyperparameters that do not fit each other or the windows.
    """
    config = objective_config(name, options)
    try:
        return OBJECTIVES[name][1](shape, config, seed)
    except (ValueError, ZeroDivisionError) as error:
        found = str(error).strip().split("\n")[0]
        raise InputError(
            "model.options", found, f"hyperparameters of {name} that fit together", "correct them"
        ) from error
