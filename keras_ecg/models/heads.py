"""Classification head on an encoder's tokens (B, N, D)."""

import keras
from keras import layers


def classification_head(tokens: keras.KerasTensor, token: int, classes: int, dropout: float) -> keras.KerasTensor:
    """Compute probabilities (B, classes) from the token at position `token`, in float32."""
    x = layers.Dropout(dropout, name="head_drop")(tokens[:, token])
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
