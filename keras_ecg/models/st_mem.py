"""ST-MEM: a masked autoencoder of twelve leads, whose encoder sees all leads and whose decoder fills in one at a time.

Na Y, Park M, Tae Y, Joo S, Guiding Masked Representation Learning to Capture Spatio-Temporal Relationship of
Electrocardiogram, ICLR 2024, https://arxiv.org/abs/2402.09450.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches of a lead, V visible ones, D width. A row
(B L, ...) is one lead of one window.

A token is a patch of one lead. Each lead is masked by itself, its tokens get the lead's embedding, a separator stands
at each of its ends, and the encoder sees the visible tokens of all leads in one sequence. Of the other leads the
decoder knows what a lead's own tokens and separators tell.

Departures from the paper: the two separators of a lead are two learned tokens, which need no positions, instead of one
at two positions; patches are projected without norms; a flat patch's variance is limited as in `keras_ecg.models.mae`.
With `rotary` attention knows distances in time, as there: a small encoder gets off its plateau.

    autoencoder = STMEM((2250, 12), STMEMConfig())
    two = with_leads(autoencoder.encoder, [0, 1])  # I and II alone: keras_ecg.models.fewer_leads
"""

from dataclasses import dataclass

import keras
from keras import ops

from keras_ecg.layers.leads import (
    DropSeparators,
    FoldLeads,
    JoinLeads,
    LeadEmbedding,
    Separators,
    count_separators,
    fold_leads,
    join_leads,
    split_leads,
    unfold_leads,
)
from keras_ecg.layers.patches import PatchEmbedding, patchify, unpatchify
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.transformer import Transformer
from keras_ecg.models.mae import MAEConfig, MaskedAutoencoder


@dataclass(frozen=True)
class STMEMConfig(MAEConfig):
    """Hyperparameters of ST-MEM, by default the paper's: ViT-Base over windows of 9 s at 250 Hz."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    decoder_width: int = 256
    decoder_depth: int = 4
    decoder_heads: int = 4
    rotary: bool = False
    patch_samples: int = 75  # P: 0.3 s at 250 Hz
    mask_ratio: float = 0.75  # of each lead
    normalize_targets: bool = True


def build_encoder(shape: tuple[int, int], config: STMEMConfig, dtype: str | None = None) -> keras.Model:
    """The encoder: signals (B, T, L) to tokens (B, L N, D), one lead after the other, without separators.

    Args:
        shape: (T, L).
        config: the hyperparameters.
        dtype: policy of its layers; None takes the global one.

    Raises:
        ValueError: T does not divide into patches, or the width into heads.
    """
    leads = shape[1]
    signals = keras.Input(shape, name="signals")
    x = FoldLeads(name="fold", dtype=dtype)(signals)  # (B L, T, 1)
    x = PatchEmbedding(config.width, config.patch_samples, name="patches", dtype=dtype)(x)  # (B L, N, D)
    x = SinCosPositions(name="positions", dtype=dtype)(x)
    x = Separators(name="separators", dtype=dtype)(x)  # (B L, N + 2, D)
    x = LeadEmbedding(leads, name="lead_embedding", dtype=dtype)(x)
    x = JoinLeads(leads, name="join", dtype=dtype)(x)  # (B, L (N + 2), D)
    x = Transformer(
        config.depth,
        config.heads,
        config.expansion,
        config.dropout,
        config.rotary,
        rows=leads,
        name="transformer",
        dtype=dtype,
    )(x)
    x = DropSeparators(leads, name="drop_separators", dtype=dtype)(x)  # (B, L N, D)
    return keras.Model(signals, x, name="st_mem_encoder")


@keras.saving.register_keras_serializable(package="keras_ecg")
class STMEM(MaskedAutoencoder):
    """The encoder under its pretraining task: signals (B, T, L) to predicted patches (B L, N, P) and the mask (B L, N).

    It is fitted, and logs, as a `MaskedAutoencoder`; `scores` are means over a window's leads.

    Args:
        shape: (T, L).
        config: the hyperparameters.
        seed: of the masks; None draws one.

    Raises:
        ValueError: hyperparameters that do not fit the shape, or each other.
    """

    config_class, build_encoder = STMEMConfig, staticmethod(build_encoder)

    @property
    def rows(self) -> int:
        """L: each lead is a row."""
        return self.shape[1]

    def patchify(self, signals):
        """Signals (B, T, L) to tokens (B L, N, D) that know their positions."""
        return super().patchify(fold_leads(signals))

    def encode(self, visible, order, training=None):
        """Visible tokens (B L, V, D), the first of their order (B L, N), to encoded ones with separators, V + 2."""
        x = self.encoder.get_layer("lead_embedding")(self.encoder.get_layer("separators")(visible))
        stood = ops.argsort(order, axis=1)[:, : visible.shape[1]]  # (B L, V)
        positions = count_separators(stood, order.shape[1])  # (B L, V + 2)
        x, positions = (join_leads(v, self.rows) for v in (x, positions))  # all leads in one sequence
        return split_leads(self.encoder.get_layer("transformer")(x, positions, training=training), self.rows)

    def decode(self, encoded, order, training=None):
        """Encoded tokens (B L, V + 2, D) and mask tokens, in their order (B L, N), to predicted patches (B L, N, P)."""
        x = self.bridge(encoded)
        first, visible, last = x[:, :1], x[:, 1:-1], x[:, -1:]
        x = self.positions(self.mask_tokens(visible, order))  # (B L, N, decoder width)
        x = self.decoder(ops.concatenate([first, x, last], 1), training=training)  # one lead at a time
        return self.predict_patches(x[:, 1:-1])

    def patches(self, signals):
        """Signals (B, T, L) cut into what is predicted, (B L, N, P), in float32."""
        return patchify(fold_leads(ops.cast(signals, "float32")), self.config.patch_samples)

    def windows(self, patches):
        """The inverse of `patches`: (B L, N, P) to (B, T, L)."""
        return unfold_leads(unpatchify(patches, 1), self.rows)
