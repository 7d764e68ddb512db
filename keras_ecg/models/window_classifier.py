"""A classifier of beats on an encoder of whole windows: pretrained, or with random weights.

Shapes: B batch, T samples of a window, N tokens, D width, S beats in a sequence, R rhythm features.

The beat stands in the middle of its window: the classifier sees the tokens on both sides of it, and the rhythm features
where they come in.
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

    weights: str = ""  # a pretrained encoder: a preset, or a run folder; empty: random weights
    random: bool = False  # build it as those weights are, and initialize it anew: the baseline from scratch
    encoder: dict = field(default_factory=dict)  # without weights: hyperparameters of the objective that it is built by
    frozen_stages: int = 0  # from the input on: patch embedding or convolution, then blocks; -1 freezes the encoder
    reach: int = 3  # tokens on each side of the beat
    dropout: float = 0.2  # before the last layer


def stages(encoder: keras.Model) -> list[layers.Layer]:
    """The parts of an encoder that have weights, from the input on; of a Transformer each block."""
    out: list[layers.Layer] = []
    for layer in encoder.layers:
        if isinstance(layer, Transformer):
            out += [*layer.blocks, layer.norm]
        elif layer.weights:
            out.append(layer)
    return out


def freeze(encoder: keras.Model, count: int) -> None:
    """Freezes the first `count` stages of an encoder; all of them if it is negative.

    Raises:
        ValueError: it has fewer.
    """
    parts = stages(encoder)
    if count > len(parts):
        raise ValueError(f"{count} frozen stages of {len(parts)}")
    for part in parts if count < 0 else parts[:count]:
        part.trainable = False


@keras.saving.register_keras_serializable(package="keras_ecg")
class BeatTokens(layers.Layer):
    """The tokens on both sides of a window's middle: (B, N, D) to (B, 2 reach D)."""

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
    """The classifier.

    Args:
        objective: by which the encoder is built, `mae` or `contrastive`.
        shapes: of the inputs: `context` (T, 1), and `rr` (S, R) if it comes in.
        token: which beat of a sequence is labelled.
        classes: how many.
        config: the hyperparameters.

    Raises:
        InputError: no such weights, or weights for windows of another length; misspelt hyperparameters of the encoder.
        ValueError: no window, too few tokens, or too many frozen stages.
    """
    if "context" not in shapes:
        raise ValueError("an encoder of windows needs loader.context")
    shape = tuple(shapes["context"])
    if config.weights:
        encoder = load_model(find_encoder(config.weights) / "encoder.keras")
        encoder = keras.models.clone_model(encoder) if config.random else encoder
    else:
        encoder = build_objective(objective, shape, config.encoder).encoder
    if encoder.input_shape[1:] != shape:
        raise ValueError(f"an encoder of windows of {encoder.input_shape[1:]} is given {shape}")
    if not 0 < config.reach <= encoder.output_shape[1] // 2:
        raise ValueError(f"a reach of {config.reach} in {encoder.output_shape[1]} tokens")
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
