"""The named inputs of the beat models, and the channels that a beat encoder sees.

B batch, S beats in a sequence, F scales, T samples, R rhythm features:

    scalograms  (B, S, F, T, 1)  always
    waveforms   (B, S, T, 2)     mV: the beat, and its difference to the record's median beat
    rr          (B, S, R)
"""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class BeatChannels(layers.Layer):
    """Scalograms (B, S, F, T, 1) and waveforms (B, S, T, W), or scalograms alone, to channels (B, S, T, F + W).

    Waveforms are taken in units of half a millivolt, near the spread of normalized scalograms.
    """

    def call(self, scalograms, waveforms=None):
        x = ops.transpose(scalograms[..., 0], (0, 1, 3, 2))
        return x if waveforms is None else ops.concatenate([x, 2.0 * ops.cast(waveforms, x.dtype)], -1)


def named_inputs(shapes: dict[str, tuple[int, ...]]) -> dict[str, keras.KerasTensor]:
    """Keras inputs by name, from shapes without the batch axis."""
    return {name: keras.Input(shape, name=name) for name, shape in shapes.items()}


def rhythm_vector(rr: keras.KerasTensor, width: int, dropout: float) -> keras.KerasTensor:
    """Rhythm features (B, S, R) to one vector per beat (B, S, D)."""
    x = layers.BatchNormalization(name="rhythm_norm")(rr)
    x = layers.Dense(64, activation="silu", name="rhythm_wide")(x)
    x = layers.Dropout(dropout, name="rhythm_drop")(x)
    return layers.Dense(width, activation="silu", name="rhythm")(x)
