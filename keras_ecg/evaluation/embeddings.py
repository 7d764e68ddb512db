"""Evaluation of frozen embeddings on PTB-XL's superclasses: probes, k-NN, clustering, separation.

All metrics are scikit-learn's. Clusters are compared with the diagnoses, and separation is that of the diagnoses:
a metric of clusters from the distances that produced them would only show that there are clusters. The same metrics
for patients with several recordings show whether the embeddings identify the patient rather than the diagnosis.

For n scored recordings a predictor stores: ecg_id (n,), subject (n,) str, y_true (n, 5); embeddings (n, D), principal
components; linear, neighbours and perhaps attentive (n, 5), the probabilities of two probes and of the nearest training
recordings; and for the r recordings of patients who have several, in whatever fold, repeated_subject (r,) and
repeated_embeddings (r, D).
"""

from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    davies_bouldin_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.neighbors import KNeighborsRegressor

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import Named, at, nest
from keras_ecg.evaluation.titles import baseline_title
from keras_ecg.metrics import difference, half_samples, interval, resample_counts, resampled_auroc
from keras_ecg.predictions import baseline_files, file_name, read_arrays

NEIGHBOURS = 20
PROBES = ("linear", "attentive", "neighbours")
ARRAYS = ("ecg_id", "subject", "y_true", "embeddings", "linear", "neighbours")
REPEATED = ("repeated_subject", "repeated_embeddings")


def neighbour_probabilities(
    features: np.ndarray, labels: np.ndarray, test: np.ndarray, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """Share of the nearest training examples, by cosine, that have each class: (m, C).

    Args:
        features: (n, D), of training.
        labels: (n, C), one where an example has the class.
        test: (m, D).
        neighbours: k, at most n.
    """
    model = KNeighborsRegressor(min(neighbours, len(features)), metric="cosine").fit(features, labels)
    return model.predict(test).reshape(len(test), -1)


def separation(features: np.ndarray, groups: np.ndarray) -> Named:
    """Separation of groups (n,) of features (n, D); needs two groups, and one with two members."""
    counts = np.unique(groups, return_counts=True)[1]
    if 2 <= len(counts) < len(groups):
        yield "silhouette", silhouette_score(features, groups)
        yield "davies_bouldin", davies_bouldin_score(features, groups)
        yield "calinski_harabasz", calinski_harabasz_score(features, groups)


def agreement(features: np.ndarray, groups: np.ndarray, clusters: int, seed: int = 0) -> Named:
    """Agreement of k-means clusters of features (n, D) with groups (n,).

    Args:
        features: (n, D).
        groups: (n,).
        clusters: k.
        seed: of k-means, which starts ten times.
    """
    found = KMeans(clusters, n_init=10, random_state=seed).fit_predict(features)
    yield "nmi", normalized_mutual_info_score(groups, found)
    yield "ari", adjusted_rand_score(groups, found)


def load_embeddings(path: Path) -> dict[str, np.ndarray]:
    """The stored arrays of one predictor.

    Raises:
        InputError: one is missing, or of another shape.
    """
    stored = read_arrays(path, (*ARRAYS, *REPEATED))
    expected = (len(stored["ecg_id"]), len(SUPERCLASSES))
    for name in ("y_true", *PROBES):
        if name in stored and stored[name].shape != expected:
            found = f"{name} of shape {stored[name].shape}"
            raise InputError(path, found, f"{expected}: recordings, superclasses", "run it again")
    return {name: v.astype("f8") if v.dtype.kind == "f" else v for name, v in stored.items()}


def macro_auroc(truth: np.ndarray, probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean over classes of AUROC under weights (R, n) of the examples: (R,)."""
    areas = [resampled_auroc(y.astype(bool), p, counts) for y, p in zip(truth.T, probabilities.T, strict=True)]
    return np.mean(areas, axis=0)


def halved_separation(features: np.ndarray, groups: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """The Davies-Bouldin index (R,) of random halves (R, n) of the examples, centred on that of all; lower is better.

    In a bootstrap resample a duplicated example would make its group look tighter. Halves are centred because the
    centroids of fewer examples are further apart; their spread is that of the index (`half_samples`). NaN where a half
    lacks a group.
    """
    kinds = len(np.unique(groups))

    def score(rows: np.ndarray) -> float:
        enough = 2 <= kinds == len(np.unique(groups[rows])) < len(groups[rows])
        return davies_bouldin_score(features[rows], groups[rows]) if enough else np.nan

    found = np.array([score(half) for half in halves])
    return found - np.nanmean(found) + score(np.arange(len(groups))) if np.isfinite(found).any() else found


def embedding_scores(
    stored: dict[str, np.ndarray], resamples: tuple[np.ndarray, np.ndarray] | None, seed: int
) -> tuple[dict, dict]:
    """The metrics of one predictor, and the resampled values (R,) of those that are compared.

    Args:
        stored: its arrays.
        resamples: of the patients, how often each recording is drawn in a bootstrap, (R, n), and which are in each
            random half, (R, n) bool; None for no CIs.
        seed: of k-means.
    """
    truth, x = stored["y_true"], stored["embeddings"]
    single = np.flatnonzero(truth.sum(1) == 1)  # only these form a partition
    groups, resampled = truth[single].argmax(1), {}
    drawn, halves = resamples or (None, None)

    def named() -> Named:
        yield "recordings", len(truth)
        yield "subjects", len(np.unique(stored["subject"]))
        yield "class_counts", dict(zip(SUPERCLASSES, truth.sum(0).tolist(), strict=True))
        for probe in PROBES:
            if probe in stored:
                once = macro_auroc(truth, stored[probe], np.ones((1, len(truth)), int))[0]
                if drawn is not None:
                    resampled[f"{probe}_auroc"] = macro_auroc(truth, stored[probe], drawn)
                yield f"{probe}_auroc.mean", once
                yield from _ends(f"{probe}_auroc", resampled)
        yield "classes.recordings", len(single)
        patients = tuple(stored[name] for name in REPEATED[::-1])
        for part, features, of in (("classes", x[single], groups), ("patients", *patients)):
            kinds = len(np.unique(of))
            if not 2 <= kinds < len(of):
                continue
            if part == "classes" and halves is not None:
                resampled["classes.davies_bouldin"] = halved_separation(features, of, halves[:, single])
            for score, value in (*agreement(features, of, kinds, seed), *separation(features, of)):
                yield f"{part}.{score}.mean", value
                yield from _ends(f"{part}.{score}", resampled)
        yield "patients.count", len(np.unique(stored["repeated_subject"]))

    return nest(named()), resampled


def _ends(name: str, resampled: dict[str, np.ndarray]) -> Named:
    low, high = interval(resampled[name]) if name in resampled else (None, None)
    yield from ((f"{name}.low", low), (f"{name}.high", high))


def evaluate_embeddings(folder: Path, bootstrap: int, seed: int) -> dict:
    """The metrics of the model and its baselines, their paired differences over patients, and alarms.

    Raises:
        InputError: an array is missing or invalid, or a baseline is of other recordings than the model.
    """
    files = {"model": folder / file_name()} | baseline_files(folder)
    stored = {name: load_embeddings(path) for name, path in files.items()}
    first = stored["model"]
    subjects, place = np.unique(first["subject"], return_inverse=True)
    resamples = None
    if bootstrap:
        resamples = tuple(draw(len(subjects), bootstrap, seed)[:, place] for draw in (resample_counts, half_samples))
    scores, resampled = {}, {}
    for name, arrays in stored.items():
        for array in ("ecg_id", "y_true"):
            if not np.array_equal(arrays[array], first[array]):
                raise InputError(files[name], f"another {array}", "that of the model", "run it again")
        scores[name], resampled[name] = embedding_scores(arrays, resamples, seed)
    model, differences = scores.pop("model"), {}
    for name in scores if bootstrap else ():
        shared = [m for m in resampled["model"] if m in resampled[name]]
        pairs = {}
        for m in shared:
            gap = at(model, m)["mean"] - at(scores[name], m)["mean"]
            pairs[m] = difference(gap, resampled["model"][m] - resampled[name][m])
            if m == "classes.davies_bouldin":
                pairs[m]["lower_is_better"] = True
        differences[name] = nest(iter(pairs.items()))
    alarms = [
        f'not significantly better than the baseline "{baseline_title(name)}" (linear probe, macro AUROC)'
        for name in ("random_init", "raw_signal")
        if name in differences and not differences[name]["linear_auroc"]["low"] > 0
    ]
    if before := differences.get("before"):
        if not before["neighbours_auroc"]["low"] > 0:
            alarms.append("no significant gain of k-NN over the encoder before triplet training")
        if not before.get("classes", {}).get("davies_bouldin", {}).get("high", 0) < 0:
            alarms.append("no significant gain of separation (Davies-Bouldin) over the encoder before triplet training")
    whitened = differences.get("whitened")
    if whitened and not whitened["neighbours_auroc"]["low"] > 0:
        alarms.append("no significant gain of k-NN over the whitened encoder before triplet training")
    patients, classes = (at(model, f"{part}.ari").get("mean") for part in ("patients", "classes"))
    if None not in (patients, classes) and patients > classes:
        alarms.append("clusters agree more with the patient than with the diagnosis (adjusted Rand index)")
    return {"model": model, "baselines": scores, "differences": differences, "alarms": alarms}
