"""The pre-norm Transformer encoder.

Dosovitskiy A et al., An Image Is Worth 16x16 Words (Vision Transformer), ICLR 2021, https://arxiv.org/abs/2010.11929:
layer normalization before attention and feed-forward network, and once after the last block.

Shapes: B batch, N tokens, D width.
"""

import keras
import numpy as np
from keras import layers

from keras_ecg.layers.attention import RotarySelfAttention, SelfAttention
from keras_ecg.layers.feed_forward import FeedForward


@keras.saving.register_keras_serializable(package="keras_ecg")
class TransformerBlock(layers.Layer):
    """Self-attention, then feed-forward network, each pre-norm with residual connection: (B, N, D) to (B, N, D).

    With `rotary`, attention has rotary position embeddings; `positions` (B, N) are needed if the tokens are not
    consecutive. With `rows`, each token attends to its row and column of a grid only (`cross_pattern`).
    """

    def __init__(self, heads: int = 4, expansion: int = 4, dropout: float = 0.0, rotary: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.expansion, self.dropout, self.rotary = heads, expansion, dropout, rotary

    def build(self, shape):
        kind = RotarySelfAttention if self.rotary else SelfAttention
        self.attention = kind(self.heads, self.dropout, name="attention", dtype=self.dtype_policy)
        self.feed_forward = FeedForward(self.expansion, self.dropout, name="feed_forward", dtype=self.dtype_policy)
        self.attention.build(shape)
        self.feed_forward.build(shape)

    def call(self, x, positions=None, rows=None, training=None):
        rotary = {"positions": positions} if self.rotary else {}
        return self.feed_forward(self.attention(x, **rotary, rows=rows, training=training), training=training)

    def get_config(self):
        hyperparameters = ("heads", "expansion", "dropout", "rotary")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}


@keras.saving.register_keras_serializable(package="keras_ecg")
class Transformer(layers.Layer):
    """Stack of Transformer blocks and a final layer normalization: tokens (B, N, D) to (B, N, D), for any N.

    Args:
        depth: number of blocks.
        heads: attention heads per block.
        expansion: width of the feed-forward networks, as a multiple of D.
        dropout: dropout rate of attention and feed-forward networks.
        rotary: use rotary position embeddings.
        rows: number of leads whose tokens are concatenated; positions restart with each.
        cross: attend to the token's row and column only (`keras_ecg.layers.attention.cross_pattern`).
    """

    def __init__(
        self,
        depth: int = 6,
        heads: int = 4,
        expansion: int = 4,
        dropout: float = 0.0,
        rotary: bool = False,
        rows: int = 1,
        cross: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.depth, self.heads, self.expansion, self.dropout = depth, heads, expansion, dropout
        self.rotary, self.rows, self.cross = rotary, rows, cross

    def build(self, shape):
        self.blocks = [
            TransformerBlock(
                self.heads, self.expansion, self.dropout, self.rotary, name=f"block_{i}", dtype=self.dtype_policy
            )
            for i in range(self.depth)
        ]
        self.norm = layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        for part in (*self.blocks, self.norm):
            part.build(shape)

    def call(self, x, positions=None, training=None):
        if self.rows > 1 and x.shape[1] % self.rows:
            raise ValueError(f"{x.shape[1]} tokens do not divide into {self.rows} rows")
        if self.rows > 1 and positions is None:
            positions = np.tile(np.arange(x.shape[1] // self.rows), self.rows)
        for block in self.blocks:
            x = block(x, positions, rows=self.rows if self.cross else None, training=training)
        return self.norm(x)

    def get_config(self):
        hyperparameters = ("depth", "heads", "expansion", "dropout", "rotary", "rows", "cross")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}
