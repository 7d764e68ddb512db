"""Pre-norm multi-head self-attention over tokens (B, N, D), with optional rotary positions.

With `rows` the N tokens form a grid of that many rows, stored row after row, and each token attends to its own row and
its own column only (`cross_pattern`).
"""

import keras
import numpy as np
from keras import layers, ops

MASKED_SCORE = -3e4  # its softmax weight is zero, and float16 can represent it


@keras.saving.register_keras_serializable(package="keras_ecg")
class SelfAttention(layers.Layer):
    """Pre-norm multi-head self-attention: x + MHSA(x), tokens (B, N, D) to (B, N, D)."""

    def __init__(self, heads: int = 4, dropout: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.dropout = heads, dropout

    def build(self, shape):
        if shape[-1] % self.heads:
            raise ValueError(f"a width of {shape[-1]} does not divide into {self.heads} heads")
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        self.attend = layers.MultiHeadAttention(
            self.heads, shape[-1] // self.heads, dropout=self.dropout, name="attend", dtype=self.dtype_policy
        )
        self.drop = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.norm.build(shape)
        self.attend.build(shape, shape)

    def call(self, x, rows=None, training=None):
        y, allowed = self.norm(x), None if rows is None else cross_pattern(rows, x.shape[1] // rows)
        return x + self.drop(self.attend(y, y, attention_mask=allowed, training=training), training=training)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="keras_ecg")
class RotarySelfAttention(layers.Layer):
    """Self-attention with rotary position embeddings: x + MHSA(x), tokens (B, N, D) to (B, N, D).

    Su J et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021, https://arxiv.org/abs/2104.09864.

    Attention scores depend on the tokens' contents and on their relative positions. Positions are (B, N) or (N,), by
    default 0 to N - 1. The first half of each head's channels is rotated against the second half (RoFormer pairs
    neighbouring channels).

    Args:
        heads: number of heads; D / heads must be even.
        dropout: dropout rate of the attention weights and of the output.
        slowest: largest wavelength of the rotations (`max_wavelength`), in tokens per radian; the smallest is 1.
    """

    def __init__(self, heads: int = 4, dropout: float = 0.1, slowest: float = 100.0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.dropout, self.slowest = heads, dropout, slowest

    def build(self, shape):
        width = shape[-1]
        if width % (2 * self.heads):
            raise ValueError(f"a width of {width} does not divide into {self.heads} heads of an even width")
        half = width // self.heads // 2
        self.frequencies = (self.slowest ** -(np.arange(half) / half)).astype("float32")  # radians per token
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        self.query_key_value = layers.Dense(3 * width, name="query_key_value", dtype=self.dtype_policy)
        self.output_projection = layers.Dense(width, name="output", dtype=self.dtype_policy)
        self.drop_weights = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.drop = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        for part in (self.norm, self.query_key_value, self.output_projection):
            part.build(shape)

    def call(self, x, positions=None, rows=None, training=None):
        shape, width = ops.shape(x), x.shape[-1] // self.heads
        if positions is None:
            positions = ops.arange(shape[1])
        angles = ops.cast(positions, "float32")[..., None] * self.frequencies  # (B, N, half a head) or without B
        rotation = [ops.cast(part, x.dtype)[..., None, :] for part in (ops.cos(angles), ops.sin(angles))]
        parts = ops.reshape(self.query_key_value(self.norm(x)), (shape[0], shape[1], 3 * self.heads, width))
        query, key, value = ops.split(parts, 3, axis=2)  # (B, N, heads, D / heads)
        query, key, value = (ops.swapaxes(v, 1, 2) for v in (rotate(query, *rotation), rotate(key, *rotation), value))
        y = self.attend(query / width**0.5, key, value, rows, training)
        y = ops.reshape(ops.swapaxes(y, 1, 2), shape)
        return x + self.drop(self.output_projection(y), training=training)

    def attend(self, query, key, value, rows, training):
        """Compute attention outputs (B, heads, N, D / heads) from queries, keys and values of the same shape."""

        def weigh(scores):
            return self.drop_weights(ops.softmax(scores, -1), training=training)

        if rows is None:
            return ops.matmul(weigh(ops.matmul(query, ops.swapaxes(key, 2, 3))), value)
        heads, tokens, width = query.shape[1:]
        columns = tokens // rows
        query, key, value = (ops.reshape(v, (-1, heads, rows, columns, width)) for v in (query, key, value))
        along = ops.einsum("bhrcd,bhrkd->bhrck", query, key)  # scores within the row, the token itself included
        across = ops.einsum("bhrcd,bhkcd->bhrck", query, key)  # scores within the column
        across = ops.where(np.eye(rows, dtype=bool)[:, None], MASKED_SCORE, across)  # count the token itself once
        weights = weigh(ops.concatenate([along, across], -1))
        attended = ops.einsum("bhrck,bhrkd->bhrcd", weights[..., :columns], value)
        attended = attended + ops.einsum("bhrck,bhkcd->bhrcd", weights[..., columns:], value)
        return ops.reshape(attended, (-1, heads, tokens, width))

    def get_config(self):
        hyperparameters = ("heads", "dropout", "slowest")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}


def rotate(x, cosines, sines):
    """Rotate the two halves of the last axis of x (..., 2 K) by angles given as cosines and sines (..., K)."""
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cosines - second * sines, first * sines + second * cosines], -1)


def cross_pattern(rows: int, tokens: int) -> np.ndarray:
    """Return the attention mask (R N, R N) bool that is true for pairs of tokens in the same row or column of a grid.

    The cross-pattern attention of Kim S, Learning General Representation of 12-Lead Electrocardiogram With a
    Joint-Embedding Predictive Architecture, 2024, https://arxiv.org/abs/2410.08559: rows are leads, columns times.

    Args:
        rows: R.
        tokens: N, tokens per row; the grid is stored row after row.
    """
    row, column = np.divmod(np.arange(rows * tokens), tokens)
    return (row[:, None] == row) | (column[:, None] == column)
