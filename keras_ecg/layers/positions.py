"""Absolute position embeddings: learned, and fixed sines and cosines."""

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class PositionEmbedding(layers.Layer):
    """Add a learned vector per position to tokens (B, N, D)."""

    def build(self, shape):
        self.table = self.add_weight(
            shape=(1, shape[1], shape[2]), initializer=keras.initializers.RandomNormal(stddev=0.02), name="table"
        )

    def call(self, x):
        return x + self.table


def sin_cos_table(tokens: int, width: int) -> np.ndarray:
    """Return the fixed position table (N, D): sines, then cosines, at D / 2 wavelengths of 2 pi to 20000 pi tokens.

    Vaswani A et al., Attention Is All You Need, NeurIPS 2017, https://arxiv.org/abs/1706.03762. Sines and cosines are
    concatenated instead of interleaved, as in the reference code of the masked autoencoder.

    Args:
        tokens: N.
        width: D.

    Raises:
        ValueError: D is odd.
    """
    if width % 2:
        raise ValueError(f"a width of {width} does not divide into sines and cosines")
    frequencies = 10000.0 ** (-np.arange(width // 2) / (width // 2))
    angles = np.arange(tokens)[:, None] * frequencies  # (N, D / 2)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


@keras.saving.register_keras_serializable(package="keras_ecg")
class SinCosPositions(layers.Layer):
    """Add the fixed `sin_cos_table` to tokens (B, N, D); without weights, it fits windows of any length."""

    def build(self, shape):
        self.table = sin_cos_table(shape[1], shape[2])

    def call(self, x):
        return x + ops.cast(self.table, x.dtype)
