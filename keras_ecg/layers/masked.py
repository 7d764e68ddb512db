"""Layers for padded sequences: masks from lengths, and batch normalization and pooling that exclude padding.

Shapes: B batch, N tokens, D width.
"""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class LengthMask(layers.Layer):
    """Mask of the tokens that are not padding: lengths (B,) in samples and tokens (B, N, ...) to (B, N, 1).

    A token is valid if its first sample lies within the length.

    Args:
        stride: samples between the beginnings of two tokens.
    """

    def __init__(self, stride: float = 1, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, length, tokens):
        first = ops.cast(ops.arange(ops.shape(tokens)[1], dtype="int32"), "float32") * self.stride
        return ops.cast(first < ops.cast(length, "float32")[:, None], self.compute_dtype)[..., None]

    def compute_output_shape(self, length_shape, tokens_shape):
        return (*tokens_shape[:2], 1)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable(package="keras_ecg")
class MaskedBatchNorm(layers.Layer):
    """Batch normalization whose moments exclude padding: x (B, N, D) and mask (B, N, 1) to (B, N, D).

    Ioffe S, Szegedy C, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
    ICML 2015, https://arxiv.org/abs/1502.03167. The output is zero at padding. `keras.layers.BatchNormalization` takes
    a mask, too; this layer computes both moments in one pass and costs no more than Keras' layer without a mask.

    The mask holds zeros and ones; None stands for ones.

    Args:
        momentum: momentum of the moving mean and variance.
        epsilon: constant added to the variance.
    """

    def __init__(self, momentum: float = 0.98, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, x_shape, mask_shape=None):
        def weight(name: str, initializer: str, trainable: bool = True):
            # Moments are float32 under every precision policy; so are the weights that are combined with them.
            return self.add_weight(
                (x_shape[-1],), initializer, trainable=trainable, autocast=False, name=name, dtype="float32"
            )

        self.gamma, self.beta = weight("gamma", "ones"), weight("beta", "zeros")
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)

    def call(self, x, mask=None, training=None):
        mask = ops.ones_like(x[..., :1]) if mask is None else mask
        if training:
            mean, variance = self.moments(ops.cast(x, "float32"), ops.cast(mask, "float32"))
            for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(self.momentum * moving + (1 - self.momentum) * current)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = self.gamma / ops.sqrt(variance + self.epsilon)
        shift = self.beta - mean * scale
        return (x * ops.cast(scale, x.dtype) + ops.cast(shift, x.dtype)) * ops.cast(mask, x.dtype)

    def moments(self, x, mask):
        """Compute mean and variance (D,) over the tokens that are not masked."""
        count = ops.maximum(ops.sum(mask), 1.0)
        kept = x * mask
        mean = ops.sum(kept, (0, 1)) / count
        return mean, ops.maximum(ops.sum(kept * x, (0, 1)) / count - ops.square(mean), 0.0)

    def compute_output_shape(self, x_shape, mask_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="keras_ecg")
class MaskedPooling(layers.Layer):
    """Mean and maximum over the tokens that are not masked: x (B, N, D) and mask (B, N, 1) to (B, 2 D).

    Both are zero where all tokens are masked.
    """

    def call(self, x, mask):
        mask = ops.cast(mask, x.dtype)
        mean = ops.sum(x * mask, 1) / ops.maximum(ops.sum(mask, 1), 1)
        maximum = ops.max(ops.where(mask > 0, x, ops.full_like(x, -1e4)), 1)
        maximum = ops.where(ops.sum(mask, 1) > 0, maximum, ops.zeros_like(maximum))
        return ops.concatenate([mean, maximum], -1)

    def compute_output_shape(self, x_shape, mask_shape=None):
        return (x_shape[0], 2 * x_shape[-1])
