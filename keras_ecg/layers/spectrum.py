"""Short-time Fourier transform of signals, as log magnitudes."""

import keras
from keras import layers, ops

FLOOR = 0.01  # in units of the signals: log1p maps smaller magnitudes to about 0, larger ones to log(magnitude / FLOOR)


@keras.saving.register_keras_serializable(package="keras_ecg")
class Spectrum(layers.Layer):
    """Log magnitudes of the short-time Fourier transform: signals (B, T, L) to (B, ceil(T / hop), L F).

    Frames are centered on every hop-th sample and weighted by a Hann window. Channels are the F = frame / 2 + 1
    frequencies of the first lead, then those of the second, and so on. The magnitude of a sine is its amplitude.

    Args:
        frame_samples: length of a frame; at least 2, and less than 2 T.
        hop_samples: samples between the centers of two frames.
    """

    def __init__(self, frame_samples: int = 32, hop_samples: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.frame_samples, self.hop_samples = frame_samples, hop_samples

    def build(self, shape):
        if self.frame_samples < 2 or self.frame_samples // 2 >= shape[1]:
            raise ValueError(f"spectral frames of {self.frame_samples} samples do not fit signals of {shape[1]}")

    def call(self, x):
        _, frames, channels = self.compute_output_shape(x.shape)
        x = ops.cast(ops.transpose(x, (0, 2, 1)), "float32")  # (B, L, T)
        real, imaginary = ops.stft(x, self.frame_samples, self.hop_samples, self.frame_samples)  # (B, L, N, F)
        power = (real * real + imaginary * imaginary)[:, :, :frames] * (4 / self.frame_samples / FLOOR) ** 2
        x = 0.5 * ops.log1p(power)
        return ops.cast(ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, frames, channels)), self.compute_dtype)

    def compute_output_shape(self, shape):
        return (shape[0], -(-shape[1] // self.hop_samples), shape[2] * (self.frame_samples // 2 + 1))

    def get_config(self):
        return {**super().get_config(), "frame_samples": self.frame_samples, "hop_samples": self.hop_samples}
