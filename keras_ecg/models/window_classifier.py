"""Beat classifier on a pretrained or randomly initialised encoder of windows.

The window is centred on the beat. The classifier uses the tokens on both sides of the centre and, optionally, RR
features.

Shapes: B batch, T samples of a window, N tokens, D width, S beats in a sequence, R RR features.
"""

from dataclasses import dataclass, field

import keras
from keras import layers

from keras_ecg.layers.transformer import Transformer
from keras_ecg.models.loading import find_encoder, load_model
from keras_ecg.models.objectives import build_objective


@dataclass(frozen=True)
class WindowClassifierConfig:
    """Hyperparameters of the classifier."""

    weights: str = ""  # pretrained encoder: a preset or a run folder; empty for random initialisation
    random: bool = False  # the architecture of `weights`, randomly initialised: the baseline trained from scratch
    encoder: dict = field(default_factory=dict)  # without `weights`: hyperparameters of the pretraining objective
    frozen_stages: int = 0  # counted from the input: patch embedding or convolutions, then blocks; -1 freezes all
    reach: int = 3  # tokens on each side of the beat
    dropout: float = 0.2  # before the last layer


def stages(encoder: keras.Model) -> list[layers.Layer]:
    """List the layers of an encoder that have weights, in order; each block of a Transformer is a stage."""
    out: list[layers.Layer] = []
    for layer in encoder.layers:
        if isinstance(layer, Transformer):
            out += [*layer.blocks, layer.norm]
        elif layer.weights:
            out.append(layer)
    return out


def freeze(encoder: keras.Model, count: int) -> None:
    """Freeze the first `count` stages of an encoder; all of them if `count` is negative.

    Raises:
        ValueError: `count` exceeds the number of stages.
    """
    parts = stages(encoder)
    if count > len(parts):
        raise ValueError(f"frozen_stages is {count}, but the encoder has {len(parts)} stages")
    for part in parts if count < 0 else parts[:count]:
        part.trainable = False


@keras.saving.register_keras_serializable(package="keras_ecg")
class BeatTokens(layers.Layer):
    """Concatenate the tokens on both sides of the window's centre: (B, N, D) to (B, 2 reach D)."""

    def __init__(self, reach: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.reach = reach

    def call(self, tokens):
        middle = tokens.shape[1] // 2
        near = tokens[:, middle - self.reach : middle + self.reach]
        return keras.ops.reshape(near, (-1, 2 * self.reach * tokens.shape[2]))

    def get_config(self):
        return {**super().get_config(), "reach": self.reach}


def build(objective: str, shapes: dict, token: int, classes: int, config: WindowClassifierConfig) -> keras.Model:
    """Build the classifier: named inputs to probabilities (B, classes).

    Args:
        objective: pretraining objective that defines the encoder without `weights`: a key of `OBJECTIVES`.
        shapes: shapes of the inputs: `context` (T, 1), and optionally `rr` (S, R).
        token: position of the labelled beat in a sequence.
        classes: number of classes.
        config: hyperparameters.

    Raises:
        InputError: unknown weights, or an unknown hyperparameter of the encoder.
        ValueError: no `context` input, windows of another shape, too few tokens, or too many frozen stages.
    """
    if "context" not in shapes:
        raise ValueError("an encoder of windows needs the input context: set loader.context")
    shape = tuple(shapes["context"])
    if config.weights:
        encoder = load_model(find_encoder(config.weights) / "encoder.keras")
        encoder = keras.models.clone_model(encoder) if config.random else encoder
    else:
        encoder = build_objective(objective, shape, config.encoder).encoder
    if encoder.input_shape[1:] != shape:
        raise ValueError(f"the encoder takes windows of shape {encoder.input_shape[1:]}, not {shape}")
    if not 0 < config.reach <= encoder.output_shape[1] // 2:
        raise ValueError(f"a reach of {config.reach} does not fit an encoder of {encoder.output_shape[1]} tokens")
    freeze(encoder, config.frozen_stages)
    inputs = {"context": keras.Input(shape, name="context")}
    x = BeatTokens(config.reach, name="tokens")(encoder(inputs["context"]))
    x = layers.LayerNormalization(name="tokens_norm")(x)
    if "rr" in shapes:
        inputs["rr"] = keras.Input(shapes["rr"], name="rr")
        rhythm = layers.BatchNormalization(name="rhythm_norm")(inputs["rr"][:, token])
        x = layers.Concatenate(name="known")([x, rhythm])
    x = layers.Dropout(config.dropout, name="head_drop")(x)
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name=f"{objective}_classifier")
