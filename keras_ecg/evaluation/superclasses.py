"""Metrics of multi-label classification of PTB-XL's diagnostic superclasses: AUROC of each, and their mean.

For n recordings and K seeds a run stores: ecg_id (n,), subject (n,) str, y_true (n, 5) in the order of
`ptbxl.SUPERCLASSES`, probabilities (K, n, 5), seeds (K,).
"""

from pathlib import Path

import numpy as np

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.errors import InputError
from keras_ecg.evaluation.titles import baseline_title
from keras_ecg.metrics import difference, interval, resample_counts, resampled_auroc
from keras_ecg.predictions import baseline_files, file_name, read_arrays

NAMES = ("macro_auroc", *(f"classes.{c}.auroc" for c in SUPERCLASSES))


def check(path: Path) -> dict[str, np.ndarray]:
    """The stored arrays.

    Raises:
        InputError: one is missing, or of another shape.
    """
    stored = read_arrays(path, ("ecg_id", "subject", "y_true", "probabilities", "seeds"))
    shape = (len(stored["seeds"]), len(stored["ecg_id"]), len(SUPERCLASSES))
    if stored["probabilities"].shape != shape or stored["y_true"].shape != shape[1:]:
        found = f"probabilities of shape {stored['probabilities'].shape}"
        raise InputError(path, found, f"{shape}: seeds, recordings, superclasses", "run it again")
    return stored


def areas(stored: dict[str, np.ndarray], counts: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC of each superclass, and their mean, for each seed under weights (R, n) of the recordings: (K, R)."""
    truth, probabilities = stored["y_true"].astype(bool), stored["probabilities"].astype("f8")
    out = {
        name: np.stack([resampled_auroc(truth[:, c], p[:, c], counts) for p in probabilities])
        for c, name in enumerate(NAMES[1:])
    }
    return {NAMES[0]: np.mean(list(out.values()), axis=0), **out}


def evaluate_superclasses(folder: Path, bootstrap: int, seed: int) -> dict:
    """AUROCs of the model and its baselines with 95 % CIs over patients, their paired differences, and alarms.

    Raises:
        InputError: an array is missing or invalid, or a baseline is of other recordings than the model.
    """
    files = {"model": folder / file_name()} | baseline_files(folder)
    scores: dict[str, dict] = {}
    resampled: dict[str, dict] = {}
    first = check(files["model"])
    subjects, place = np.unique(first["subject"], return_inverse=True)
    drawn = resample_counts(len(subjects), bootstrap, seed)[:, place] if bootstrap else None
    for name, path in files.items():
        stored = check(path)
        for array in ("ecg_id", "y_true"):
            if not np.array_equal(stored[array], first[array]):
                raise InputError(path, f"another {array}", "that of the model", "run it again")
        once = areas(stored, np.ones((1, len(place))))
        resampled[name] = {m: v.mean(0) for m, v in areas(stored, drawn).items()} if bootstrap else {}
        out: dict = {
            "recordings": len(place),
            "subjects": len(subjects),
            "class_counts": dict(zip(SUPERCLASSES, stored["y_true"].sum(0).tolist(), strict=True)),
            "seeds": stored["seeds"].tolist(),
        }
        for m in NAMES:
            each = once[m][:, 0]
            low, high = interval(resampled[name][m]) if bootstrap else (None, None)
            value = {"mean": each.mean(), "sd": each.std() if len(each) > 1 else None, "low": low, "high": high}
            if m == NAMES[0]:
                out[m] = value
            else:
                out.setdefault("classes", {})[m.split(".")[1]] = {"auroc": value}
        scores[name] = out
    model = scores.pop("model")
    differences = {
        name: {
            NAMES[0]: difference(
                model[NAMES[0]]["mean"] - baseline[NAMES[0]]["mean"],
                resampled["model"][NAMES[0]] - resampled[name][NAMES[0]],
            )
        }
        for name, baseline in (scores.items() if bootstrap else ())
    }
    alarms = [
        f'not significantly better than the baseline "{baseline_title(name)}" (macro AUROC)'
        for name in ("random_init", "raw_signal", "scratch", "resnet1d", "intervals")
        if name in differences and not differences[name][NAMES[0]]["low"] > 0
    ]
    return {"model": model, "baselines": scores, "differences": differences, "alarms": alarms}
