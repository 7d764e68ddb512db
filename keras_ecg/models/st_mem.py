"""ST-MEM: a masked autoencoder of twelve leads, with a joint encoder of all leads and a decoder of single leads.

Na Y, Park M, Tae Y, Joo S, Guiding Masked Representation Learning to Capture Spatio-Temporal Relationship of
Electrocardiogram, ICLR 2024, https://arxiv.org/abs/2402.09450.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches per lead, V visible patches, D width. A row
(B L, ...) is one lead of one window.

A token is a patch of one lead. Each lead is masked independently; a lead embedding is added to its tokens, separator
tokens are added at both ends, and the encoder gets the visible tokens of all leads as one sequence. The decoder gets
one lead at a time, so information of other leads reaches it only through the encoded tokens and separators of that
lead.

Departures from the paper: the separators of a lead are two learned tokens without positions, instead of one learned
token at two positions; patches are projected without layer normalization; the variance of flat patches is bounded as in
`keras_ecg.models.mae`; optionally rotary position embeddings (`rotary`), which shorten the initial plateau of small
encoders.

    autoencoder = STMEM((2250, 12), STMEMConfig())
    two = with_leads(autoencoder.encoder, [0, 1])  # leads I and II only: keras_ecg.models.fewer_leads
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
    """Hyperparameters of ST-MEM; the defaults are the paper's: ViT-Base over windows of 9 s at 250 Hz."""

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
    """Build the encoder: signals (B, T, L) to tokens (B, L N, D), the leads concatenated, without separators.

    Args:
        shape: (T, L).
        config: hyperparameters.
        dtype: dtype policy of the layers; None for the global policy.

    Raises:
        ValueError: T is not divisible by the patch length, or the width by the number of heads.
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
    """ST-MEM: signals (B, T, L) to predicted patches (B L, N, P) and the mask (B L, N).

    Inputs of `fit` and logs are those of `MaskedAutoencoder`; `scores` are means over the leads of a window.

    Args:
        shape: (T, L).
        config: hyperparameters.
        seed: seed of the masks; None draws one.

    Raises:
        ValueError: hyperparameters that do not fit the shape or each other.
    """

    config_class, build_encoder = STMEMConfig, staticmethod(build_encoder)

    @property
    def rows(self) -> int:
        """Return L: each lead is a row."""
        return self.shape[1]

    def patchify(self, signals):
        """Embed the patches of signals (B, T, L) as tokens (B L, N, D), with positions added."""
        return super().patchify(fold_leads(signals))

    def encode(self, visible, order, training=None):
        """Encode visible tokens (B L, V, D), the first V of the order (B L, N), with separators: (B L, V + 2, D)."""
        x = self.encoder.get_layer("lead_embedding")(self.encoder.get_layer("separators")(visible))
        positions = ops.argsort(order, axis=1)[:, : visible.shape[1]]  # (B L, V), before shuffling
        positions = count_separators(positions, order.shape[1])  # (B L, V + 2)
        x, positions = (join_leads(v, self.rows) for v in (x, positions))  # all leads in one sequence
        return split_leads(self.encoder.get_layer("transformer")(x, positions, training=training), self.rows)

    def decode(self, encoded, order, training=None):
        """Decode encoded tokens (B L, V + 2, D) and mask tokens, restored by order (B L, N), to patches (B L, N, P)."""
        x = self.bridge(encoded)
        first, visible, last = x[:, :1], x[:, 1:-1], x[:, -1:]
        x = self.positions(self.mask_tokens(visible, order))  # (B L, N, decoder width)
        x = self.decoder(ops.concatenate([first, x, last], 1), training=training)  # one lead at a time
        return self.predict_patches(x[:, 1:-1])

    def patches(self, signals):
        """Cut signals (B, T, L) into float32 patches (B L, N, P)."""
        return patchify(fold_leads(ops.cast(signals, "float32")), self.config.patch_samples)

    def windows(self, patches):
        """Invert `patches`: (B L, N, P) to (B, T, L)."""
        return unfold_leads(unpatchify(patches, 1), self.rows)
