"""Signals as the magnitudes of their short-time spectra."""

import keras
from keras import layers, ops

FLOOR = 0.01  # in the signals' unit: magnitudes well below it are zero, those well above it log(magnitude / floor)


@keras.saving.register_keras_serializable(package="keras_ecg")
class Spectrum(layers.Layer):
    """Log magnitudes of the short-time Fourier transform: signals (B, T, L) to (B, ceil(T / hop), F L).

    A frame stands at every hop-th sample, Hann-weighted and centered; F = frame / 2 + 1 frequencies of the first lead
    come first. A sine's magnitude is its amplitude; silence is zero.

    Args:
        frame_samples: of a frame; at least two, and a frame's half is less than the signal.
        hop_samples: between frames.
    """

    def __init__(self, frame_samples: int = 32, hop_samples: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.frame_samples, self.hop_samples = frame_samples, hop_samples

    def build(self, shape):
        if self.frame_samples < 2 or self.frame_samples // 2 >= shape[1]:
            raise ValueError(f"spectral frames of {self.frame_samples} samples in signals of {shape[1]}")

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
