"""Convolutional encoder of single beats: one vector per beat from its scalogram and, optionally, its waveforms."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class BeatEncoder(layers.Layer):
    """Strided one-dimensional convolutions along time with the scales as channels: (B, S, T, C) to (B, S, K).

    The cost is a hundredth of that of two-dimensional convolutions at full resolution. Scalograms are not
    translation-invariant along the scale axis, so sharing kernels between scales has no advantage.

    Args:
        width: D, channels of every convolution.
        bottleneck: K, width of the output.
        kernel_sizes: kernel size of each convolution, in samples.
        strides: stride of each convolution.
        channel_dropout: dropout rate of whole channels after every convolution but the last.
        dropout: dropout rate of the flattened feature map.
    """

    def __init__(
        self,
        width: int = 48,
        bottleneck: int = 32,
        kernel_sizes: tuple[int, ...] = (7, 5, 3),
        strides: tuple[int, ...] = (3, 2, 2),
        channel_dropout: float = 0.1,
        dropout: float = 0.3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.width, self.bottleneck = width, bottleneck
        self.kernel_sizes, self.strides = tuple(kernel_sizes), tuple(strides)
        self.channel_dropout, self.dropout = channel_dropout, dropout

    def build(self, shape):
        _, self.beats, samples, channels = shape
        self.convolutions, self.norms = [], []
        here = (None, samples, channels)
        for i, (kernel, stride) in enumerate(zip(self.kernel_sizes, self.strides, strict=True)):
            convolution = layers.Conv1D(
                self.width, kernel, stride, padding="same", name=f"convolution_{i}", dtype=self.dtype_policy
            )
            norm = layers.LayerNormalization(name=f"norm_{i}", dtype=self.dtype_policy)
            convolution.build(here)
            here = (None, -(-here[1] // stride), self.width)
            norm.build(here)
            self.convolutions.append(convolution)
            self.norms.append(norm)
        self.frames = here[1]
        self.drop_channels = layers.SpatialDropout1D(self.channel_dropout, dtype=self.dtype_policy)
        self.drop = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.project = layers.Dense(self.bottleneck, activation="silu", name="project", dtype=self.dtype_policy)
        self.project.build((None, self.frames * self.width))

    def call(self, x, training=None):
        x = ops.reshape(x, (-1, *x.shape[2:]))  # (B S, T, C)
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = ops.silu(norm(convolution(x)))
            if i < len(self.norms) - 1:
                x = self.drop_channels(x, training=training)
        x = ops.reshape(x, (-1, self.frames * self.width))
        return ops.reshape(self.project(self.drop(x, training=training)), (-1, self.beats, self.bottleneck))

    def compute_output_shape(self, shape):
        return (shape[0], shape[1], self.bottleneck)

    def get_config(self):
        hyperparameters = ("width", "bottleneck", "kernel_sizes", "strides", "channel_dropout", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}
