"""Rhythm classifier of whole recordings on a pretrained or randomly initialised encoder of windows.

A recording is cut into consecutive windows of the encoder's length, whose tokens are concatenated for `rhythm_head`.
The last window is filled with the end of the recording in reverse, not with zeros, and the tokens of the filling are
masked.

Shapes: B batch, T samples, W windows of P samples, N tokens per window, D width.
"""

from dataclasses import dataclass, field

import keras
from keras import layers, ops

from keras_ecg.layers.masked import LengthMask
from keras_ecg.models.encoders import build_encoder
from keras_ecg.models.loading import find_encoder, load_model
from keras_ecg.models.rhythm_head import RhythmHeadConfig, rhythm_head, rhythm_inputs
from keras_ecg.models.window_classifier import freeze
from keras_ecg.signals.windows import zscore


@dataclass(frozen=True)
class RhythmEncoderConfig:
    """Hyperparameters of the classifier."""

    weights: str = ""  # pretrained encoder: a preset or a run folder; empty for random initialisation
    random: bool = False  # the architecture of `weights`, randomly initialised: the baseline trained from scratch
    encoder: str = "cnn_transformer"  # without `weights`: a key of `ENCODERS`
    options: dict = field(default_factory=dict)  # without `weights`: hyperparameters of the encoder
    window_seconds: float = 10.0  # without `weights`: length of its windows
    frozen_stages: int = 0  # counted from the input: patch embedding or convolutions, then blocks; -1 freezes all
    sampling_rate_hz: float = 100.0
    head: RhythmHeadConfig = field(default_factory=RhythmHeadConfig)


@keras.saving.register_keras_serializable(package="keras_ecg")
class RecordingWindows(layers.Layer):
    """Cut recordings (B, T, 1) of lengths (B,) into consecutive z-scored windows (B W, P, 1).

    Args:
        samples: P.
    """

    def __init__(self, samples: int = 1000, **kwargs):
        super().__init__(**kwargs)
        self.samples = samples

    def call(self, signals, length):
        rows, total = ops.shape(signals)[0], ops.shape(signals)[1]
        count = (total + self.samples - 1) // self.samples  # W
        at = ops.arange(count * self.samples, dtype="int32")[None]
        length = ops.maximum(ops.cast(length, "int32"), 1)[:, None]
        index = ops.where(at < length, at, length - 1 - (at - length) % length)  # (B, W P)
        values = ops.take_along_axis(signals[..., 0], index, axis=1)
        windows = ops.reshape(values, (rows * count, self.samples, 1))
        return ops.cast(zscore(ops.cast(windows, "float32"), ops), self.compute_dtype)

    def compute_output_shape(self, signals_shape, length_shape):
        return (None, self.samples, 1)

    def get_config(self):
        return {**super().get_config(), "samples": self.samples}


@keras.saving.register_keras_serializable(package="keras_ecg")
class JoinWindows(layers.Layer):
    """Concatenate the tokens (B W, N, D) of each recording's windows: (B, W N, D); lengths (B,) give the batch size."""

    def call(self, tokens, length):
        return ops.reshape(tokens, (ops.shape(length)[0], -1, tokens.shape[-1]))

    def compute_output_shape(self, tokens_shape, length_shape):
        return (length_shape[0], None, tokens_shape[-1])


def build(shapes: dict[str, tuple[int, ...]], token: int, classes: int, config: RhythmEncoderConfig) -> keras.Model:
    """Build the classifier: named inputs (`keras_ecg.models.rhythm_head`) to probabilities (B, classes).

    Args:
        shapes: shapes of the named inputs, without the batch axis.
        token: ignored, as a recording has one label.
        classes: number of classes.
        config: hyperparameters.

    Raises:
        InputError: unknown weights or encoder.
        ValueError: an encoder of several leads, or more frozen stages than there are.
    """
    rate = config.sampling_rate_hz
    if config.weights:
        encoder = load_model(find_encoder(config.weights) / "encoder.keras")
        encoder = keras.models.clone_model(encoder) if config.random else encoder
    else:
        encoder = build_encoder(config.encoder, (round(config.window_seconds * rate), 1), config.options)
    _, samples, leads = encoder.input_shape
    tokens_per_window = encoder.output_shape[1]
    if leads != 1:
        raise ValueError(f"the encoder takes {leads} leads, but rhythm recordings have one")
    freeze(encoder, config.frozen_stages)
    inputs = rhythm_inputs(shapes)
    windows = RecordingWindows(samples, name="windows")(inputs["signals"], inputs["length"])
    tokens = JoinWindows(name="tokens")(encoder(windows), inputs["length"])
    mask = LengthMask(samples / tokens_per_window, name="mask")(inputs["length"], tokens)
    outputs = rhythm_head(tokens, mask, inputs, rate * tokens_per_window / samples, rate, classes, config.head)
    return keras.Model(inputs, outputs, name="rhythm_encoder")
