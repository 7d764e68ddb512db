"""Patch dropout for a pretrained encoder of patches."""

import keras

from keras_ecg.layers.leads import JoinLeads, Separators
from keras_ecg.layers.patch_dropout import PatchDropout
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.transformer import Transformer


def with_patch_dropout(encoder: keras.Model, share: float, seed: int | None = None) -> keras.Model:
    """Add patch dropout to an encoder: (B, T, L) to (B, L V, D) in training, to (B, L N, D) otherwise.

    Patches are dropped independently in each lead; with cross-pattern attention, at the same times in all leads.

    Args:
        encoder: encoder of patches with positions, such as that of ST-MEM, ECG-JEPA or the masked autoencoder.
        share: fraction of each lead's patches that is dropped.
        seed: seed of the random choice.

    Raises:
        ValueError: an encoder without patches, or a fraction that drops none or all of them.
    """
    kinds = [type(layer) for layer in encoder.layers]
    if SinCosPositions not in kinds or Transformer not in kinds:
        raise ValueError(f"{encoder.name} has no patches to drop")
    transformer = encoder.layers[kinds.index(Transformer)]
    together = transformer.rows if transformer.cross else 1
    ends, x, positions = Separators in kinds, encoder.input, None
    for layer in encoder.layers[1:]:
        x = layer(x, positions) if layer is transformer else layer(x)
        if isinstance(layer, SinCosPositions):
            x, positions = PatchDropout(share, together, ends, seed, name="patch_dropout", dtype=layer.dtype_policy)(x)
            if transformer.rows > 1:
                positions = JoinLeads(transformer.rows, name="join_places")(positions)
    return keras.Model(encoder.input, x, name=encoder.name)
