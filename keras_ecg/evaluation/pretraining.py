"""Metrics of self-supervised pretraining on windows of held-out subjects, and alarms where nothing was learned.

A predicting run stores, for n windows: subject (n,) str, error (n,) of its predictions, and mean_error (n,) of
predicting the window's mean. Errors are mean squares: of a masked autoencoder over masked patches; of a VQ-VAE over all
samples, with code_counts (K,), how often each code is used. A run that predicts embeddings has errors of its own
targets, and stores embeddings (n, D) as well. A contrastive run stores, for b batches, loss (b,) and log_n (b,), the
loss at chance; and for m windows subject (m,) and embeddings (m, D).
"""

from pathlib import Path

import numpy as np

from keras_ecg.errors import InputError
from keras_ecg.evaluation.titles import baseline_title
from keras_ecg.metrics import effective_rank, interval, resample_counts
from keras_ecg.predictions import baseline_files, file_name, read_arrays

KINDS = {  # of a pretraining run, by the name of its objective
    "mae": "masked",
    "st_mem": "masked",
    "ecg_jepa": "predictive",
    "vqvae": "quantized",
    "contrastive": "contrastive",
}
CHANCE = 0.98  # of the loss at chance: above it nothing is learned
COLLAPSED = 2.0  # effective rank below which the embeddings are nearly one-dimensional
FEW_CODES = 0.25  # perplexity as a fraction of the codebook, below which most of it is unused


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    stored = read_arrays(path, names)
    for name in names:
        if stored[name].dtype.kind == "f" and not np.isfinite(stored[name]).all():
            raise InputError(path, f"non-finite {name}", "finite numbers", "pretrain again")
    return {name: stored[name] if stored[name].dtype.kind == "U" else stored[name].astype("f8") for name in names}


def loss_ratio(subject: np.ndarray, error: np.ndarray, mean_error: np.ndarray, bootstrap: int, seed: int) -> dict:
    """Sum of errors over sum of the mean's errors, with its 95 % CI by bootstrap over subjects.

    Args:
        subject: (n,).
        error: (n,).
        mean_error: (n,).
        bootstrap: resamples; 0 for no CI.
        seed: of the bootstrap.
    """
    _, place = np.unique(subject, return_inverse=True)
    above, below = np.bincount(place, error), np.bincount(place, mean_error)
    out = {"mean": above.sum() / below.sum(), "low": None, "high": None}
    if bootstrap:
        counts = resample_counts(len(above), bootstrap, seed)
        out["low"], out["high"] = interval((counts @ above) / (counts @ below))
    return out


def _relative(a: dict[str, np.ndarray], loss: str, bootstrap: int, seed: int) -> dict:
    """Metrics of the errors of windows: their mean, named `loss`, and the normalized validation loss."""
    a = {name: a[name] for name in ("subject", "error", "mean_error")}
    database = np.array([s.partition("/")[0] for s in a["subject"]])
    return {
        "windows": len(a["error"]),
        "subjects": len(np.unique(a["subject"])),
        loss: a["error"].mean(),
        "relative_loss": loss_ratio(**a, bootstrap=bootstrap, seed=seed),
        "databases": {
            d: loss_ratio(**{k: v[database == d] for k, v in a.items()}, bootstrap=bootstrap, seed=seed)
            for d in np.unique(database)
        },
    }


def _alarms(scores: dict[str, dict], loss: str) -> list[str]:
    """Alarms of a loss that is no better than that of the trivial predictor or of a baseline."""
    ratios = {name: of["relative_loss"] for name, of in scores.items()}
    model, alarms = ratios.pop("model"), []
    if (model["high"] or model["mean"]) > CHANCE:
        alarms.append(f"the {loss} loss is no better than that of predicting each window's mean: nothing was learned")
    for name, baseline in ratios.items():
        if model["mean"] >= baseline["mean"]:
            alarms.append(f'the {loss} loss is not below that of the baseline "{baseline_title(name)}"')
    return alarms


def _split(scores: dict[str, dict], alarms: list[str]) -> dict:
    return {"model": scores.pop("model"), "baselines": scores, "alarms": alarms}


def evaluate_masked(folder: Path, bootstrap: int, seed: int) -> dict:
    """Validation losses on masked patches of the model and its baselines, normalized by predicting the mean.

    Raises:
        InputError: an array is missing, invalid, or of other windows than the model's.
    """
    files = {"model": folder / file_name()} | baseline_files(folder)
    stored = {name: _arrays(path, ("subject", "error", "mean_error")) for name, path in files.items()}
    for name, a in stored.items():
        if not np.allclose(a["mean_error"], stored["model"]["mean_error"], rtol=1e-3):
            raise InputError(files[name], "other windows or masks", "those of the model", "pretrain again")
    scores = {name: _relative(a, "masked_loss", bootstrap, seed) for name, a in stored.items()}
    return _split(scores, _alarms(scores, "masked"))


def evaluate_predictive(folder: Path, bootstrap: int, seed: int) -> dict:
    """Validation losses of predicted embeddings, normalized by predicting their mean, and effective ranks.

    Each model has its own targets, so that losses of model and baseline are not comparable; effective ranks are.

    Raises:
        InputError: an array is missing or invalid.
    """
    scores = {}
    for name, path in ({"model": folder / file_name()} | baseline_files(folder)).items():
        a = _arrays(path, ("subject", "error", "mean_error", "embeddings"))
        scores[name] = _relative(a, "jepa_loss", bootstrap, seed) | {
            "effective_rank": effective_rank(a["embeddings"]),
            "dimensions": a["embeddings"].shape[1],
        }
    alarms = _alarms({"model": scores["model"]}, "predictive")
    if scores["model"]["effective_rank"] < COLLAPSED:
        alarms.append(f"the embeddings have collapsed: their effective rank is {scores['model']['effective_rank']:.1f}")
    return _split(scores, alarms)


def evaluate_quantized(folder: Path, bootstrap: int, seed: int) -> dict:
    """Validation losses of reconstructions from code indices, R², and use of the codebook.

    Raises:
        InputError: an array is missing or invalid.
    """
    scores = {}
    for name, path in ({"model": folder / file_name()} | baseline_files(folder)).items():
        a = _arrays(path, ("subject", "error", "mean_error", "code_counts"))
        found = _relative(a, "reconstruction_loss", bootstrap, seed)
        ratio, share = found["relative_loss"], a["code_counts"] / max(a["code_counts"].sum(), 1)
        low, high = (None if end is None else 1 - end for end in (ratio["high"], ratio["low"]))
        scores[name] = found | {
            "r2": {"mean": 1 - ratio["mean"], "low": low, "high": high},
            "codes": len(share),
            "usage": (share > 0).mean(),
            "perplexity": np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()),
        }
    model, alarms = scores["model"], _alarms(scores, "reconstruction")
    if model["perplexity"] < FEW_CODES * model["codes"]:
        found = f"{model['usage']:.0%} of its {model['codes']} codes are used, with a perplexity of"
        alarms.append(f"the codebook has collapsed: {found} {model['perplexity']:.1f}")
    return _split(scores, alarms)


def evaluate_contrastive(folder: Path, bootstrap: int, seed: int) -> dict:
    """Validation losses of a contrastive objective and effective ranks of the model and its baselines.

    Raises:
        InputError: an array is missing or invalid.
    """
    scores = {}
    for name, path in ({"model": folder / file_name()} | baseline_files(folder)).items():
        a = _arrays(path, ("loss", "log_n", "subject", "embeddings"))
        scores[name] = {
            "windows": len(a["embeddings"]),
            "subjects": len(np.unique(a["subject"])),
            "contrastive_loss": a["loss"].mean(),
            "log_n": a["log_n"].mean(),
            "relative_loss": {"mean": a["loss"].mean() / a["log_n"].mean(), "low": None, "high": None},
            "effective_rank": effective_rank(a["embeddings"]),
            "dimensions": a["embeddings"].shape[1],
        }
    model, alarms = scores["model"], []
    if model["relative_loss"]["mean"] > CHANCE:
        alarms.append("the contrastive loss is at log N, its value at chance: nothing was learned")
    if model["effective_rank"] < COLLAPSED:
        alarms.append(f"the embeddings have collapsed: their effective rank is {model['effective_rank']:.1f}")
    for name, baseline in scores.items():
        if name != "model" and model["relative_loss"]["mean"] >= baseline["relative_loss"]["mean"]:
            alarms.append(f'the contrastive loss is not below that of the baseline "{baseline_title(name)}"')
    return _split(scores, alarms)
