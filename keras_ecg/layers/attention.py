"""Self-attention over tokens."""

import keras
from keras import layers


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

    def call(self, x, training=None):
        y = self.norm(x)
        return x + self.drop(self.attend(y, y, training=training), training=training)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
