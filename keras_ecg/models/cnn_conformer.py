"""CNN-Conformer for heartbeats: a convolutional beat encoder, and Conformer blocks over the beats of a sequence.

Gulati A et al., Conformer: Convolution-augmented Transformer for Speech Recognition, Interspeech 2020,
https://arxiv.org/abs/2005.08100.

Shapes: B batch, S beats, F scales, T samples, D width, R RR features.

Departures from the paper: the blocks (half-step feed-forward networks, self-attention, convolution module) run over the
beats of a sequence instead of speech frames; learned absolute positions, as a sequence has only a few beats;
one-dimensional strided convolutions with the scales as channels instead of two-dimensional subsampling; layer instead
of batch normalization in the convolution module; RR features and similarity to the record's median beat are
concatenated to each beat's vector before the blocks and once more after them.
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
    bottleneck: int = 32  # width of a beat's vector: narrow, against overfitting to the few training subjects
    bins: int = 0  # of the piecewise-linear encoding of RR features and similarity; 0 for none
    blocks: int = 1
    heads: int = 4
    kernel_size: int = 3  # of the convolution module, in beats
    expansion: int = 2  # of the feed-forward networks
    dropout: float = 0.2
    encoder_dropout: float = 0.3
    channel_dropout: float = 0.1  # of whole channels in the beat encoder
    beat_dropout: float = 0.25  # of all beat vectors of a sequence at once
    block_dropout: float = 0.2  # inside the Conformer blocks


def encode(inputs: dict[str, keras.KerasTensor], token: int, config: CNNConformerConfig) -> keras.KerasTensor:
    """Encode named inputs as one token per beat: (B, S, D), or (B, S, 2 D) with the context vector concatenated."""
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
    """Build the classifier: named inputs to probabilities (B, classes).

    Args:
        shapes: shapes of the named inputs (`keras_ecg.models.inputs`), without the batch axis.
        token: position of the labelled beat in the sequence.
        classes: number of classes.
        config: hyperparameters.
    """
    inputs = named_inputs(shapes)
    tokens = encode(inputs, token, config)
    return keras.Model(inputs, classification_head(tokens, token, classes, config.dropout), name="cnn_conformer")
