"""Pooling of tokens to one vector. Shapes: B batch, N tokens, D width, R rows (leads), H heads."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class RowMeans(layers.Layer):
    """Mean token of each row, concatenated: tokens (B, R N, D), stored row after row, to (B, R D).

    Args:
        rows: R, such as the number of leads.
    """

    def __init__(self, rows: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows

    def call(self, tokens):
        _, count, width = tokens.shape
        return ops.reshape(ops.mean(ops.reshape(tokens, (-1, self.rows, count // self.rows, width)), 2),
                           (-1, self.rows * width))  # fmt: skip

    def compute_output_shape(self, shape):
        return (shape[0], self.rows * shape[2])

    def get_config(self):
        return {**super().get_config(), "rows": self.rows}


@keras.saving.register_keras_serializable(package="keras_ecg")
class AttentionPooling(layers.Layer):
    """Attention pooling by learned queries: tokens (B, N, D) to (B, H D).

    Bardes A et al., Revisiting Feature Prediction for Learning Visual Representations from Video, 2024,
    https://arxiv.org/abs/2404.08471 (attentive probing of a frozen encoder).

    Departure from the paper: keys and values are the normalized tokens, without projections, and each head has one
    query.

    Args:
        heads: H.
    """

    def __init__(self, heads: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, shape):
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        self.query = layers.Dense(self.heads, use_bias=False, name="query", dtype=self.dtype_policy)
        self.norm.build(shape)
        self.query.build(shape)

    def call(self, tokens):
        x = self.norm(tokens)
        weights = ops.softmax(self.query(x), 1)  # (B, N, H)
        return ops.reshape(ops.matmul(ops.swapaxes(weights, 1, 2), x), (-1, self.heads * tokens.shape[2]))

    def compute_output_shape(self, shape):
        return (shape[0], self.heads * shape[2])

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}
