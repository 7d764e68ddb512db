"""The Conformer block.

Gulati A et al., Conformer: Convolution-augmented Transformer for Speech Recognition, Interspeech 2020,
https://arxiv.org/abs/2005.08100.

Departure from the paper: layer instead of batch normalization inside the convolution module, so that the output for an
example does not depend on the rest of its batch.

Shapes: B batch, N tokens, D width.
"""

import keras
from keras import layers, ops

from keras_ecg.layers.attention import SelfAttention
from keras_ecg.layers.feed_forward import HalfFeedForward


@keras.saving.register_keras_serializable(package="keras_ecg")
class ConvolutionModule(layers.Layer):
    """Convolution module: pointwise, gated linear unit, depthwise over tokens, pointwise; x + Conv(x), (B, N, D)."""

    def __init__(self, kernel_size: int = 3, dropout: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.dropout = kernel_size, dropout

    def build(self, shape):
        width = shape[-1]
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        self.value = layers.Dense(width, name="value", dtype=self.dtype_policy)
        self.gate = layers.Dense(width, activation="sigmoid", name="gate", dtype=self.dtype_policy)
        self.depthwise = layers.DepthwiseConv1D(
            self.kernel_size, padding="same", name="depthwise", dtype=self.dtype_policy
        )
        self.norm_depthwise = layers.LayerNormalization(name="norm_depthwise", dtype=self.dtype_policy)
        self.project = layers.Dense(width, name="project", dtype=self.dtype_policy)
        self.drop = layers.Dropout(self.dropout, dtype=self.dtype_policy)
        for part in (self.norm, self.value, self.gate, self.depthwise, self.norm_depthwise, self.project):
            part.build(shape)

    def call(self, x, training=None):
        y = self.norm(x)
        y = self.depthwise(self.value(y) * self.gate(y))
        y = self.project(ops.silu(self.norm_depthwise(y)))
        return x + self.drop(y, training=training)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="keras_ecg")
class ConformerBlock(layers.Layer):
    """Conformer block: half feed-forward, self-attention, convolution, half feed-forward, norm; (B, N, D)."""

    def __init__(self, heads: int = 4, kernel_size: int = 3, expansion: int = 2, dropout: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.kernel_size, self.expansion, self.dropout = heads, kernel_size, expansion, dropout

    def build(self, shape):
        self.before = HalfFeedForward(self.expansion, self.dropout, name="before", dtype=self.dtype_policy)
        self.attention = SelfAttention(self.heads, self.dropout, name="attention", dtype=self.dtype_policy)
        self.convolution = ConvolutionModule(
            self.kernel_size, self.dropout, name="convolution", dtype=self.dtype_policy
        )
        self.after = HalfFeedForward(self.expansion, self.dropout, name="after", dtype=self.dtype_policy)
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        for part in (self.before, self.attention, self.convolution, self.after, self.norm):
            part.build(shape)

    def call(self, x, training=None):
        for part in (self.before, self.attention, self.convolution, self.after):
            x = part(x, training=training)
        return self.norm(x)

    def get_config(self):
        hyperparameters = ("heads", "kernel_size", "expansion", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}
