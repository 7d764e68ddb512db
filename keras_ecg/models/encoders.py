"""Encoders of windows, (B, T, L) to (B, N, D): CNN, CNN-LSTM, CNN-attention-LSTM, CNN-Transformer, ResNet1D.

The first four share a front end of strided convolutions with one token per 32 samples. With `domain="frequency"` its
inputs are short-time Fourier magnitudes instead of samples. The ResNet1D (`keras_ecg.models.resnet1d`) has one token
per 16 samples.

Shapes: B batch, T samples, L leads, N tokens, D width.
"""

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from keras_ecg.config import from_dict
from keras_ecg.errors import InputError
from keras_ecg.layers.attention import SelfAttention
from keras_ecg.layers.positions import PositionEmbedding
from keras_ecg.layers.spectrum import Spectrum
from keras_ecg.layers.transformer import Transformer
from keras_ecg.models import resnet1d


@dataclass(frozen=True)
class CNNConfig:
    """Hyperparameters of the convolutional front end, and of the CNN and the CNN-LSTM."""

    width: int = 128  # D
    kernel_sizes: tuple[int, ...] = (15, 7, 5, 3)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    dropout: float = 0.1  # of whole channels after every convolution, and inside attention
    domain: Literal["time", "frequency"] = "time"
    frame_samples: int = 32  # of a short-time spectrum: 0.32 s at 100 Hz, longer than a QRS complex


@dataclass(frozen=True)
class CNNAttentionLSTMConfig(CNNConfig):
    """Hyperparameters of the CNN-attention-LSTM."""

    heads: int = 4


@dataclass(frozen=True)
class CNNTransformerConfig(CNNConfig):
    """Hyperparameters of the CNN-Transformer."""

    heads: int = 4
    blocks: int = 2
    expansion: int = 2  # of the feed-forward networks


def convolve(signals: keras.KerasTensor, config: CNNConfig) -> keras.KerasTensor:
    """Apply the strided convolutions: signals (B, T, L) to tokens (B, N, D), with increasing numbers of channels."""
    x, strides = signals, config.strides
    if config.domain == "frequency":
        # The hop of the spectra is the first stride, so that both domains have the same number of tokens.
        x = Spectrum(config.frame_samples, strides[0], name="spectrum")(x)
        strides = (1, *strides[1:])
    for i, (kernel, stride) in enumerate(zip(config.kernel_sizes, strides, strict=True)):
        channels = max(1, config.width // 2 ** max(0, len(strides) - 2 - i))
        x = layers.Conv1D(channels, kernel, stride, padding="same", name=f"convolution_{i}")(x)
        x = layers.LayerNormalization(name=f"norm_{i}")(x)
        x = layers.Activation("silu", name=f"active_{i}")(x)
        x = layers.SpatialDropout1D(config.dropout, name=f"drop_{i}")(x)
    return x


def recur(tokens: keras.KerasTensor, config: CNNConfig) -> keras.KerasTensor:
    """Apply a bidirectional LSTM with D / 2 units per direction to tokens (B, N, D)."""
    if config.width % 2:
        raise ValueError(f"a width of {config.width} is odd and cannot be split between two directions")
    return layers.Bidirectional(layers.LSTM(config.width // 2, return_sequences=True), name="lstm")(tokens)


def build_cnn(shape: tuple[int, int], config: CNNConfig) -> keras.Model:
    """Build the CNN."""
    signals = keras.Input(shape, name="signals")
    return keras.Model(signals, convolve(signals, config), name="cnn_encoder")


def build_cnn_lstm(shape: tuple[int, int], config: CNNConfig) -> keras.Model:
    """Build the CNN-LSTM: convolutions, then a bidirectional LSTM."""
    signals = keras.Input(shape, name="signals")
    return keras.Model(signals, recur(convolve(signals, config), config), name="cnn_lstm_encoder")


def build_cnn_attention_lstm(shape: tuple[int, int], config: CNNAttentionLSTMConfig) -> keras.Model:
    """Build the CNN-attention-LSTM: convolutions, self-attention without positions, then a bidirectional LSTM."""
    signals = keras.Input(shape, name="signals")
    x = SelfAttention(config.heads, config.dropout, name="attention")(convolve(signals, config))
    return keras.Model(signals, recur(x, config), name="cnn_attention_lstm_encoder")


def build_cnn_transformer(shape: tuple[int, int], config: CNNTransformerConfig) -> keras.Model:
    """Build the CNN-Transformer: convolutions, learned positions, then a pre-norm Transformer."""
    signals = keras.Input(shape, name="signals")
    x = PositionEmbedding(name="positions")(convolve(signals, config))
    x = Transformer(config.blocks, config.heads, config.expansion, config.dropout, name="transformer")(x)
    return keras.Model(signals, x, name="cnn_transformer_encoder")


ENCODERS = {
    "cnn": (CNNConfig, build_cnn),
    "cnn_lstm": (CNNConfig, build_cnn_lstm),
    "cnn_attention_lstm": (CNNAttentionLSTMConfig, build_cnn_attention_lstm),
    "cnn_transformer": (CNNTransformerConfig, build_cnn_transformer),
    "resnet1d": (resnet1d.ConvolutionsConfig, resnet1d.build_encoder),
}


def build_encoder(name: str, shape: tuple[int, int], options: dict | None = None) -> keras.Model:
    """Build an encoder by name: signals (B, T, L) to tokens (B, N, D).

    Args:
        name: a key of `ENCODERS`.
        shape: (T, L).
        options: hyperparameters that differ from the encoder's defaults.

    Raises:
        InputError: unknown encoder or hyperparameter, or an invalid combination of hyperparameters.
    """
    if name not in ENCODERS:
        raise InputError("encoder.name", repr(name), f"one of {', '.join(ENCODERS)}", "correct it")
    config_class, build = ENCODERS[name]
    config = from_dict(config_class, options or {}, "encoder.options")
    try:
        return build(shape, config)
    except (ValueError, ZeroDivisionError, IndexError) as error:
        found = str(error).strip().split("\n")[0]
        raise InputError(
            "encoder.options", found, f"hyperparameters of {name} that fit together", "correct them"
        ) from error
