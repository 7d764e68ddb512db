"""Tokens taken out at random, and mask tokens put in their places.

He K et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, https://arxiv.org/abs/2111.06377.
"""

import keras
from keras import layers, ops


def count_visible(tokens: int, ratio: float) -> int:
    """V = round(N (1 - ratio)), the tokens that masking leaves.

    Args:
        tokens: N.
        ratio: share of the tokens that is masked.

    Raises:
        ValueError: none would be left, or none masked.
    """
    visible = round(tokens * (1 - ratio))
    if not 0 < visible < tokens:
        raise ValueError(f"a mask ratio of {ratio} leaves {visible} of {tokens} tokens visible")
    return visible


@keras.saving.register_keras_serializable(package="keras_ecg")
class RandomMasking(layers.Layer):
    """Leaves V tokens of every sample, at random; by default uniformly, and in random order.

    Tokens (B, N, D) to visible tokens (B, V, D), the mask (B, N), true where a token is hidden, and the order (B, N):
    where each token went in the shuffle, whose first V are the visible ones.

    With a `block` of several tokens whole blocks are hidden, which may overlap each other or an end, until N - V tokens
    are; the last one is cut short.

    Args:
        ratio: share of the tokens that is masked.
        seed: of the draws; None draws one.
        block: tokens that are hidden together.
    """

    def __init__(self, ratio: float = 0.6, seed: int | None = None, block: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.ratio, self.seed, self.block = ratio, seed, block
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, x, seed: int | None = None):
        tokens = x.shape[1]
        visible, blocks = count_visible(tokens, self.ratio), (ops.shape(x)[0], tokens + self.block - 1)
        # float32 whatever the precision: half precision has ties, and ties favour the first tokens
        noise = keras.random.uniform(blocks, dtype="float32", seed=self.generator if seed is None else seed)
        # The blocks of the largest numbers are hidden: a token's is the largest of the blocks that it lies in.
        noise = ops.max(ops.stack([noise[:, k : k + tokens] for k in range(self.block)]), 0)
        shuffled = ops.argsort(noise, axis=1)  # (B, N): which token stands where
        order = ops.argsort(shuffled, axis=1)  # (B, N): where each token stands
        return ops.take_along_axis(x, shuffled[:, :visible, None], axis=1), order >= visible, order

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "seed": self.seed, "block": self.block}


@keras.saving.register_keras_serializable(package="keras_ecg")
class MaskTokens(layers.Layer):
    """One learned token in every hidden place: visible tokens (B, V, D) and the order (B, N) to tokens (B, N, D)."""

    def build(self, visible_shape, order_shape):
        self.token = self.add_weight(
            shape=(1, 1, visible_shape[-1]), initializer=keras.initializers.RandomNormal(stddev=0.02), name="token"
        )

    def call(self, visible, order):
        hidden = (ops.shape(visible)[0], order.shape[1] - visible.shape[1], visible.shape[2])
        tokens = ops.broadcast_to(ops.cast(self.token, visible.dtype), hidden)
        shuffled = ops.concatenate([visible, tokens], 1)  # (B, N, D)
        return ops.take_along_axis(shuffled, order[:, :, None], axis=1)

    def compute_output_shape(self, visible_shape, order_shape):
        return (visible_shape[0], order_shape[1], visible_shape[2])
