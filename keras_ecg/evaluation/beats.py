"""Metrics of beat classification.

A metric is the mean over seeds of the single models' values; only `ensemble` averages their probabilities. All
metrics are functions of the stored predictions alone, so that metrics.json can be recomputed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_ecg import metrics
from keras_ecg.databases.mitdb import CLASSES, SEED_TEST
from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import Named, interval_of, nest, over_seeds
from keras_ecg.evaluation.schema import title
from keras_ecg.evaluation.titles import baseline_title
from keras_ecg.predictions import Predictions, baseline_files, file_name, load_predictions

F1 = tuple(f"classes.{c}.f1" for c in CLASSES)
BRIEF = (*metrics.SUMMARY, *F1)
COMPARED = ("accuracy", "macro_f1_nsvf", "macro_f1", "classes.S.f1", "classes.V.f1")
RECORD = ("accuracy", "macro_f1", *F1) + tuple(
    f"ec57.{table}.{score}" for table in metrics.AAMI for score in ("sensitivity", "positive_predictivity")
)


def confusions(p: Predictions, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted group names (G,) and confusion matrices of every seed and group, (K, G, C, C)."""
    each = [metrics.group_confusions(p.y_true, guess, groups) for guess in p.y_pred]
    return each[0][0], np.stack([matrices for _, matrices in each])


def _counts(y_true: np.ndarray) -> Named:
    for k, c in enumerate(CLASSES):
        yield f"class_counts.{c}", np.sum(y_true == k)


def _size(p: Predictions) -> Named:
    yield "beats", len(p.y_true)
    yield "records", len(np.unique(p.record))
    yield "subjects", len(np.unique(p.subject))
    yield from _counts(p.y_true)


def _scores(p: Predictions, names: tuple[str, ...] | None, bootstrap: int, seed: int) -> Named:
    """Mean, sd over seeds and 95 % CI over subjects of confusion-matrix metrics; all of them without `names`."""
    matrices = confusions(p, p.subject)[1]
    resampled = metrics.bootstrap_scores(matrices, bootstrap, seed) if bootstrap else {}
    for name, values in metrics.scores(matrices.sum(1)).items():
        if names is None or name in names:
            yield from over_seeds(name, values)
            yield from interval_of(name, resampled)


def _ranking(y_true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    area, precision = metrics.auroc(y_true, probabilities), metrics.average_precision(y_true, probabilities)
    out = {f"classes.{c}.auroc": area[k] for k, c in enumerate(CLASSES)}
    out |= {f"classes.{c}.average_precision": precision[k] for k, c in enumerate(CLASSES)}
    out["macro_auroc"] = float(metrics.seed_mean(area))
    return out | {"ece": metrics.expected_calibration_error(y_true, probabilities)}


def evaluate(predictions: Predictions, bootstrap: int = 1000, seed: int = 0) -> Named:
    """Yields (dotted name, value) for all metrics of one predictor; `explain(name)` explains each.

    Args:
        predictions: the stored beats.
        bootstrap: resamples over subjects for the 95 % CIs; 0 for none.
        seed: of the bootstrap; the same seed pairs two predictors of the same subjects.
    """
    p = predictions
    yield from _size(p)
    yield "seeds", p.seeds.tolist()
    yield from _scores(p, None, bootstrap, seed)
    ranking = [_ranking(p.y_true, q) for q in p.probabilities]
    for name in ranking[0]:
        yield from over_seeds(name, np.array([r[name] for r in ranking]))
    matrices = np.stack([metrics.confusion_matrix(p.y_true, guess) for guess in p.y_pred])
    for table, positive in metrics.AAMI.items():
        for name, values in metrics.ec57_counts(matrices, positive).items():
            yield f"ec57.{table}.{name}", values.mean()
    collapses = [metrics.collapse(q) for q in p.probabilities]
    for name, worst in (("predicted_classes", min), ("largest_share", max), ("constant", max), ("collapsed", max)):
        yield f"collapse.{name}", worst(c[name] for c in collapses)
    mean = matrices.mean(0)
    yield "confusion.mean", mean
    yield "confusion.row_share", mean / np.maximum(mean.sum(1, keepdims=True), 1)
    pooled = metrics.calibration_bins(np.tile(p.y_true, len(p.seeds)), p.probabilities.reshape(-1, len(CLASSES)))
    for name, values in pooled.items():
        yield f"calibration.{name}", values
    singles = metrics.scores(matrices)
    yield "per_seed", [{"seed": s} | {m: singles[m][k] for m in BRIEF} for k, s in enumerate(p.seeds)]
    if len(p.seeds) > 1:
        together = Predictions(p.record, p.subject, p.sample, p.y_true, p.ensemble[None], np.array([-1]), p.fold)
        for name, value in _scores(together, BRIEF, bootstrap, seed):
            if not name.endswith(".sd"):
                yield f"ensemble.{name}", value
        for name, value in _ranking(p.y_true, p.ensemble).items():
            yield f"ensemble.{name}.mean", value


def subsets(p: Predictions, bootstrap: int, seed: int) -> Named:
    """The `BRIEF` metrics of a subset of the beats, where the protocol requires them.

    Without record 202 where record 201 of the same subject is not scored; without class Q, which has two beats, on the
    seven test records of the seed split.
    """
    parts = {}
    if p.fold is None and "202" in p.record and "201" not in p.record:
        parts["without_202"] = p.record != "202"
    if set(p.record) <= set(SEED_TEST) and (p.y_true == metrics.Q).any():
        parts["without_q"] = p.y_true != metrics.Q
    for name, kept in parts.items():
        if kept.any():
            part = p.take(kept)
            yield from ((f"{name}.{m}", v) for m, v in _size(part))
            # Without Q four classes are left: an average over five would count 0 for the missing one.
            scores = BRIEF if name == "without_202" else tuple(m for m in BRIEF if m != "macro_f1_five")
            yield from ((f"{name}.{m}", v) for m, v in _scores(part, scores, bootstrap, seed))


def record_rows(p: Predictions) -> tuple[list[dict], list[dict]]:
    """One row per record with its own metrics, and one with those of all other records. Means over seeds."""
    names, matrices = confusions(p, p.record)
    own, rest = metrics.scores(matrices), metrics.scores(metrics.without_each(matrices))
    truth = matrices[0].sum(-1)
    alone, without = [], []
    for g, name in enumerate(names):
        counts = {f"class_counts.{c}": truth[g, k] for k, c in enumerate(CLASSES)}
        scores = {m: metrics.seed_mean(own[m][:, g]) for m in RECORD}
        alone.append({"record": name, "beats": truth[g].sum(), **counts, **scores})
        without.append({"record": name} | {m: metrics.seed_mean(rest[m][:, g]) for m in COMPARED})
    return alone, without if len(names) > 1 else []


def fold_rows(p: Predictions) -> tuple[list[dict], dict]:
    """One row per test fold (means over seeds), and statistics over folds."""
    names, matrices = confusions(p, p.fold)
    scores = {m: metrics.seed_mean(v) for m, v in metrics.scores(matrices).items() if m in BRIEF}
    rows = []
    for g, fold in enumerate(names):
        part = p.take(p.fold == fold)
        rows.append({"fold": fold, **dict(_size(part))} | {m: v[g] for m, v in scores.items()})
    spread: list[tuple[str, Any]] = []
    for m, v in scores.items():
        v = v[np.isfinite(v)] if np.isfinite(v).any() else np.array([np.nan])
        ends = (("fold_mean", v.mean()), ("fold_sd", v.std()), ("min", v.min()), ("max", v.max()))
        spread += [(f"{m}.{end}", value) for end, value in ends]
    return rows, nest(spread)


def aligned(model: Predictions, baseline: Predictions, where: object) -> Predictions:
    """The baseline's predictions in the order of the model's beats.

    Raises:
        InputError: they do not predict the same beats.
    """
    keys = [
        dict(zip(zip(q.record.tolist(), q.sample.tolist(), strict=True), range(len(q.y_true)), strict=True))
        for q in (model, baseline)
    ]
    if keys[0].keys() != keys[1].keys():
        lost = len(keys[0].keys() ^ keys[1].keys())
        raise InputError(where, f"{lost} beats that only one side has", "the model's beats", "rerun the baseline")
    baseline = baseline.take(np.array([keys[1][key] for key in keys[0]]))
    if not np.array_equal(baseline.y_true, model.y_true):
        raise InputError(where, "other labels than the model's", "equal labels", "rerun both")
    return baseline


def compare(a: Predictions, b: Predictions, bootstrap: int = 1000, seed: int = 0, where: object = "baseline") -> Named:
    """Yields the paired differences a - b of the `COMPARED` metrics: value, 95 % CI, whether it excludes 0."""
    pair = [confusions(q, a.subject)[1] for q in (a, aligned(a, b, where))]
    whole = [metrics.scores(c.sum(1)) for c in pair]
    resampled = [metrics.bootstrap_scores(c, bootstrap, seed) for c in pair]
    for name in COMPARED:
        value = metrics.seed_mean(whole[0][name]) - metrics.seed_mean(whole[1][name])
        for part, v in metrics.difference(value, resampled[0][name] - resampled[1][name]).items():
            yield f"{name}.{part}", v


def evaluate_beats(folder: Path, bootstrap: int, seed: int) -> dict:
    """The metrics of a beat classification run, of its baselines and of their paired differences.

    Raises:
        InputError: predictions are missing, invalid, or of other beats than the model's.
    """
    model = load_predictions(folder / file_name())
    baselines = {name: load_predictions(path) for name, path in baseline_files(folder).items()}

    def predictor(p: Predictions) -> dict:
        return nest(evaluate(p, bootstrap, seed)) | nest(subsets(p, bootstrap, seed))

    out: dict[str, Any] = {
        "model": predictor(model),
        "baselines": {name: predictor(p) for name, p in baselines.items()},
        "differences": {
            name: nest(compare(model, p, bootstrap, seed, folder / file_name(name))) for name, p in baselines.items()
        },
    }
    out["per_record"], out["without_record"] = record_rows(model)
    if model.fold is not None:
        out["folds"], out["fold_spread"] = fold_rows(model)
    return out | {"alarms": alarms(out)}


def alarms(found: dict) -> list[str]:
    """Lines on a collapsed predictor, and on baselines that the model does not significantly exceed."""
    lines, collapse = [], found["model"]["collapse"]
    if collapse["collapsed"]:
        lines.append(
            f"collapsed predictor: a seed classifies {100 * collapse['largest_share']:.1f} % of the beats as one class"
        )
    for name, differences in found["differences"].items():
        if lost := [title(m) for m in COMPARED[:2] if differences[m]["low"] <= 0]:
            lines.append(f'not significantly better than the baseline "{baseline_title(name)}" ({", ".join(lost)})')
    return lines


def confident_errors(p: Predictions, count: int = 12, per_record: int = 2) -> np.ndarray:
    """At most `count` beats, `per_record` of a record, misclassified by the ensemble with the highest confidence."""
    mean = p.ensemble
    wrong = np.flatnonzero(mean.argmax(1) != p.y_true)
    chosen: list[int] = []
    for beat in wrong[np.argsort(-mean[wrong].max(1), kind="stable")]:
        if len(chosen) < count and np.sum(p.record[chosen] == p.record[beat]) < per_record:
            chosen.append(int(beat))
    return np.array(chosen, int)


def curves(p: Predictions, points: int = 201) -> dict[str, dict[str, np.ndarray]]:
    """ROC and precision-recall curves of the classes that occur, averaged over seeds at equal abscissae.

    Source: vertical averaging, Fawcett, Pattern Recognition Letters 27 (2006).
    """
    # Half of the points below 0.05, where detectors with few false alarms differ.
    low = np.concatenate(
        [np.linspace(0, 0.05, points // 2, endpoint=False), np.linspace(0.05, 1, points - points // 2)]
    )
    recall = np.linspace(0, 1, points)[1:]
    out = {}
    for k, c in enumerate(CLASSES):
        positive = p.y_true == k
        if positive.any() and not positive.all():
            tpr = np.mean([metrics.roc_points(positive, q[:, k], low) for q in p.probabilities], 0)
            precision = np.mean([metrics.precision_points(positive, q[:, k], recall) for q in p.probabilities], 0)
            out[c] = {"fpr": low, "tpr": tpr, "recall": recall, "precision": precision, "share": positive.mean()}
    return out
