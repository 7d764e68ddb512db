"""Tokens to one vector. Shapes: B batch, N tokens, D width, R rows, H heads."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class RowMeans(layers.Layer):
    """The mean of each row's tokens, side by side: (B, R N, D), row after row, to (B, R D).

    Args:
        rows: R.
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
    """Means of the tokens under learned weights: (B, N, D) to (B, H D).

    Bardes A et al., Revisiting Feature Prediction for Learning Visual Representations from Video, 2024,
    https://arxiv.org/abs/2404.08471 (the attentive probe of a frozen encoder); here each head is one query, which the
    normalized tokens are compared with as they are, and the values are those tokens.

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
