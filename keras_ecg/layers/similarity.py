"""How like its record's median beat, and how like the labelled beat, each beat of a sequence is."""

import keras
from keras import layers, ops

from keras_ecg.signals.beats import P_WAVE, QRS, QUANTILES, T_WAVE

PARTS = ((0, 1), P_WAVE, QRS, T_WAVE)


def correlation(a, b):
    """Pearson correlation (B, S) along the last axis of (B, S, K)."""
    a, b = (v - ops.mean(v, -1, keepdims=True) for v in (a, b))
    return ops.sum(a * b, -1) / ops.sqrt(ops.sum(a * a, -1) * ops.sum(b * b, -1) + 1e-6)


@keras.saving.register_keras_serializable(package="keras_ecg")
class Similarity(layers.Layer):
    """Waveforms (B, S, T, 2), the beat and its difference to the median beat, to similarities (B, S, 13).

    Correlations with the median beat and with the labelled beat over the whole window, P wave, QRS and T wave; the log
    size of the difference over the last three; the log ratio of spreads, and of QRS steepness, to the median beat's.
    With the record's `difference_quantiles` (B, 4) they are (B, S, 20): that of the QRS relative to each of the four,
    and the higher three relative to the first.

    Args:
        token: position of the labelled beat.
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
            usual, *odd = ops.unstack(ops.cast(difference_quantiles, "float32")[:, None], axis=-1)  # (B, 1) each
            out += [sizes[1] - level for level in (usual, *odd)]
            out += [ops.broadcast_to(level - usual, ops.shape(sizes[1])) for level in odd]
        return ops.cast(ops.stack(out, -1), self.compute_dtype)

    def steepness(self, x):
        """Log mean slope of the QRS over its spread (B, S): broad beats are low."""
        qrs = x[..., self.parts[2]]
        slope = ops.mean(ops.abs(qrs[..., 2:] - qrs[..., :-2]), -1)
        return ops.log(slope / (ops.std(qrs, -1) + 0.03) + 0.02)

    def compute_output_shape(self, waveforms_shape, difference_quantiles_shape=None):
        more = 0 if difference_quantiles_shape is None else 2 * len(QUANTILES) - 1
        return (*waveforms_shape[:2], 13 + more)

    def get_config(self):
        return {**super().get_config(), "token": self.token}
