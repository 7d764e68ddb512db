"""A recording's beats as features: of its rhythm as a whole, and of every beat.

Shapes: B batch, K beats, N tokens, D width.
"""

import keras
from keras import layers, ops

from keras_ecg.signals.rhythm import intervals_of, masked_quantiles, recording_rhythm

FEATURES = 40  # R
BEAT_FEATURES = 7


@keras.saving.register_keras_serializable(package="keras_ecg")
class RecordingRhythm(layers.Layer):
    """`keras_ecg.signals.rhythm.recording_rhythm` of beats (B, K) in seconds and lengths (B,) in samples: (B, R).

    Args:
        sampling_rate_hz: of the lengths.
    """

    def __init__(self, sampling_rate_hz: float = 100.0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # half precision has no milliseconds
        self.sampling_rate_hz = sampling_rate_hz

    def call(self, beats, length):
        seconds = ops.cast(length, "float32") / self.sampling_rate_hz
        return ops.cast(recording_rhythm(ops.cast(beats, "float32"), seconds, ops), self.compute_dtype)

    def compute_output_shape(self, beats_shape, length_shape):
        return (beats_shape[0], FEATURES)

    def get_config(self):
        return {**super().get_config(), "sampling_rate_hz": self.sampling_rate_hz}


@keras.saving.register_keras_serializable(package="keras_ecg")
class BeatMask(layers.Layer):
    """Which beats there are: beats (B, K) in seconds, -1 where there is none, to (B, K, 1) of zeros and ones."""

    def call(self, beats):
        return ops.cast(beats >= 0, self.compute_dtype)[..., None]

    def compute_output_shape(self, beats_shape):
        return (*beats_shape, 1)


@keras.saving.register_keras_serializable(package="keras_ecg")
class TokensAtBeats(layers.Layer):
    """What tokens say where beats are, and when those come: tokens (B, N, D) and beats (B, K) to (B, K, D + 7).

    Beside the token under it each beat has the logs of the intervals before and after it, relative to the recording's
    median, their difference, each one's change from its neighbour, the median itself, and where in its token the beat
    stands. Where there is no beat all is zero; the first interval and the last are as the median.

    Args:
        tokens_per_second: of the tokens.
    """

    def __init__(self, tokens_per_second: float = 6.25, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.tokens_per_second = tokens_per_second

    def call(self, tokens, beats):
        beats = ops.cast(beats, "float32")
        log, known = intervals_of(beats, ops)  # (B, K - 1)
        median = masked_quantiles(log, known, (0.5,), ops)
        there = beats >= 0
        off = ops.where(known, log - median, ops.zeros_like(log))
        before, after = ops.pad(off, ((0, 0), (1, 0))), ops.pad(off, ((0, 0), (0, 1)))
        earlier, later = ops.pad(before[:, :-1], ((0, 0), (1, 0))), ops.pad(after[:, 1:], ((0, 0), (0, 1)))
        place = ops.maximum(beats, 0.0) * self.tokens_per_second
        index = ops.minimum(ops.cast(place, "int32"), ops.shape(tokens)[1] - 1)
        level = ops.where(ops.any(known, 1, keepdims=True), median, ops.zeros_like(median))
        features = [before, after, after - before, before - earlier, later - after]
        features += [ops.broadcast_to(level, ops.shape(beats)), place - ops.floor(place)]
        found = ops.cast(ops.take_along_axis(tokens, index[..., None], axis=1), self.compute_dtype)  # (B, K, D)
        joined = ops.concatenate([found, ops.cast(ops.stack(features, -1), found.dtype)], -1)
        return joined * ops.cast(there[..., None], found.dtype)

    def compute_output_shape(self, tokens_shape, beats_shape):
        return (*beats_shape, tokens_shape[-1] + BEAT_FEATURES)

    def get_config(self):
        return {**super().get_config(), "tokens_per_second": self.tokens_per_second}
