"""An encoder of patches that sees some of them while it is trained."""

import keras

from keras_ecg.layers.leads import JoinLeads, Separators
from keras_ecg.layers.patch_dropout import PatchDropout
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.transformer import Transformer


def with_patch_dropout(encoder: keras.Model, share: float, seed: int | None = None) -> keras.Model:
    """The same layers, with patches left out while training: (B, T, L) to (B, L V, D), in prediction to (B, L N, D).

    Each lead loses patches of its own; where attention crosses leads at one time, all of them lose the same.

    Args:
        encoder: of patches with positions, such as that of ST-MEM, ECG-JEPA or the masked autoencoder.
        share: of each lead's patches that is left out.
        seed: of the draws.

    Raises:
        ValueError: an encoder without patches, or a share that leaves no patch or all of them.
    """
    kinds = [type(layer) for layer in encoder.layers]
    if SinCosPositions not in kinds or Transformer not in kinds:
        raise ValueError(f"{encoder.name} has no patches to leave out")
    transformer = encoder.layers[kinds.index(Transformer)]
    together = transformer.rows if transformer.cross else 1
    ends, x, places = Separators in kinds, encoder.input, None
    for layer in encoder.layers[1:]:
        x = layer(x, places) if layer is transformer else layer(x)
        if isinstance(layer, SinCosPositions):
            x, places = PatchDropout(share, together, ends, seed, name="patch_dropout", dtype=layer.dtype_policy)(x)
            if transformer.rows > 1:
                places = JoinLeads(transformer.rows, name="join_places")(places)
    return keras.Model(encoder.input, x, name=encoder.name)
