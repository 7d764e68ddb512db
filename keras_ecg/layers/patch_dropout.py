"""Patches left out while training: a cheaper step, and a regularizer.

Liu Y et al., PatchDropout: Economizing Vision Transformers Using Patch Dropout, WACV 2023,
https://arxiv.org/abs/2208.07220.
"""

import keras
from keras import layers, ops

from keras_ecg.layers.leads import count_separators
from keras_ecg.layers.masking import count_visible


@keras.saving.register_keras_serializable(package="keras_ecg")
class PatchDropout(layers.Layer):
    """Leaves V of the N tokens of every row while training, at random; otherwise all of them.

    Tokens (B L, N, D) to those that are left (B L, V, D), in their order, and where they stood, (B L, V) int32.

    Args:
        share: of the tokens that is left out.
        together: L rows that lose the same tokens; 1: each its own.
        ends: whether a separator is going to stand at both ends of each row: places (B L, V + 2) count them.
        seed: of the draws; None draws one.
    """

    def __init__(self, share: float = 0.5, together: int = 1, ends: bool = False, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.share, self.together, self.ends, self.seed = share, together, ends, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=None):
        rows, tokens = ops.shape(x)[0], x.shape[1]
        if training:
            noise = keras.random.uniform((rows // self.together, tokens), dtype="float32", seed=self.generator)
            chosen = ops.argsort(noise, axis=1)[:, : count_visible(tokens, self.share)]
            places = ops.repeat(ops.sort(ops.cast(chosen, "int32"), axis=1), self.together, axis=0)
            x = ops.take_along_axis(x, places[:, :, None], axis=1)
        else:
            places = ops.broadcast_to(ops.arange(tokens, dtype="int32"), (rows, tokens))
        return x, count_separators(places, tokens) if self.ends else places

    def compute_output_shape(self, shape):
        return shape, (shape[0], shape[1] + 2 * self.ends)

    def compute_output_spec(self, x, training=None):
        kept, places = self.compute_output_shape(x.shape)
        return keras.KerasTensor(kept, x.dtype), keras.KerasTensor(places, "int32")

    def get_config(self):
        hyperparameters = ("share", "together", "ends", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}
