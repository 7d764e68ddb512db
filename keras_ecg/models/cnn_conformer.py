"""CNN-Conformer for heartbeats: a convolutional beat encoder, and Conformer blocks over the beats of a sequence.

Gulati A et al., Conformer: Convolution-augmented Transformer for Speech Recognition, Interspeech 2020,
https://arxiv.org/abs/2005.08100, whose blocks (macaron feed-forward halves, self-attention, convolution module)
run here over beats instead of speech frames.

Shapes: B batch, S beats, F scales, T samples, D width, R rhythm features.

Departures from the paper: learnt absolute positions (a sequence has a handful of beats); one-dimensional strided
convolutions, scales as channels, instead of its two-dimensional subsampling; layer instead of batch normalization in
the convolution module; rhythm features join each beat's vector before the blocks and, with it, after them.
"""

from dataclasses import dataclass

import keras
from keras import layers

from keras_ecg.layers.beat_encoder import BeatEncoder
from keras_ecg.layers.conformer import ConformerBlock
from keras_ecg.layers.positions import PositionEmbedding
from keras_ecg.models.heads import classification_head
from keras_ecg.models.inputs import BeatChannels, named_inputs, rhythm_vector


@dataclass(frozen=True)
class CNNConformerConfig:
    """Knobs of the CNN-Conformer."""

    width: int = 48  # D
    blocks: int = 1
    heads: int = 4
    kernel_size: int = 3  # of the convolution module, in beats
    expansion: int = 2  # of the feed-forward halves
    dropout: float = 0.2
    channel_dropout: float = 0.1  # of the beat encoder's first feature maps


def encode(inputs: dict[str, keras.KerasTensor], config: CNNConformerConfig) -> keras.KerasTensor:
    """Named inputs to one token per beat (B, S, D)."""
    channels = BeatChannels(name="channels")(inputs["scalograms"], inputs.get("waveforms"))  # (B, S, T, C)
    beats = BeatEncoder(
        config.width, channel_dropout=config.channel_dropout, dropout=config.dropout, name="beat_encoder"
    )(channels)
    parts = [beats]
    if "rr" in inputs:
        parts.append(rhythm_vector(inputs["rr"], config.width, config.dropout))
    x = layers.Concatenate(name="join")(parts) if len(parts) > 1 else beats
    x = PositionEmbedding(name="positions")(layers.Dense(config.width, name="tokens")(x))
    for i in range(config.blocks):
        x = ConformerBlock(
            config.heads, config.kernel_size, config.expansion, config.dropout, name=f"conformer_{i}"
        )(x)
    x = layers.Concatenate(name="skip")([x, *parts])
    x = layers.Dropout(config.dropout, name="skip_drop")(x)
    return layers.Dense(config.width, activation="silu", name="encoded")(x)


def build(shapes: dict[str, tuple[int, ...]], token: int, classes: int, config: CNNConformerConfig) -> keras.Model:
    """The classifier: named inputs to probabilities (B, classes).

    Args:
        shapes: of the named inputs (`keras_ecg.models.inputs`), without the batch axis.
        token: which beat of the sequence is labelled.
        classes: how many.
        config: the knobs.
    """
    inputs = named_inputs(shapes)
    tokens = encode(inputs, config)
    return keras.Model(inputs, classification_head(tokens, token, classes, config.dropout), name="cnn_conformer")
