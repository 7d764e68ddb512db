"""Metrics of binary normal (0) / abnormal (1) beat classification from few labels, by number of labels.

For n beats, Z sizes and K seeds a run stores: record (n,), subject (n,) str, sample (n,), y_true (n,),
labels_total (Z,), seeds (K,), probabilities (Z, K, n, 2); and where the seeds have different test beats, test_index
(K, m) into those n, padded with -1, with probabilities (Z, K, m, 2). Probabilities are multiples of 1 / LEVELS, so
that ranks can be counted.
"""

from pathlib import Path

import numpy as np

from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import Named, at, nest
from keras_ecg.evaluation.titles import baseline_title
from keras_ecg.metrics import difference, interval, resample_counts
from keras_ecg.predictions import baseline_files, file_name, read_arrays

NEEDED = ("record", "subject", "sample", "y_true", "labels_total", "seeds", "probabilities")
LEVELS = 1024
NAMES = ("accuracy", "macro_f1", "auroc")
COLLAPSED = 0.999  # fraction of the beats classified as one class


def rounded(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities of class 1 (...,) to those of both classes (..., 2), multiples of 1 / LEVELS, float16.

    Rounding never changes the decision: a probability just above one half stays above it.
    """
    levels = np.rint(probabilities * LEVELS)
    levels = np.where((levels == LEVELS // 2) & (probabilities > 0.5), LEVELS // 2 + 1, levels)
    return (np.stack([LEVELS - levels, levels], -1) / LEVELS).astype(np.float16)


def histograms(stored: dict[str, np.ndarray], size: int, seed: int, groups: int, place: np.ndarray) -> np.ndarray:
    """Histogram of the probabilities per subject and class: (G, 2, LEVELS + 1)."""
    index = stored["test_index"][seed] if "test_index" in stored else np.arange(len(place))
    scored = index >= 0
    index, found = index[scored], stored["probabilities"][size, seed, scored, 1]
    level = np.rint(found.astype("f4") * LEVELS).astype(int)
    key = (place[index] * 2 + stored["y_true"][index]) * (LEVELS + 1) + level
    return np.bincount(key, minlength=groups * 2 * (LEVELS + 1)).reshape(groups, 2, LEVELS + 1)


def binary_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, macro-F1 and AUROC (ties count half) of counts (..., 2, LEVELS + 1); the larger probability decides."""
    threshold = LEVELS // 2 + 1  # one half is class 0, as the first of equal ones
    tn, fp = counts[..., 0, :threshold].sum(-1), counts[..., 0, threshold:].sum(-1)
    fn, tp = counts[..., 1, :threshold].sum(-1), counts[..., 1, threshold:].sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = [2 * hit / np.maximum(2 * hit + fp + fn, 1) for hit in (tn, tp)]
        below = np.cumsum(counts[..., 0, :], -1) - 0.5 * counts[..., 0, :]
        area = (counts[..., 1, :] * below).sum(-1) / ((tn + fp) * (tp + fn))
        return {"accuracy": (tn + tp) / (tn + fp + fn + tp), "macro_f1": (f1[0] + f1[1]) / 2, "auroc": area}


def check(path: Path) -> dict[str, np.ndarray]:
    """The stored arrays.

    Raises:
        InputError: one is missing, or of another shape.
    """
    stored = read_arrays(path, NEEDED)
    beats = stored["test_index"].shape[1] if "test_index" in stored else len(stored["y_true"])
    shape = (len(stored["labels_total"]), len(stored["seeds"]), beats, 2)
    if stored["probabilities"].shape != shape:
        found = f"probabilities of shape {stored['probabilities'].shape}"
        raise InputError(path, found, f"{shape}: sizes, seeds, beats, classes", "run it again")
    return stored


def predictor(stored: dict[str, np.ndarray], bootstrap: int, seed: int) -> tuple[dict, dict[int, dict]]:
    """Metrics of one predictor by number of labels, and their bootstrap values (R,) for paired differences."""
    subjects, place = np.unique(stored["subject"], return_inverse=True)
    draws = resample_counts(len(subjects), bootstrap, seed).astype("f4") if bootstrap else None
    resampled: dict[int, dict] = {}

    def by_size() -> Named:
        yield "beats", len(stored["y_true"])
        yield "subjects", len(subjects)
        yield "abnormal", int(stored["y_true"].sum())
        yield "seeds", stored["seeds"].tolist()
        for z, size in enumerate(stored["labels_total"].tolist()):
            each, drawn, shares = [], [], []
            for k in range(len(stored["seeds"])):
                counts = histograms(stored, z, k, len(subjects), place)
                whole = counts.sum(0)
                each.append(binary_scores(whole))
                positive = whole[:, LEVELS // 2 + 1 :].sum() / whole.sum()
                shares.append(max(positive, 1 - positive))
                if draws is not None:
                    flat = counts.reshape(len(subjects), -1).astype("f4")
                    drawn.append(binary_scores((draws @ flat).reshape(-1, 2, LEVELS + 1)))
            resampled[size] = {m: np.mean([d[m] for d in drawn], 0) for m in NAMES} if drawn else {}
            for m in NAMES:
                values = np.array([e[m] for e in each])
                low, high = interval(resampled[size][m]) if drawn else (None, None)
                yield f"labels.{size}.{m}.mean", values.mean()
                yield f"labels.{size}.{m}.sd", values.std() if len(values) > 1 else None
                yield f"labels.{size}.{m}.low", low
                yield f"labels.{size}.{m}.high", high
                yield f"labels.{size}.{m}.per_seed", values
            yield f"labels.{size}.largest_share", max(shares)

    return nest(by_size()), resampled


def evaluate_few_labels(folder: Path, bootstrap: int, seed: int) -> dict:
    """Metrics by number of labels, of the model and its baselines, their paired differences, and alarms.

    Raises:
        InputError: an array is missing or invalid, or a baseline is of other beats than the model.
    """
    files = {"model": folder / file_name()} | baseline_files(folder)
    scores, resampled, model = {}, {}, None
    for name, path in files.items():
        stored = check(path)
        model = model or stored
        for array in ("sample", "y_true"):
            if not np.array_equal(stored[array], model[array]):
                raise InputError(path, f"another {array}", "that of the model", "run it again")
        if set(stored["labels_total"].tolist()) - set(model["labels_total"].tolist()):
            raise InputError(path, "other numbers of labels", "those of the model", "run it again")
        scores[name], resampled[name] = predictor(stored, bootstrap, seed)
    of_model = scores.pop("model")
    differences: dict = {}
    for name, baseline in scores.items():
        for size, of_size in baseline["labels"].items():
            for m in NAMES if bootstrap else ():
                value = of_model["labels"][size][m]["mean"] - of_size[m]["mean"]
                pair = (resampled[source][int(size)][m] for source in ("model", name))
                found = difference(value, np.subtract(*pair))
                differences.setdefault(name, {"labels": {}})["labels"].setdefault(size, {})[m] = found
    alarms = []
    for size, of_size in of_model["labels"].items():
        if of_size["largest_share"] > COLLAPSED:
            alarms.append(f"with {size} labels a seed classifies nearly every beat as one class")
    for name in ("random_init", "scratch"):
        worst = [s for s, d in at(differences, f"{name}.labels").items() if not d["auroc"]["low"] > 0]
        if worst:
            sizes = ", ".join(worst)
            alarms.append(
                f'not significantly better than the baseline "{baseline_title(name)}" (AUROC, {sizes} labels)'
            )
    return {"model": of_model, "baselines": scores, "differences": differences, "alarms": alarms}
