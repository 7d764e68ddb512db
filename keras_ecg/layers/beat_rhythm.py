"""RR features of recordings and of their beats, computed inside the model from R-peak times.

Shapes: B batch, K beats, N tokens, D width, R RR features of a recording.
"""

import keras
from keras import layers, ops

from keras_ecg.signals.rhythm import intervals_of, masked_quantiles, recording_rhythm

FEATURES = 40  # R
BEAT_FEATURES = 7


@keras.saving.register_keras_serializable(package="keras_ecg")
class RecordingRhythm(layers.Layer):
    """RR features (B, R) of recordings, from R-peak times (B, K) in seconds and lengths (B,) in samples.

    The features are those of `keras_ecg.signals.rhythm.recording_rhythm`.

    Args:
        sampling_rate_hz: sampling rate of the lengths.
    """

    def __init__(self, sampling_rate_hz: float = 100.0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # half precision does not resolve milliseconds
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
    """Mask of the valid beats: R-peak times (B, K) in seconds, padded with -1, to zeros and ones (B, K, 1)."""

    def call(self, beats):
        return ops.cast(beats >= 0, self.compute_dtype)[..., None]

    def compute_output_shape(self, beats_shape):
        return (*beats_shape, 1)


@keras.saving.register_keras_serializable(package="keras_ecg")
class TokensAtBeats(layers.Layer):
    """Tokens at the beats, with RR features: tokens (B, N, D) and R-peak times (B, K) in seconds to (B, K, D + 7).

    The seven features are the logarithms of the RR intervals before and after the beat relative to the recording's
    median, their difference, the change of each from its neighbouring interval, the logarithm of the median, and the
    position of the beat within its token (0 to 1). Missing intervals before the first and after the last beat count as
    the median. Padding (-1) gives zeros.

    Args:
        tokens_per_second: rate of the tokens.
    """

    def __init__(self, tokens_per_second: float = 6.25, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.tokens_per_second = tokens_per_second

    def call(self, tokens, beats):
        beats = ops.cast(beats, "float32")
        log, known = intervals_of(beats, ops)  # (B, K - 1)
        median = masked_quantiles(log, known, (0.5,), ops)
        valid = beats >= 0
        off = ops.where(known, log - median, ops.zeros_like(log))
        before, after = ops.pad(off, ((0, 0), (1, 0))), ops.pad(off, ((0, 0), (0, 1)))
        earlier, later = ops.pad(before[:, :-1], ((0, 0), (1, 0))), ops.pad(after[:, 1:], ((0, 0), (0, 1)))
        position = ops.maximum(beats, 0.0) * self.tokens_per_second
        index = ops.minimum(ops.cast(position, "int32"), ops.shape(tokens)[1] - 1)
        level = ops.where(ops.any(known, 1, keepdims=True), median, ops.zeros_like(median))
        features = [before, after, after - before, before - earlier, later - after]
        features += [ops.broadcast_to(level, ops.shape(beats)), position - ops.floor(position)]
        at_beats = ops.cast(ops.take_along_axis(tokens, index[..., None], axis=1), self.compute_dtype)  # (B, K, D)
        joined = ops.concatenate([at_beats, ops.cast(ops.stack(features, -1), at_beats.dtype)], -1)
        return joined * ops.cast(valid[..., None], at_beats.dtype)

    def compute_output_shape(self, tokens_shape, beats_shape):
        return (*beats_shape, tokens_shape[-1] + BEAT_FEATURES)

    def get_config(self):
        return {**super().get_config(), "tokens_per_second": self.tokens_per_second}
