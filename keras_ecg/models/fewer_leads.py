"""Encoders of several leads: how many rows of tokens they have, and the same for recordings that lack some leads."""

from collections.abc import Sequence

import keras
from keras.layers import Conv1D


def token_rows(encoder: keras.Model) -> int:
    """How many leads an encoder's tokens (B, R N, D) are of, one after the other; 1 where they are of all at once."""
    return next((layer.rows for layer in encoder.layers if hasattr(layer, "rows")), 1)


def with_leads(encoder: keras.Model, leads: Sequence[int]) -> keras.Model:
    """The same weights for windows of some of the leads: (B, T, L) to tokens of these leads alone.

    An encoder whose tokens are those of single leads has no weight whose shape depends on how many there are. The leads
    that are missing are not filled in: there are no tokens of them, and nothing attends to them. One that begins with a
    convolution of all leads keeps its channels of those there are, as if the others were zero.

    Args:
        encoder: of single leads' tokens, such as that of ST-MEM, ECG-JEPA or the VQ-VAE; or of convolutions.
        leads: which of the encoder's, by index, in any order.

    Raises:
        ValueError: no such lead, one twice, or an encoder whose weights do not allow it.
    """
    samples, known = encoder.input_shape[1:]
    leads = tuple(leads)
    if not leads or len(set(leads)) < len(leads) or not set(leads) <= set(range(known)):
        raise ValueError(f"leads {leads} of an encoder of {known}")

    kernels = [layer.kernel for layer in encoder.layers if isinstance(layer, Conv1D) and layer.input is encoder.input]
    first = next((k for k, w in enumerate(encoder.weights) if any(w is kernel for kernel in kernels)), None)
    if first is None and token_rows(encoder) != known:
        raise ValueError(f"{encoder.name} joins its leads in its first weights: it takes all {known}, in their order")

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
