"""Ablations of the CNN-Conformer with the same inputs, head and width: attention only, CNN-LSTM, CNN.

Shapes: B batch, S beats, F scales, T samples, P samples per patch, D width.
"""

from dataclasses import dataclass

import keras
from keras import layers, ops

from keras_ecg.layers.attention import SelfAttention
from keras_ecg.layers.feed_forward import HalfFeedForward
from keras_ecg.layers.positions import PositionEmbedding
from keras_ecg.models.heads import classification_head
from keras_ecg.models.inputs import BeatChannels, beat_vectors, context_vector, named_inputs


@dataclass(frozen=True)
class AttentionOnlyConfig:
    """Hyperparameters of the model without convolutions."""

    width: int = 48  # D
    bottleneck: int = 32
    bins: int = 0
    blocks: int = 2
    heads: int = 4
    patch_samples: int = 17  # P: 187 samples are 11 patches
    dropout: float = 0.2
    beat_dropout: float = 0.25


@dataclass(frozen=True)
class ConvolutionConfig:
    """Hyperparameters of the two models without attention."""

    width: int = 48  # D
    bottleneck: int = 32
    bins: int = 0
    dropout: float = 0.2
    encoder_dropout: float = 0.3
    channel_dropout: float = 0.1
    beat_dropout: float = 0.25


def _with_context(beats: keras.KerasTensor, inputs: dict, token: int, config) -> keras.KerasTensor:
    context = context_vector(inputs, token, config)
    return beats if context is None else layers.Concatenate(name="join")([beats, context])


def build_attention_only(shapes: dict, token: int, classes: int, config: AttentionOnlyConfig) -> keras.Model:
    """Build the model without convolutions: linear patch embedding of every beat, self-attention, feed-forward."""
    inputs = named_inputs(shapes)
    x = BeatChannels(name="channels")(inputs["scalograms"], inputs.get("waveforms"))  # (B, S, T, C)
    _, beats, samples, channels = x.shape
    patches = samples // config.patch_samples
    if not patches:
        raise ValueError(f"patches of {config.patch_samples} samples in beats of {samples}")
    x = ops.reshape(x[:, :, : patches * config.patch_samples], (-1, beats * patches, config.patch_samples * channels))
    x = PositionEmbedding(name="positions")(layers.Dense(config.width, name="patches")(x))
    for i in range(config.blocks):
        x = SelfAttention(config.heads, config.dropout, name=f"attention_{i}")(x)
        x = HalfFeedForward(2, config.dropout, name=f"feed_forward_{i}")(x)
    x = ops.mean(ops.reshape(x, (-1, beats, patches, config.width)), 2)  # (B, S, D)
    x = layers.Dense(config.bottleneck, activation="silu", name="beats")(x)
    x = layers.Dropout(config.beat_dropout, noise_shape=(None, 1, 1), name="beat_dropout")(x)
    x = layers.Dense(config.width, activation="silu", name="encoded")(_with_context(x, inputs, token, config))
    return keras.Model(inputs, classification_head(x, token, classes, config.dropout), name="attention_only")


def build_cnn_lstm(shapes: dict, token: int, classes: int, config: ConvolutionConfig) -> keras.Model:
    """Build the beat encoder, followed by a bidirectional LSTM over the beats."""
    inputs = named_inputs(shapes)
    x = _with_context(beat_vectors(inputs, config), inputs, token, config)
    x = layers.Bidirectional(layers.LSTM(config.width, return_sequences=True), name="lstm")(x)
    return keras.Model(inputs, classification_head(x, token, classes, config.dropout), name="cnn_lstm")


def build_cnn(shapes: dict, token: int, classes: int, config: ConvolutionConfig) -> keras.Model:
    """Build the beat encoder, followed by a dense layer over the concatenated beats."""
    inputs = named_inputs(shapes)
    x = _with_context(beat_vectors(inputs, config), inputs, token, config)
    x = layers.Dense(config.width, activation="silu", name="encoded")(layers.Flatten(name="flat")(x))
    return keras.Model(inputs, classification_head(x[:, None], 0, classes, config.dropout), name="cnn")
