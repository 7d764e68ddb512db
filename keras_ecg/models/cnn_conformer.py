"""CNN-Conformer for heartbeats: a convolutional beat encoder, and Conformer blocks over the beats of a sequence.

Gulati A et al., Conformer: Convolution-augmented Transformer for Speech Recognition, Interspeech 2020,
https://arxiv.org/abs/2005.08100, whose blocks (macaron feed-forward halves, self-attention, convolution module)
run here over beats instead of speech frames.

Shapes: B batch, S beats, F scales, T samples, D width, R rhythm features.

Departures from the paper: learned absolute positions (a sequence has a handful of beats); one-dimensional strided
convolutions, scales as channels, instead of its two-dimensional subsampling; layer instead of batch normalization in
the convolution module; rhythm features and similarity to the record's median beat join each beat's vector before the
blocks, and once more after them.
"""

from dataclasses import dataclass

import keras
from keras import layers

from keras_ecg.layers.conformer import ConformerBlock
from keras_ecg.layers.positions import PositionEmbedding
from keras_ecg.models.heads import classification_head
from keras_ecg.models.inputs import beat_vectors, context_vector, named_inputs


@dataclass(frozen=True)
class CNNConformerConfig:
    """Hyperparameters of the CNN-Conformer."""

    width: int = 48  # D
    bottleneck: int = 32  # of a beat's shape: narrow, or the few training patients are learned by heart
    bins: int = 0  # of the piecewise linear encoding of rhythm and similarity; 0: plain numbers
    blocks: int = 1
    heads: int = 4
    kernel_size: int = 3  # of the convolution module, in beats
    expansion: int = 2  # of the feed-forward halves
    dropout: float = 0.2
    encoder_dropout: float = 0.3
    channel_dropout: float = 0.1  # of the beat encoder's feature maps
    beat_dropout: float = 0.25  # of a sequence's beat shapes altogether
    block_dropout: float = 0.2  # inside the Conformer blocks


def encode(inputs: dict[str, keras.KerasTensor], token: int, config: CNNConformerConfig) -> keras.KerasTensor:
    """Named inputs to one token per beat (B, S, D), or (B, S, 2 D) with the context beside it."""
    context = context_vector(inputs, token, config)
    x = beat_vectors(inputs, config)
    if context is not None:
        x = layers.Concatenate(name="join")([x, context])
    x = PositionEmbedding(name="positions")(layers.Dense(config.width, name="tokens")(x))
    for i in range(config.blocks):
        x = ConformerBlock(
            config.heads, config.kernel_size, config.expansion, config.block_dropout, name=f"conformer_{i}"
        )(x)
    return x if context is None else layers.Concatenate(name="encoded")([x, context])


def build(shapes: dict[str, tuple[int, ...]], token: int, classes: int, config: CNNConformerConfig) -> keras.Model:
    """The classifier: named inputs to probabilities (B, classes).

    Args:
        shapes: of the named inputs (`keras_ecg.models.inputs`), without the batch axis.
        token: which beat of the sequence is labelled.
        classes: how many.
        config: the hyperparameters.
    """
    inputs = named_inputs(shapes)
    tokens = encode(inputs, token, config)
    return keras.Model(inputs, classification_head(tokens, token, classes, config.dropout), name="cnn_conformer")
