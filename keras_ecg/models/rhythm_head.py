"""Classification head for the rhythm of a recording: pooled tokens, tokens at the beats, and RR features.

Inputs of every rhythm model:

    signals  (B, T, 1)  z-scores, zero-padded at the end
    length   (B,)       samples before the padding
    beats    (B, K)     R-peak times in seconds from the beginning, padded with -1

Shapes: B batch, T samples, N tokens, D width, K beats, R RR features of a recording.
"""

from dataclasses import dataclass

import keras
from keras import layers

from keras_ecg.layers.beat_rhythm import BeatMask, RecordingRhythm, TokensAtBeats
from keras_ecg.layers.masked import MaskedBatchNorm, MaskedPooling


@dataclass(frozen=True)
class RhythmHeadConfig:
    """Hyperparameters of the head."""

    features: bool = True  # use the recording's RR features
    beats: bool = True  # use the sequence of beats: tokens at the R peaks, with RR intervals
    width: int = 64
    kernel_size: int = 5  # of the convolutions over beats
    beat_blocks: int = 2
    dropout: float = 0.3


def rhythm_inputs(shapes: dict[str, tuple[int, ...]]) -> dict[str, keras.KerasTensor]:
    """Create the named inputs, from shapes without the batch axis.

    Raises:
        ValueError: an input is missing.
    """
    kinds = {"signals": "float32", "length": "int32", "beats": "float32"}
    if shapes.keys() != kinds.keys():
        raise ValueError(f"a rhythm model takes {', '.join(kinds)}, not {', '.join(shapes)}")
    return {name: keras.Input(shapes[name], name=name, dtype=kind) for name, kind in kinds.items()}


def beat_sequence(tokens: keras.KerasTensor, beats: keras.KerasTensor, rate: float, config: RhythmHeadConfig):
    """Encode the tokens (B, N, D) at the R peaks (B, K), with RR intervals, as one vector (B, 2 width)."""
    x = TokensAtBeats(rate, name="tokens_at_beats")(tokens, beats)  # (B, K, D + 7)
    mask = BeatMask(name="beat_mask")(beats)  # (B, K, 1)
    x = layers.Dense(config.width, use_bias=False, name="beat_embed")(x)
    x = layers.Activation("relu", name="beat_embed_active")(MaskedBatchNorm(name="beat_embed_norm")(x, mask))
    for i in range(config.beat_blocks):
        y = layers.Conv1D(config.width, config.kernel_size, padding="same", use_bias=False, name=f"beat_conv_{i}")(x)
        y = layers.Activation("relu", name=f"beat_active_{i}")(MaskedBatchNorm(name=f"beat_norm_{i}")(y, mask))
        x = layers.Add(name=f"beat_add_{i}")([x, layers.Dropout(config.dropout / 2, name=f"beat_drop_{i}")(y)])
    return MaskedPooling(name="beat_pool")(x, mask)


def rhythm_head(
    tokens: keras.KerasTensor,
    mask: keras.KerasTensor,
    inputs: dict[str, keras.KerasTensor],
    tokens_per_second: float,
    sampling_rate_hz: float,
    classes: int,
    config: RhythmHeadConfig,
) -> keras.KerasTensor:
    """Compute rhythm probabilities (B, classes) from an encoder's tokens.

    Args:
        tokens: (B, N, D), in order of time.
        mask: (B, N, 1), one for tokens that are not padding.
        inputs: named inputs of the model.
        tokens_per_second: rate of the tokens.
        sampling_rate_hz: sampling rate of the signals.
        classes: number of classes.
        config: hyperparameters.
    """
    features = [MaskedPooling(name="pool")(tokens, mask)]
    if config.beats:
        features.append(beat_sequence(tokens, inputs["beats"], tokens_per_second, config))
    if config.features:
        x = RecordingRhythm(sampling_rate_hz, name="rhythm")(inputs["beats"], inputs["length"])
        x = layers.BatchNormalization(name="rhythm_norm")(x)
        x = layers.Dense(config.width, activation="relu", name="rhythm_dense")(x)
        features.append(x)
    x = layers.Concatenate(name="known")(features) if len(features) > 1 else features[0]
    x = layers.Dropout(config.dropout, name="head_drop")(x)
    x = layers.Dense(config.width, activation="relu", name="head_dense")(x)
    x = layers.Dropout(config.dropout, name="head_drop_2")(x)
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
