"""Self-attention over tokens.

With `rows` the tokens are a grid of that many rows, one after the other, and each of them attends within its own row
and its own column only: `cross_pattern`.
"""

import keras
import numpy as np
from keras import layers, ops

FORBIDDEN = -3e4  # of a score: nothing is left of it after the softmax, and half precision can hold it


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
    """The same with rotary positions: how well two tokens match depends on their contents and on their distance.

    Su J et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021, https://arxiv.org/abs/2104.09864.

    Tokens (B, N, D) and their positions (B, N) or (N,), by default 0 to N - 1, to tokens (B, N, D). Half of each
    head's channels are rotated against the other half.

    Args:
        heads: of an even width each.
        dropout: of the attention's weights and of its output.
        slowest: tokens to a radian of the slowest rotation; the fastest one turns a radian a token.
    """

    def __init__(self, heads: int = 4, dropout: float = 0.1, slowest: float = 100.0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.dropout, self.slowest = heads, dropout, slowest

    def build(self, shape):
        width = shape[-1]
        if width % (2 * self.heads):
            raise ValueError(f"a width of {width} does not divide into {self.heads} heads of an even width")
        half = width // self.heads // 2
        self.speeds = (self.slowest ** -(np.arange(half) / half)).astype("float32")  # radians a token
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
        angles = ops.cast(positions, "float32")[..., None] * self.speeds  # (B, N, half a head) or without B
        turn = [ops.cast(part, x.dtype)[..., None, :] for part in (ops.cos(angles), ops.sin(angles))]
        parts = ops.reshape(self.query_key_value(self.norm(x)), (shape[0], shape[1], 3 * self.heads, width))
        query, key, value = ops.split(parts, 3, axis=2)  # (B, N, heads, D / heads)
        query, key, value = (ops.swapaxes(v, 1, 2) for v in (rotate(query, *turn), rotate(key, *turn), value))
        y = self.look_around(query / width**0.5, key, value, rows, training)
        y = ops.reshape(ops.swapaxes(y, 1, 2), shape)
        return x + self.drop(self.output_projection(y), training=training)

    def look_around(self, query, key, value, rows, training):
        """What each token hears, (B, heads, N, D / heads), of queries, keys and values of that shape."""

        def weigh(scores):
            return self.drop_weights(ops.softmax(scores, -1), training=training)

        if rows is None:
            return ops.matmul(weigh(ops.matmul(query, ops.swapaxes(key, 2, 3))), value)
        heads, tokens, width = query.shape[1:]
        columns = tokens // rows
        query, key, value = (ops.reshape(v, (-1, heads, rows, columns, width)) for v in (query, key, value))
        along = ops.einsum("bhrcd,bhrkd->bhrck", query, key)  # with its row, itself among it
        across = ops.einsum("bhrcd,bhkcd->bhrck", query, key)  # with its column
        across = ops.where(np.eye(rows, dtype=bool)[:, None], FORBIDDEN, across)  # but not with itself once more
        weights = weigh(ops.concatenate([along, across], -1))
        heard = ops.einsum("bhrck,bhrkd->bhrcd", weights[..., :columns], value)
        heard = heard + ops.einsum("bhrck,bhkcd->bhrcd", weights[..., columns:], value)
        return ops.reshape(heard, (-1, heads, tokens, width))

    def get_config(self):
        hyperparameters = ("heads", "dropout", "slowest")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}


def rotate(x, cosines, sines):
    """Turns the halves of the last axis of x (..., 2 K) against each other, by angles given as (..., K) each."""
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cosines - second * sines, first * sines + second * cosines], -1)


def cross_pattern(rows: int, tokens: int) -> np.ndarray:
    """Which tokens share a row or a column with each token of a grid: (R N, R N) bool.

    The cross-pattern attention of Kim S, Learning General Representation of 12-Lead Electrocardiogram With a
    Joint-Embedding Predictive Architecture, 2024, https://arxiv.org/abs/2410.08559: rows are leads, columns times.

    Args:
        rows: R.
        tokens: N of a row; rows stand one after the other.
    """
    row, column = np.divmod(np.arange(rows * tokens), tokens)
    return (row[:, None] == row) | (column[:, None] == column)
