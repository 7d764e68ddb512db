"""Metrics of classifiers and embeddings: pure functions of arrays.

Shapes: n beats, C classes (N S V F Q), G groups (subjects or records), K seeds, R bootstrap resamples.
Metrics of decisions are functions of confusion matrices (..., C, C), rows the true and columns the predicted class,
vectorised over the leading axes, so that a bootstrap over subjects is a matrix product. An undefined metric (0/0, an
absent class) is NaN.
"""

from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from keras_ecg.databases.mitdb import CLASSES

N, S, V, F, Q = range(5)
AAMI = {"SVEB": S, "VEB": V}
SUMMARY = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1_nsvf",
    "macro_f1_five",
    "macro_f1",
    "kappa",
    "j_index",
    "jk_index",
)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where `below` is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, "f8"), np.asarray(below, "f8"))
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, classes: int = len(CLASSES)) -> np.ndarray:
    """Counts (C, C) of the beats of true class i that are classified as j."""
    return group_confusions(y_true, y_pred, np.zeros(len(y_true), int), classes)[1][0]


def group_confusions(
    y_true: np.ndarray, y_pred: np.ndarray, groups: np.ndarray, classes: int = len(CLASSES)
) -> tuple[np.ndarray, np.ndarray]:
    """The sorted names (G,) of the groups, and one confusion matrix each, (G, C, C)."""
    names, index = np.unique(groups, return_inverse=True)
    cell = (index * classes + np.asarray(y_true, int)) * classes + np.asarray(y_pred, int)
    counts = np.bincount(cell, minlength=len(names) * classes**2)
    return names, counts.reshape(len(names), classes, classes)


def class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Sensitivity, positive predictivity and F1 (..., C) of each class against the rest.

    NaN where they are undefined: sensitivity and F1 of a class without beats, predictivity of one never predicted.
    """
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, guess = confusion.sum(-1), confusion.sum(-2)
    return {
        "sensitivity": _ratio(hit, truth),
        "positive_predictivity": _ratio(hit, guess),
        "f1": np.where(truth > 0, _ratio(2 * hit, truth + guess), np.nan),
    }


def kappa(confusion: np.ndarray) -> np.ndarray:
    """Cohen's kappa (...): agreement beyond chance; NaN when chance alone agrees fully."""
    total = confusion.sum((-2, -1))
    agreed = _ratio(np.trace(confusion, axis1=-2, axis2=-1), total)
    chance = _ratio((confusion.sum(-1) * confusion.sum(-2)).sum(-1), np.asarray(total, "f8") ** 2)
    return _ratio(agreed - chance, 1 - chance)


def summary_scores(confusion: np.ndarray, present: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The scores of `SUMMARY`, each (...).

    macro_f1_nsvf and macro_f1_five average a fixed list of classes, where one without beats and predictions counts 0;
    macro_f1 averages the classes that the truth has, or those given as `present` (C,). The j index sums sensitivity
    and positive predictivity of S and V (0 to 4, an undefined one counts 0); jk = kappa / 2 + j / 8 (Mar et al. 2011,
    IEEE Trans Biomed Eng 58(8); Mondejar-Guerra et al. 2019, Biomed Signal Process Control 47), here with all five
    classes in kappa.
    """
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, guess = confusion.sum(-1), confusion.sum(-2)
    f1 = 2 * hit / np.maximum(truth + guess, 1)
    occurs = truth > 0
    present = occurs if present is None else present
    each = {name: np.nan_to_num(value) for name, value in class_scores(confusion).items()}
    j = (each["sensitivity"] + each["positive_predictivity"])[..., [S, V]].sum(-1)
    k = kappa(confusion)
    return {
        "accuracy": _ratio(hit.sum(-1), truth.sum(-1)),
        "balanced_accuracy": _ratio(each["sensitivity"].sum(-1), occurs.sum(-1)),
        "macro_f1_nsvf": f1[..., :4].mean(-1),
        "macro_f1_five": f1.mean(-1),
        "macro_f1": _ratio((f1 * present).sum(-1), present.sum(-1)),
        "kappa": k,
        "j_index": j,
        "jk_index": k / 2 + j / 8,
    }


def ec57_counts(confusion: np.ndarray, positive: int) -> dict[str, np.ndarray]:
    """True and false positives and negatives (...) for SVEB (positive=S) or VEB (positive=V) detection.

    ANSI/AAMI EC57, as de Chazal et al. (2004) apply it: a fusion or unclassifiable beat classified as V is no
    false positive of VEB, an unclassifiable beat classified as S none of SVEB; these beats leave the table.
    """
    forgiven = {V: [F, Q], S: [Q]}[positive]
    truth, guess = confusion.sum(-1), confusion.sum(-2)
    hit = confusion[..., positive, positive]
    excused = confusion[..., forgiven, positive].sum(-1)
    false = guess[..., positive] - hit - excused
    missed = truth[..., positive] - hit
    return {"tp": hit, "fn": missed, "fp": false, "tn": truth.sum(-1) - hit - missed - false - excused}


def ec57_scores(confusion: np.ndarray, positive: int) -> dict[str, np.ndarray]:
    """Gross sensitivity, positive predictivity and false positive rate FP / (FP + TN), each (...), by EC57."""
    c = ec57_counts(confusion, positive)
    return {
        "sensitivity": _ratio(c["tp"], c["tp"] + c["fn"]),
        "positive_predictivity": _ratio(c["tp"], c["tp"] + c["fp"]),
        "false_positive_rate": _ratio(c["fp"], c["fp"] + c["tn"]),
    }


def scores(confusion: np.ndarray, present: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """All scores of confusion matrices (..., C, C), each (...): `accuracy`, `classes.S.f1`, `ec57.VEB.sensitivity`."""
    out = summary_scores(confusion, present)
    for name, values in class_scores(confusion).items():
        out |= {f"classes.{c}.{name}": values[..., k] for k, c in enumerate(CLASSES)}
    for table, positive in AAMI.items():
        out |= {f"ec57.{table}.{name}": value for name, value in ec57_scores(confusion, positive).items()}
    return out


def auroc(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Area under the ROC curve (C,) of each class against the rest; NaN where the class, or the rest, is absent."""
    return _one_vs_rest(roc_auc_score, y_true, probabilities)


def resampled_auroc(positive: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve (R,) when each example counts as often as `counts` says; ties count half.

    Args:
        positive: (n,) bool.
        score: (n,).
        counts: (R, n). Where all that count are positive, or none is, the area is NaN.
    """
    _, level = np.unique(score, return_inverse=True)
    ranked = np.argsort(level, kind="stable")
    ends = np.flatnonzero(np.diff(level[ranked], append=level.max() + 1))  # the last of each level

    def by_level(weights: np.ndarray) -> np.ndarray:
        return np.diff(np.cumsum(weights[:, ranked], axis=1)[:, ends], axis=1, prepend=0)

    counts = np.asarray(counts, "f8")
    hits, others = by_level(counts * positive), by_level(counts * ~positive)
    below = np.cumsum(others, axis=1) - 0.5 * others
    with np.errstate(invalid="ignore", divide="ignore"):
        return (hits * below).sum(1) / (hits.sum(1) * others.sum(1))


def average_precision(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Average precision (C,) of each class against the rest; NaN where the class, or the rest, is absent."""
    return _one_vs_rest(average_precision_score, y_true, probabilities)


def _one_vs_rest(score: Callable, y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    truth = np.asarray(y_true)[:, None] == np.arange(probabilities.shape[1])
    mixed = truth.any(0) & ~truth.all(0)
    return np.array([score(t, p) if m else np.nan for t, p, m in zip(truth.T, probabilities.T, mixed, strict=True)])


def roc_points(positive: np.ndarray, score: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True positive rate at the false positive rates `grid`, by linear interpolation of the ROC curve."""
    fpr, tpr, _ = roc_curve(positive, score)
    # The last point of a vertical stretch: at equal false positive rate, the highest true positive rate.
    last = np.append(np.diff(fpr) > 0, True)
    return np.interp(grid, fpr[last], tpr[last])


def precision_points(positive: np.ndarray, score: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Precision at the first threshold whose recall reaches each of `grid`: a step curve, as average precision sums."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(positive[order])
    ends = np.append(np.diff(score[order]) != 0, True)  # equal scores share a threshold
    recall, precision = hits[ends] / hits[-1], hits[ends] / (np.flatnonzero(ends) + 1)
    return precision[np.minimum(np.searchsorted(recall, grid - 1e-12), len(recall) - 1)]


def calibration_bins(y_true: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> dict[str, np.ndarray]:
    """Top-label reliability in equal bins of the confidence: count, mean confidence and accuracy, each (bins,)."""
    confidence = probabilities.max(1).astype("f8")
    correct = probabilities.argmax(1) == y_true
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # bins (a, b], as Guo et al. 2017
    count = np.bincount(index, minlength=bins)
    return {
        "count": count,
        "confidence": _ratio(np.bincount(index, confidence, bins), count),
        "accuracy": _ratio(np.bincount(index, correct, bins), count),
    }


def expected_calibration_error(y_true: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Mean |accuracy - confidence| over top-label confidence bins, weighted by beats (Guo et al., ICML 2017)."""
    b = calibration_bins(y_true, probabilities, bins)
    return float(np.nansum(b["count"] * np.abs(b["accuracy"] - b["confidence"])) / b["count"].sum())


def collapse(probabilities: np.ndarray) -> dict:
    """Whether the predictor (n, C) has collapsed: one class takes every beat, or all beats get equal probabilities."""
    counts = np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    constant = bool((np.ptp(probabilities.astype("f4"), axis=0) < 1e-3).all())
    return {
        "predicted_classes": int((counts > 0).sum()),
        "largest_share": float(counts.max() / counts.sum()),
        "constant": constant,
        "collapsed": constant or bool(counts.max() == counts.sum()),
    }


def effective_rank(embeddings: np.ndarray) -> float:
    """Effective rank of embeddings (n, D): exp of the entropy of their normalized singular values.

    At most the smaller of n and D; 1 where they have collapsed to one dimension.

    Source: Garrido Q et al., RankMe, ICML 2023, https://arxiv.org/abs/2210.02885.
    """
    values = np.linalg.svd(np.asarray(embeddings, "f8"), compute_uv=False)
    share = values[values > 0] / max(values.sum(), 1e-300)
    return float(np.exp(-(share * np.log(share)).sum()))


def resample_counts(groups: int, resamples: int, seed: int) -> np.ndarray:
    """How often each group is drawn in each bootstrap resample, (R, G): G draws with replacement."""
    draws = np.random.default_rng(seed).integers(groups, size=(resamples, groups))
    return np.bincount((draws + groups * np.arange(resamples)[:, None]).ravel(), minlength=resamples * groups).reshape(
        resamples, groups
    )


def half_samples(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Which groups are in each random half, (R, G) bool: G / 2 draws without replacement.

    A metric of halves varies as that of all groups does from sample to sample: (2 / G - 1 / G) times the variance of
    one group. For metrics that a group drawn twice would distort.

    Source: Shao J, Wu CFJ, A General Theory for Jackknife Variance Estimation, Annals of Statistics 17(3), 1989.
    """
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(groups) < groups // 2, (resamples, 1)), axis=1)


def resample(confusions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Confusion matrices (..., R, C, C) of the resamples `counts` (R, G) of groups with matrices (..., G, C, C)."""
    *lead, groups, rows, columns = confusions.shape
    flat = confusions.reshape(*lead, groups, rows * columns).astype("f8")
    return (counts.astype("f8") @ flat).reshape(*lead, len(counts), rows, columns)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap values (R,); NaN without any, or when half of them or more are undefined."""
    defined = values[np.isfinite(values)]
    if 2 * len(defined) <= len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def bootstrap_scores(
    confusions: np.ndarray, resamples: int = 1000, seed: int = 0, of: Callable | None = None
) -> dict[str, np.ndarray]:
    """Every score of `of` on each resample of the groups, averaged over seeds: (K, G, C, C) -> name: (R,).

    By default `of` is `scores`, whose macro_f1 averages the same classes in every resample, those of the whole truth:
    one that a resample happens to lack counts 0. An undefined score of a seed stays out of that mean unless it is
    undefined for all.
    """
    counts = resample_counts(confusions.shape[1], resamples, seed)
    present = confusions[0].sum((0, 2)) > 0
    of = of or (lambda resampled: scores(resampled, present))
    return {name: seed_mean(values) for name, values in of(resample(confusions, counts)).items()}


def seed_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis, the seeds, of the defined values; NaN where none is defined."""
    return _ratio(np.nansum(values, axis=0), np.isfinite(values).sum(0))


def subject_interval(
    confusions: np.ndarray, metric: str, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean over seeds of a score, by bootstrap over subjects: confusions (K, G, C, C), `scores` name.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), the percentile method on clusters.
    """
    return interval(bootstrap_scores(confusions, resamples, seed)[metric], level)


def paired_difference(
    confusions_a: np.ndarray, confusions_b: np.ndarray, metric: str, resamples: int = 1000, seed: int = 0
) -> dict:
    """Difference a - b of a metric with its 95 % CI over the same resampled subjects.

    Both are (K, G, C, C) with the same groups in the same order; the numbers of seeds may differ.
    """
    if confusions_a.shape[1:] != confusions_b.shape[1:]:
        raise ValueError(f"paired scores need the same groups: {confusions_a.shape[1:]} and {confusions_b.shape[1:]}")
    a, b = (bootstrap_scores(c, resamples, seed)[metric] for c in (confusions_a, confusions_b))
    whole = [seed_mean(scores(c.sum(1))[metric]) for c in (confusions_a, confusions_b)]
    return difference(whole[0] - whole[1], a - b)


def difference(value: float, resampled: np.ndarray) -> dict:
    """A difference, its 95 % CI, and whether that excludes 0."""
    low, high = interval(resampled)
    return {"difference": float(value), "low": low, "high": high, "excludes_zero": bool(low > 0 or high < 0)}


def without_each(confusions: np.ndarray) -> np.ndarray:
    """The confusion matrix of all groups but one, for each: (..., G, C, C) -> (..., G, C, C)."""
    return confusions.sum(-3, keepdims=True) - confusions
