"""Random masking of tokens, and mask tokens for the decoder, as in masked autoencoders.

He K et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, https://arxiv.org/abs/2111.06377.

Shapes: B batch, N tokens, V visible tokens, D width.
"""

import keras
from keras import layers, ops


def count_visible(tokens: int, ratio: float) -> int:
    """Return V = round(N (1 - ratio)), the number of tokens that stay visible.

    Args:
        tokens: N.
        ratio: fraction of the tokens that is masked.

    Raises:
        ValueError: no token would stay visible, or none would be masked.
    """
    visible = round(tokens * (1 - ratio))
    if not 0 < visible < tokens:
        raise ValueError(f"a mask ratio of {ratio} leaves {visible} of {tokens} tokens visible")
    return visible


@keras.saving.register_keras_serializable(package="keras_ecg")
class RandomMasking(layers.Layer):
    """Keep V randomly chosen tokens of every example: tokens (B, N, D) to visible tokens (B, V, D), mask and order.

    The mask (B, N) is true where a token is masked. The order (B, N) is the position of each token in the shuffled
    sequence, of which the first V tokens are the visible ones. By default the choice is uniform and the visible tokens
    are in random order.

    With a `block` of several tokens, whole blocks are masked until N - V tokens are; blocks may overlap each other and
    the ends of the sequence, and the last one is truncated.

    Args:
        ratio: fraction of the tokens that is masked.
        seed: seed of the masks; None draws one.
        block: number of consecutive tokens that are masked together.
    """

    def __init__(self, ratio: float = 0.6, seed: int | None = None, block: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.ratio, self.seed, self.block = ratio, seed, block
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, x, seed: int | None = None):
        tokens = x.shape[1]
        visible, blocks = count_visible(tokens, self.ratio), (ops.shape(x)[0], tokens + self.block - 1)
        # float32 under every precision policy: half precision has ties, and ties favour the first tokens
        noise = keras.random.uniform(blocks, dtype="float32", seed=self.generator if seed is None else seed)
        # The tokens with the largest noise are masked; that of a token is the maximum over the blocks that contain it.
        noise = ops.max(ops.stack([noise[:, k : k + tokens] for k in range(self.block)]), 0)
        shuffled = ops.argsort(noise, axis=1)  # (B, N): token at each shuffled position
        order = ops.argsort(shuffled, axis=1)  # (B, N): shuffled position of each token
        return ops.take_along_axis(x, shuffled[:, :visible, None], axis=1), order >= visible, order

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "seed": self.seed, "block": self.block}


@keras.saving.register_keras_serializable(package="keras_ecg")
class MaskTokens(layers.Layer):
    """Insert a learned mask token at masked positions: visible tokens (B, V, D) and order (B, N) to (B, N, D)."""

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
