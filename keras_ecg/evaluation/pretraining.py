"""Figures of a pretraining on held-out windows, and the alarms of one that has learnt nothing.

A run that masks stores, for n windows: subject (n,) str, error (n,), the mean squared error on the masked patches, and
mean_error (n,), that of predicting the window's mean there. A contrastive one stores, for b batches, loss (b,) and
log_n (b,), the loss at chance; and for m windows subject (m,) and embeddings (m, D).
"""

from pathlib import Path

import numpy as np

from keras_ecg.errors import InputError
from keras_ecg.metrics import effective_rank, interval, resample_counts
from keras_ecg.predictions import control_files, file_name, read_arrays

CHANCE = 0.98  # of the loss at chance: above it nothing has been learnt
COLLAPSED = 2.0  # an effective rank below it: all embeddings lie along one line


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    stored = read_arrays(path, names)
    for name in names:
        if stored[name].dtype.kind == "f" and not np.isfinite(stored[name]).all():
            raise InputError(path, f"{name} that is no number", "finite numbers", "pretrain again")
    return {name: stored[name] if stored[name].dtype.kind == "U" else stored[name].astype("f8") for name in names}


def loss_ratio(subject: np.ndarray, error: np.ndarray, mean_error: np.ndarray, bootstrap: int, seed: int) -> dict:
    """Sum of errors over sum of the mean's errors, with its 95 % interval by bootstrap over subjects.

    Args:
        subject: (n,).
        error: (n,).
        mean_error: (n,).
        bootstrap: resamples; 0 for no interval.
        seed: of the bootstrap.
    """
    _, place = np.unique(subject, return_inverse=True)
    above, below = np.bincount(place, error), np.bincount(place, mean_error)
    out = {"mean": above.sum() / below.sum(), "low": None, "high": None}
    if bootstrap:
        counts = resample_counts(len(above), bootstrap, seed)
        out["low"], out["high"] = interval((counts @ above) / (counts @ below))
    return out


def evaluate_masked(folder: Path, bootstrap: int, seed: int) -> dict:
    """Held-out masked losses of the model and its controls, as a share of the loss of predicting the mean.

    Raises:
        InputError: an array is missing, odd, or of other windows than the model's.
    """
    files = {"model": folder / file_name()} | control_files(folder)
    stored = {name: _arrays(path, ("subject", "error", "mean_error")) for name, path in files.items()}
    figures = {}
    for name, a in stored.items():
        if not np.allclose(a["mean_error"], stored["model"]["mean_error"], rtol=1e-3):
            raise InputError(files[name], "other windows or masks", "those of the model", "pretrain again")
        figures[name] = {
            "windows": len(a["error"]),
            "subjects": len(np.unique(a["subject"])),
            "masked_loss": a["error"].mean(),
            "relative_loss": loss_ratio(**a, bootstrap=bootstrap, seed=seed),
            "databases": {},
        }
        database = np.array([s.partition("/")[0] for s in a["subject"]])
        for d in np.unique(database):
            own = {k: v[database == d] for k, v in a.items()}
            figures[name]["databases"][d] = loss_ratio(**own, bootstrap=bootstrap, seed=seed)
    model = figures.pop("model")
    alarms = []
    if (model["relative_loss"]["high"] or model["relative_loss"]["mean"]) > CHANCE:
        alarms.append("the masked loss is no better than that of predicting each window's mean: nothing is learnt")
    for name, control in figures.items():
        if model["relative_loss"]["mean"] >= control["relative_loss"]["mean"]:
            alarms.append(f"the masked loss is not below that of the control {name}")
    return {"model": model, "controls": figures, "alarms": alarms}


def evaluate_contrastive(folder: Path, bootstrap: int, seed: int) -> dict:
    """Held-out contrastive losses and effective ranks of the model and its controls.

    Raises:
        InputError: an array is missing or odd.
    """
    figures = {}
    for name, path in ({"model": folder / file_name()} | control_files(folder)).items():
        a = _arrays(path, ("loss", "log_n", "subject", "embeddings"))
        figures[name] = {
            "windows": len(a["embeddings"]),
            "subjects": len(np.unique(a["subject"])),
            "contrastive_loss": a["loss"].mean(),
            "log_n": a["log_n"].mean(),
            "relative_loss": {"mean": a["loss"].mean() / a["log_n"].mean(), "low": None, "high": None},
            "effective_rank": effective_rank(a["embeddings"]),
            "dimensions": a["embeddings"].shape[1],
        }
    model = figures.pop("model")
    alarms = []
    if model["relative_loss"]["mean"] > CHANCE:
        alarms.append("the contrastive loss stands at log N, its value at chance: nothing is learnt")
    if model["effective_rank"] < COLLAPSED:
        alarms.append(f"the embeddings have collapsed: their effective rank is {model['effective_rank']:.1f}")
    for name, control in figures.items():
        if model["relative_loss"]["mean"] >= control["relative_loss"]["mean"]:
            alarms.append(f"the contrastive loss is not below that of the control {name}")
    return {"model": model, "controls": figures, "alarms": alarms}
