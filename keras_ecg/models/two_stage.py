"""Two-stage rhythm classifier: a noise gate, then a classifier of the recordings that are not too noisy."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class NoiseFirst(layers.Layer):
    """Combine probabilities of clean and noisy (B, 2) and of the rhythms given clean (B, C): (B, C + 1)."""

    def call(self, noise, rhythm):
        return ops.concatenate([rhythm * noise[:, :1], noise[:, 1:]], -1)

    def compute_output_shape(self, noise_shape, rhythm_shape):
        return (rhythm_shape[0], rhythm_shape[1] + 1)


def two_stage(noise: keras.Model, rhythm: keras.Model) -> keras.Model:
    """Build one model from a noise gate and a rhythm classifier with the same named inputs, joined by `NoiseFirst`."""
    inputs = {x.name: keras.Input(x.shape[1:], name=x.name, dtype=x.dtype) for x in noise.inputs}
    noise.name, rhythm.name = "noise", "rhythms"
    return keras.Model(inputs, NoiseFirst(name="probabilities", dtype="float32")(noise(inputs), rhythm(inputs)))
