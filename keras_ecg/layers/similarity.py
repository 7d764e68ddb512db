"""Similarity of each beat of a sequence to the record's median beat and to the labelled beat."""

import keras
from keras import layers, ops

from keras_ecg.signals.beats import P_WAVE, QRS, QUANTILES, T_WAVE

PARTS = ((0, 1), P_WAVE, QRS, T_WAVE)


def correlation(a, b):
    """Compute the Pearson correlation (B, S) along the last axis of (B, S, K)."""
    a, b = (v - ops.mean(v, -1, keepdims=True) for v in (a, b))
    return ops.sum(a * b, -1) / ops.sqrt(ops.sum(a * a, -1) * ops.sum(b * b, -1) + 1e-6)


@keras.saving.register_keras_serializable(package="keras_ecg")
class Similarity(layers.Layer):
    """Similarity features (B, S, 13) of waveforms (B, S, T, 2): the beat, and its difference to the median beat.

    The features are the correlations with the median beat and with the labelled beat over the whole window, P wave, QRS
    complex and T wave (8); the log standard deviation of the difference over the last three, relative to the median
    beat's (3); the log ratio of the standard deviations, and of the QRS steepness, of beat and median beat (2). With
    the record's `difference_quantiles` (B, 4) there are 20: also the log QRS difference relative to each of the four
    quantiles, and the three higher quantiles relative to the first.

    Args:
        token: position of the labelled beat in the sequence.
    """

    def __init__(self, token: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.token = token

    def build(self, waveforms_shape, difference_quantiles_shape=None):
        self.parts = [slice(round(a * waveforms_shape[2]), round(b * waveforms_shape[2])) for a, b in PARTS]

    def call(self, waveforms, difference_quantiles=None):
        beat, difference = ops.cast(waveforms[..., 0], "float32"), ops.cast(waveforms[..., 1], "float32")
        median = beat - difference
        labelled = ops.repeat(beat[:, self.token : self.token + 1], beat.shape[1], 1)
        spread = ops.std(median, -1) + 0.03
        out = [correlation(beat[..., p], median[..., p]) for p in self.parts]
        out += [correlation(beat[..., p], labelled[..., p]) for p in self.parts]
        sizes = [ops.log(ops.std(difference[..., p], -1) / spread + 0.05) for p in self.parts[1:]]
        out += sizes
        out += [ops.log(ops.std(beat, -1) / spread + 0.05), self.steepness(beat) - self.steepness(median)]
        if difference_quantiles is not None:
            lowest, *higher = ops.unstack(ops.cast(difference_quantiles, "float32")[:, None], axis=-1)  # (B, 1) each
            out += [sizes[1] - level for level in (lowest, *higher)]
            out += [ops.broadcast_to(level - lowest, ops.shape(sizes[1])) for level in higher]
        return ops.cast(ops.stack(out, -1), self.compute_dtype)

    def steepness(self, x):
        """Compute the log ratio (B, S) of the mean QRS slope to its standard deviation; broad complexes are low."""
        qrs = x[..., self.parts[2]]
        slope = ops.mean(ops.abs(qrs[..., 2:] - qrs[..., :-2]), -1)
        return ops.log(slope / (ops.std(qrs, -1) + 0.03) + 0.02)

    def compute_output_shape(self, waveforms_shape, difference_quantiles_shape=None):
        more = 0 if difference_quantiles_shape is None else 2 * len(QUANTILES) - 1
        return (*waveforms_shape[:2], 13 + more)

    def get_config(self):
        return {**super().get_config(), "token": self.token}
