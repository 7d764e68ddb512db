"""Named inputs of the beat classifiers, and the parts that encode them.

Shapes: B batch, S beats in a sequence, F scales, T samples, R RR features.

    scalograms            (B, S, F, T, 1)  required
    waveforms             (B, S, T, 2)     optional, mV: the beat, and its difference to the record's median beat
    rr                    (B, S, R)        optional: RR features
    difference_quantiles  (B, 4)           optional, requires waveforms: quantiles, over the record's beats, of the
                                           difference to the median beat
"""

import keras
from keras import layers, ops

from keras_ecg.layers.beat_encoder import BeatEncoder
from keras_ecg.layers.piecewise_linear import PiecewiseLinear
from keras_ecg.layers.similarity import Similarity


@keras.saving.register_keras_serializable(package="keras_ecg")
class BeatChannels(layers.Layer):
    """Join scalograms (B, S, F, T, 1) and optional waveforms (B, S, T, W) to channels (B, S, T, F + W).

    Waveforms are scaled to units of 0.5 mV, which brings them near the variance of normalized scalograms.
    """

    def call(self, scalograms, waveforms=None):
        x = ops.transpose(scalograms[..., 0], (0, 1, 3, 2))
        return x if waveforms is None else ops.concatenate([x, 2.0 * ops.cast(waveforms, x.dtype)], -1)


def named_inputs(shapes: dict[str, tuple[int, ...]]) -> dict[str, keras.KerasTensor]:
    """Create Keras inputs by name, from shapes without the batch axis."""
    return {name: keras.Input(shape, name=name) for name, shape in shapes.items()}


def context_vector(inputs: dict[str, keras.KerasTensor], token: int, config):
    """Encode RR features and similarity features of each beat as one context vector (B, S, D).

    Args:
        inputs: named inputs.
        token: position of the labelled beat.
        config: hyperparameters `width` (D), `dropout`, and `bins` of the piecewise-linear encoding (0 for none).

    Returns:
        The context vectors; None if there are neither RR features nor waveforms.
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
    """Encode the morphology of each beat as one vector (B, S, bottleneck).

    In training, `beat_dropout` drops the vectors of whole sequences, so that RR features are learned, too: the
    morphologies of the few training subjects with ectopic beats are easily overfitted.
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
