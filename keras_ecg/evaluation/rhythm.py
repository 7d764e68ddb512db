"""Metrics of rhythm classification of whole recordings.

For n recordings and K seeds a run stores: record (n,) str, subject (n,) str, y_true (n,) in the order N A O ~,
probabilities (K, n, 4), seeds (K,), fold (n,), and temperature (K, F) of the temperature scaling of each
seed and test fold. The stored probabilities are those before it. A baseline stores no temperature.

The score is the challenge's: the mean F1 of N, A and O over all recordings; the noisy class may be predicted, and its
F1 is reported but not averaged.
"""

from pathlib import Path

import numpy as np

from keras_ecg import metrics
from keras_ecg.calibration import scale_temperature
from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import Named, interval_of, nest, over_seeds
from keras_ecg.evaluation.rhythm_checks import evaluate_deletion, evaluate_robustness, rhythm_scores
from keras_ecg.evaluation.titles import baseline_title
from keras_ecg.predictions import baseline_files, file_name, read_npz

ARRAYS = ("record", "subject", "y_true", "probabilities", "seeds", "fold")
F1 = tuple(f"classes.{c}.f1" for c in CLASSES)
BRIEF = ("score", "accuracy", *F1)
BASELINES = ("majority_class", "gradient_boosting_rr")  # that a model must exceed; the others are its variants


def load_rhythm(path: Path) -> dict[str, np.ndarray]:
    """The stored arrays, probabilities as float32.

    Raises:
        InputError: one is missing, of another shape, or invalid.
    """
    stored = read_npz(path)
    do = "rerun the evaluation that wrote it"
    missing = [name for name in ARRAYS if name not in stored]
    if missing:
        raise InputError(path, f"no array {', '.join(missing)}", f"the arrays {', '.join(ARRAYS)}", do)
    p, n = stored["probabilities"].astype("f4"), len(stored["y_true"])
    shape = (len(stored["seeds"]), n, len(CLASSES))
    if p.shape != shape or any(len(stored[name]) != n for name in ("record", "subject", "fold")):
        raise InputError(path, f"probabilities of shape {p.shape}", f"{shape}: seeds, recordings, classes", do)
    if len(set(stored["record"].tolist())) != n:
        raise InputError(path, "a duplicate recording", "each once", do)
    if not (np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1.001):
        raise InputError(path, "invalid probabilities", "0 to 1, finite", do)
    return {**stored, "probabilities": p, "record": stored["record"].astype(str)}


def calibrated(stored: dict[str, np.ndarray]) -> np.ndarray:
    """Probabilities (K, n, 4) after temperature scaling; the stored ones where there is no temperature."""
    if "temperature" not in stored:
        return stored["probabilities"]
    return scale_temperature(stored["probabilities"], stored["temperature"][:, stored["fold"]])


def _confusions(stored: dict[str, np.ndarray]) -> np.ndarray:
    """Confusion matrices of every seed and subject, (K, G, 4, 4)."""
    truth, groups = stored["y_true"], stored["subject"]
    guesses = stored["probabilities"].argmax(-1)
    return np.stack([metrics.group_confusions(truth, guess, groups, len(CLASSES))[1] for guess in guesses])


def _scores(matrices: np.ndarray, resampled: dict, names: tuple[str, ...] | None = None) -> Named:
    """Mean, sd over seeds and 95 % CI over subjects."""
    for name, values in rhythm_scores(matrices.sum(1)).items():
        if names is None or name in names:
            yield from over_seeds(name, values)
            yield from interval_of(name, resampled)


def evaluate_predictor(stored: dict[str, np.ndarray], bootstrap: int, seed: int) -> tuple[dict, dict]:
    """All metrics of one predictor, and their bootstrap values (R,) for paired differences."""
    truth, raw = stored["y_true"], stored["probabilities"]
    matrices = _confusions(stored)
    resampled = metrics.bootstrap_scores(matrices, bootstrap, seed, rhythm_scores) if bootstrap else {}

    def named() -> Named:
        yield "recordings", len(truth)
        yield "subjects", matrices.shape[1]
        yield from ((f"class_counts.{c}", np.sum(truth == k)) for k, c in enumerate(CLASSES))
        yield "seeds", stored["seeds"].tolist()
        yield from _scores(matrices, resampled)
        area = np.stack([metrics.auroc(truth, p) for p in raw])
        yield from (item for k, c in enumerate(CLASSES) for item in over_seeds(f"classes.{c}.auroc", area[:, k]))
        whole = matrices.sum(1)
        mean = whole.mean(0)
        yield "confusion.mean", mean
        yield "confusion.row_share", mean / np.maximum(mean.sum(1, keepdims=True), 1)
        after = calibrated(stored)
        for name, p in (("ece_before", raw), ("ece", after)) if "temperature" in stored else (("ece", raw),):
            yield from over_seeds(name, np.array([metrics.expected_calibration_error(truth, q) for q in p]))
        for name, p in (("before", raw), ("after", after)):
            bins = metrics.calibration_bins(np.tile(truth, len(p)), p.reshape(-1, len(CLASSES)))
            yield from ((f"calibration.{name}.{key}", values) for key, values in bins.items())
        collapses = [metrics.collapse(p) for p in raw]
        for name, worst in (("predicted_classes", min), ("largest_share", max), ("constant", max), ("collapsed", max)):
            yield f"collapse.{name}", worst(c[name] for c in collapses)
        single = rhythm_scores(whole)
        yield "per_seed", [{"seed": s} | {m: single[m][k] for m in BRIEF} for k, s in enumerate(stored["seeds"])]
        if len(raw) > 1:
            together = {**stored, "probabilities": after.mean(0, keepdims=True), "seeds": np.array([-1])}
            matrix = _confusions(together)
            drawn = metrics.bootstrap_scores(matrix, bootstrap, seed, rhythm_scores) if bootstrap else {}
            for name, value in _scores(matrix, drawn, BRIEF):
                if not name.endswith(".sd"):
                    yield f"ensemble.{name}", value

    return nest(named()), resampled


def fold_rows(stored: dict[str, np.ndarray]) -> list[dict]:
    """A row per test fold: recordings, and the `BRIEF` metrics, means over seeds."""
    rows = []
    for fold in np.unique(stored["fold"]):
        own = stored["fold"] == fold
        part = {k: stored[k][own] for k in ("y_true", "subject")} | {"probabilities": stored["probabilities"][:, own]}
        found = rhythm_scores(_confusions(part).sum(1))
        row = {"fold": fold, "recordings": own.sum(), **{m: metrics.seed_mean(found[m]) for m in BRIEF}}
        if "temperature" in stored:
            row["temperature"] = stored["temperature"][:, fold].mean()
        rows.append(row)
    return rows


def evaluate_rhythm(folder: Path, bootstrap: int, seed: int) -> dict:
    """The metrics of the model and its baselines, their paired differences, and alarms.

    A baseline may have other seeds than the model, or predict the recordings of some folds only: it is compared on
    the recordings that both predict.

    Raises:
        InputError: an array is missing or invalid, or a baseline predicts other recordings or has other labels.
    """
    files = {"model": folder / file_name()} | baseline_files(folder)
    stored = {name: load_rhythm(path) for name, path in files.items()}
    model = stored.pop("model")
    scores, resampled = evaluate_predictor(model, bootstrap, seed)
    out: dict = {"model": scores, "folds": fold_rows(model), "baselines": {}, "differences": {}}
    place = {record: k for k, record in enumerate(model["record"].tolist())}
    for name, baseline in stored.items():
        lost = [record for record in baseline["record"].tolist() if record not in place]
        if lost:
            raise InputError(files[name], f"recordings {', '.join(lost[:3])}", "those of the model", "run it again")
        own = np.array([place[record] for record in baseline["record"].tolist()])
        if not np.array_equal(model["y_true"][own], baseline["y_true"]):
            raise InputError(files[name], "other labels than the model's", "equal labels", "run it again")
        out["baselines"][name], drawn = evaluate_predictor(baseline, bootstrap, seed)
        same = {k: model[k][own] for k in ("y_true", "subject", "fold")}
        same["probabilities"] = model["probabilities"][:, own]
        matrices = [_confusions(part) for part in (same, baseline)]
        paired = resampled if len(own) == len(place) else None
        if bootstrap:
            paired = paired or metrics.bootstrap_scores(matrices[0], bootstrap, seed, rhythm_scores)
            whole = [rhythm_scores(m.sum(1)) for m in matrices]
            found: dict = {}
            for m in BRIEF:
                value = metrics.seed_mean(whole[0][m]) - metrics.seed_mean(whole[1][m])
                found[m] = metrics.difference(value, paired[m] - drawn[m])
            out["differences"][name] = nest(iter(found.items()))
    if (folder / "robustness.npz").is_file():
        out["robustness"] = evaluate_robustness(read_npz(folder / "robustness.npz"))
    if (folder / "occlusion.npz").is_file():
        out["deletion"] = evaluate_deletion(read_npz(folder / "occlusion.npz"), bootstrap, seed)
    alarms = []
    if scores["collapse"]["collapsed"]:
        alarms.append("collapsed predictor: a seed classifies every recording as one class")
    for name, found in out["differences"].items():
        if name in BASELINES and not found["score"]["low"] > 0:
            alarms.append(f'not significantly better than the baseline "{baseline_title(name)}" (challenge score)')
    for row in out.get("deletion", {}).get("shares", ()):
        if bootstrap and not row["low"] > 0:
            alarms.append(
                f"deletion test: {100 * row['share']:.0f} % by importance lowers the probability no more than at random"
            )
    out["alarms"] = alarms
    return out
