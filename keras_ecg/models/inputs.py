"""The named inputs of the beat models, and the channels that a beat encoder sees.

B batch, S beats in a sequence, F scales, T samples, R rhythm features:

    scalograms  (B, S, F, T, 1)  always
    waveforms   (B, S, T, 2)     mV: the beat, and its difference to the record's median beat
    rr          (B, S, R)
    difference_quantiles  (B, 4)  how far the record's beats are from its median beat; only together with waveforms
"""

import keras
from keras import layers, ops

from keras_ecg.layers.beat_encoder import BeatEncoder
from keras_ecg.layers.piecewise_linear import PiecewiseLinear
from keras_ecg.layers.similarity import Similarity


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


def context_vector(inputs: dict[str, keras.KerasTensor], token: int, config):
    """What is known of each beat but its shape, as one vector (B, S, D): rhythm, and similarity to other beats.

    None where neither rhythm features nor waveforms come in.

    Args:
        inputs: by name.
        token: position of the labelled beat.
        config: its `width` D, `dropout`, and `bins` of a piecewise linear encoding; 0 for none.
    """
    parts = []
    if "rr" in inputs:
        parts.append(layers.BatchNormalization(name="rhythm_norm")(inputs["rr"]))
    if "waveforms" in inputs:
        similarity = Similarity(token, name="similarity")(inputs["waveforms"], inputs.get("difference_quantiles"))
        parts.append(layers.BatchNormalization(name="similarity_norm")(similarity))
    if not parts:
        return None
    x = layers.Concatenate(name="known")(parts) if len(parts) > 1 else parts[0]
    if config.bins:
        x = PiecewiseLinear(config.bins, name="encoding")(x)
    x = layers.Dense(64, activation="silu", name="context_wide")(x)
    x = layers.Dropout(config.dropout, name="context_drop")(x)
    return layers.Dense(config.width, activation="silu", name="context")(x)


def beat_vectors(inputs: dict[str, keras.KerasTensor], config) -> keras.KerasTensor:
    """The shape of each beat as one vector (B, S, bottleneck).

    In training whole sequences lose theirs now and then (`beat_dropout`): the ectopic beats of a few patients are soon
    learned by heart, and rhythm must do without them.
    """
    channels = BeatChannels(name="channels")(inputs["scalograms"], inputs.get("waveforms"))  # (B, S, T, C)
    x = BeatEncoder(
        config.width,
        config.bottleneck,
        channel_dropout=config.channel_dropout,
        dropout=config.encoder_dropout,
        name="beat_encoder",
    )(channels)
    x = layers.Dropout(config.dropout, name="beat_drop")(x)
    return layers.Dropout(config.beat_dropout, noise_shape=(None, 1, 1), name="beat_dropout")(x)
