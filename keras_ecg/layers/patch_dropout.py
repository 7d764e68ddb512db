"""PatchDropout: random removal of patch tokens during training, which regularizes and makes a step cheaper.

Liu Y et al., PatchDropout: Economizing Vision Transformers Using Patch Dropout, WACV 2023,
https://arxiv.org/abs/2208.07220.

Shapes: B batch, L leads, N tokens per lead, V kept tokens, D width.
"""

import keras
from keras import layers, ops

from keras_ecg.layers.leads import count_separators
from keras_ecg.layers.masking import count_visible


@keras.saving.register_keras_serializable(package="keras_ecg")
class PatchDropout(layers.Layer):
    """Keep V random tokens of every lead in training, all otherwise: tokens (B L, N, D) to tokens and positions.

    Returns the kept tokens (B L, V, D) in their original order and their positions (B L, V) int32.

    Args:
        share: fraction of the tokens that is dropped.
        together: number of consecutive rows that drop the same tokens (L for all leads of a window); 1 for none.
        ends: whether separator tokens are added later: positions are then (B L, V + 2) and count them.
        seed: seed of the random choice; None draws one.
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
            positions = ops.repeat(ops.sort(ops.cast(chosen, "int32"), axis=1), self.together, axis=0)
            x = ops.take_along_axis(x, positions[:, :, None], axis=1)
        else:
            positions = ops.broadcast_to(ops.arange(tokens, dtype="int32"), (rows, tokens))
        return x, count_separators(positions, tokens) if self.ends else positions

    def compute_output_shape(self, shape):
        return shape, (shape[0], shape[1] + 2 * self.ends)

    def compute_output_spec(self, x, training=None):
        kept, positions = self.compute_output_shape(x.shape)
        return keras.KerasTensor(kept, x.dtype), keras.KerasTensor(positions, "int32")

    def get_config(self):
        hyperparameters = ("share", "together", "ends", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}
