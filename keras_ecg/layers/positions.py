"""Positions of tokens."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="keras_ecg")
class PositionEmbedding(layers.Layer):
    """Adds a learnt vector to each position of tokens (B, N, D)."""

    def build(self, shape):
        self.table = self.add_weight(
            shape=(1, shape[1], shape[2]), initializer=keras.initializers.RandomNormal(stddev=0.02), name="table"
        )

    def call(self, x):
        return x + self.table
