"""Multi-lead encoders: the number of leads in their tokens, and their adaptation to recordings with fewer leads."""

from collections.abc import Sequence

import keras
from keras.layers import Conv1D


def token_rows(encoder: keras.Model) -> int:
    """Return R, the number of leads whose tokens (B, R N, D) are concatenated; 1 if each token covers all leads."""
    return next((layer.rows for layer in encoder.layers if hasattr(layer, "rows")), 1)


def with_leads(encoder: keras.Model, leads: Sequence[int]) -> keras.Model:
    """Build an encoder with the same weights for a subset of the leads: (B, T, L) to tokens of these leads.

    If each token belongs to one lead, no weight depends on the number of leads: missing leads have no tokens, and
    nothing attends to them. If the encoder begins with a convolution over all leads, the kernel's channels of the given
    leads are kept, which equals setting the missing leads to zero.

    Args:
        encoder: an encoder with tokens of single leads, such as that of ST-MEM, ECG-JEPA or the VQ-VAE, or one that
            begins with a convolution.
        leads: indices of the encoder's leads, in any order.

    Raises:
        ValueError: an unknown or repeated lead, or an encoder that needs all of its leads.
    """
    samples, known = encoder.input_shape[1:]
    leads = tuple(leads)
    if not leads or len(set(leads)) < len(leads) or not set(leads) <= set(range(known)):
        raise ValueError(f"leads {leads} are not distinct indices of the {known} leads of the encoder")

    kernels = [layer.kernel for layer in encoder.layers if isinstance(layer, Conv1D) and layer.input is encoder.input]
    first = next((k for k, w in enumerate(encoder.weights) if any(w is kernel for kernel in kernels)), None)
    if first is None and token_rows(encoder) != known:
        raise ValueError(f"{encoder.name} combines its leads in its first layer: give all {known}, in their order")

    def change(layer):
        config = layer.get_config()
        if config.get("rows", 1) > 1:
            config["rows"] = len(leads)
        if "leads" in config:
            config["leads"] = tuple(config["leads"][k] for k in leads)
        return layer.from_config(config)

    signals = keras.Input((samples, len(leads)), name="signals")
    fewer = keras.models.clone_model(encoder, input_tensors=signals, clone_function=change)
    fewer.set_weights([w[:, list(leads)] if k == first else w for k, w in enumerate(encoder.get_weights())])
    return fewer
