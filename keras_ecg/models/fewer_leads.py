"""Encoders whose tokens are those of single leads: for recordings that have some of them, and lead by lead."""

from collections.abc import Sequence

import keras


def token_rows(encoder: keras.Model) -> int:
    """How many leads an encoder's tokens (B, R N, D) are of, one after the other; 1 where they are of all at once."""
    return next((layer.rows for layer in encoder.layers if hasattr(layer, "rows")), 1)


def with_leads(encoder: keras.Model, leads: Sequence[int]) -> keras.Model:
    """The same weights for windows of some of the leads: (B, T, L) to tokens of these leads alone.

    An encoder whose tokens are those of single leads has no weight whose shape depends on how many there are. The leads
    that are missing are not filled in: there are no tokens of them, and nothing attends to them.

    Args:
        encoder: of single leads' tokens, such as that of ST-MEM, ECG-JEPA or the VQ-VAE.
        leads: which of the encoder's, by index, in any order.

    Raises:
        ValueError: no such lead, one twice, or an encoder whose weights do not allow it.
    """
    samples, known = encoder.input_shape[1:]
    leads = tuple(leads)
    if not leads or len(set(leads)) < len(leads) or not set(leads) <= set(range(known)):
        raise ValueError(f"leads {leads} of an encoder of {known}")

    def change(layer):
        config = layer.get_config()
        if "rows" in config:
            config["rows"] = len(leads)
        if "leads" in config:
            config["leads"] = tuple(config["leads"][k] for k in leads)
        return layer.from_config(config)

    signals = keras.Input((samples, len(leads)), name="signals")
    fewer = keras.models.clone_model(encoder, input_tensors=signals, clone_function=change)
    if [w.shape for w in fewer.weights] != [w.shape for w in encoder.weights]:
        raise ValueError(f"{encoder.name} joins its leads in its first weights: it takes all {known} of them")
    fewer.set_weights(encoder.get_weights())
    return fewer
