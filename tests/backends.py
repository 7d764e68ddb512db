"""Outputs of small models for given inputs, to be compared between backends."""

from pathlib import Path

import keras
import numpy as np

from keras_ecg.models import load_model

VISIBLE = 3  # of six patches


def of_beats(model, given: dict) -> dict:
    """Compute a classifier's probabilities."""
    return {"probabilities": model.predict({name: given[name] for name in ("scalograms", "rr")}, verbose=0)}


def of_mae(model, given: dict) -> dict:
    """Compute tokens, and predictions from the visible ones."""
    signals, order = given["signals"], given["order"]
    tokens = model.encoder.predict(signals, verbose=0)
    predictions = model.decode(tokens[:, :VISIBLE], order)
    loss = model.compute_loss(signals, y_pred=(predictions, order >= VISIBLE))
    return {"tokens": tokens, "predictions": predictions, "masked_loss": loss}


def of_contrastive(model, given: dict) -> dict:
    """Compute the losses of two training steps."""
    model.compile(keras.optimizers.SGD(0.1))
    views = {"views": given["views"], "subject": given["subject"]}
    logs = model.fit(views, batch_size=len(given["views"]), epochs=2, verbose=0).history
    return {"contrastive_loss": logs["loss"], "log_n": logs["log_n"]}


def rows_of(given: dict) -> np.ndarray:
    """Repeat the order of the patches for each lead: all leads of a window have the same mask."""
    return np.repeat(given["order"], given["signals"].shape[2], 0)


def of_st_mem(model, given: dict) -> dict:
    """Compute tokens, and predictions from the visible ones."""
    signals, rows = given["signals"], rows_of(given)
    encoded = model.encode(model.patchify(signals)[:, :VISIBLE], rows)
    tokens = model.encoder.predict(signals, verbose=0)
    return {"st_mem_tokens": tokens, "st_mem_predictions": model.decode(encoded, rows)}


def of_ecg_jepa(model, given: dict) -> dict:
    """Compute tokens, the loss, and the targets after the update of the target encoder."""
    signals, rows = given["signals"], rows_of(given)
    tokens = model.encoder.predict(signals, verbose=0)
    predicted = model.predict_hidden(model.encode(model.patchify(signals)[:, :VISIBLE], rows), rows)
    loss = model.compute_loss(signals, y_pred=(predicted, model.targets(signals), given["order"] >= VISIBLE))
    return {"jepa_tokens": tokens, "jepa_loss": loss, "jepa_targets": model.targets(signals)}


def of_vqvae(model, given: dict) -> dict:
    """Compute the losses of two training steps, and the codebook after them."""
    signals = given["signals"]
    model.compile(keras.optimizers.SGD(0.1))
    logs = model.fit(signals, batch_size=len(signals), epochs=2, verbose=0).history
    found = {f"vqvae_{name}": values for name, values in logs.items()}
    return found | {"codes": model.codes_of(signals), "codebook": model.quantizer.codebook}


RESULTS = {
    "beats": of_beats,
    "mae": of_mae,
    "contrastive": of_contrastive,
    "st_mem": of_st_mem,
    "ecg_jepa": of_ecg_jepa,
    "vqvae": of_vqvae,
}


def results(folder: Path | str, names: list[str]) -> dict[str, np.ndarray]:
    """Compute the outputs of the named models saved in a folder for `given.npz`."""
    given = dict(np.load(Path(folder) / "given.npz"))
    found = {}
    for name in names:
        found |= RESULTS[name](load_model(Path(folder) / f"{name}.keras"), given)
    return {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in found.items()}
