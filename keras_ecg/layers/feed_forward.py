"""Position-wise feed-forward networks of Transformer and Conformer blocks."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="keras_ecg")
class FeedForward(layers.Layer):
    """Pre-norm feed-forward network with residual connection: x + FFN(x), tokens (B, N, D) to (B, N, D)."""

    activation, share = "gelu", 1.0

    def __init__(self, expansion: int = 4, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.expansion, self.dropout = expansion, dropout

    def build(self, shape):
        width = shape[-1]
        wide = self.expansion * width
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        self.wide = layers.Dense(wide, activation=self.activation, name="wide", dtype=self.dtype_policy)
        self.narrow = layers.Dense(width, name="narrow", dtype=self.dtype_policy)
        self.drop_wide = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.drop = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.norm.build(shape)
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], wide))

    def call(self, x, training=None):
        y = self.drop_wide(self.wide(self.norm(x)), training=training)
        return x + self.share * self.drop(self.narrow(y), training=training)

    def get_config(self):
        return {**super().get_config(), "expansion": self.expansion, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="keras_ecg")
class HalfFeedForward(FeedForward):
    """Half-step feed-forward network of the Conformer: x + FFN(x) / 2, with swish (SiLU)."""

    activation, share = "silu", 0.5
