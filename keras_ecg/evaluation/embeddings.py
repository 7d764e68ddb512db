"""What embeddings know of a diagnosis without being trained for it: neighbours, clusters, separation.

All scores are scikit-learn's. Clusters are compared with the diagnoses, and separation is that of the diagnoses: a
score of clusters by the distances that made them says nothing but that there are clusters.

    for name, value in embedding_figures(features, labels, train, test):
        print(name, value)
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    davies_bouldin_score,
    normalized_mutual_info_score,
    roc_auc_score,
    silhouette_score,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from keras_ecg.evaluation.names import Named

NEIGHBOURS = 20


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
    """How far groups (n,) of features (n, D) lie apart; nothing where there are not at least two, and one of two."""
    counts = np.unique(groups, return_counts=True)[1]
    if 2 <= len(counts) < len(groups):
        yield "silhouette", silhouette_score(features, groups)
        yield "davies_bouldin", davies_bouldin_score(features, groups)
        yield "calinski_harabasz", calinski_harabasz_score(features, groups)


def agreement(features: np.ndarray, groups: np.ndarray, clusters: int, seed: int = 0) -> Named:
    """How k-means' clusters of features (n, D) agree with groups (n,) that it has not seen.

    Args:
        features: (n, D).
        groups: (n,).
        clusters: k.
        seed: of k-means, which starts ten times.
    """
    found = KMeans(clusters, n_init=10, random_state=seed).fit_predict(features)
    yield "nmi", normalized_mutual_info_score(groups, found)
    yield "ari", adjusted_rand_score(groups, found)


def embedding_figures(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    patients: np.ndarray | None = None,
    seed: int = 0,
) -> Named:
    """Figures of embeddings by name; the training examples alone set their scale, and are the neighbours.

    Clusters and separation are of the test examples that have one class alone, for there a partition can be right. With
    patients the same is asked of them, among those with several test examples: whether the embeddings show the patient
    rather than the disease.

    Args:
        features: (n, D).
        labels: (n, C), one where an example has the class.
        train: indices of the training examples.
        test: indices of the others.
        patients: (n,), whose each example is.
        seed: of k-means.

    Yields:
        knn_auroc, macro over the classes that the test has and lacks; class.* and patient.* of `agreement` and
        `separation`.
    """
    x = StandardScaler().fit(features[train]).transform(features)
    probability, y = neighbour_probabilities(x[train], labels[train], x[test]), labels[test]
    scored = (y.min(0) == 0) & (y.max(0) == 1)
    yield "knn_auroc", roc_auc_score(y[:, scored], probability[:, scored], average="macro")
    single = test[y.sum(1) == 1]
    parts = [("class", single, labels[single].argmax(1))]
    if patients is not None:
        own, count = np.unique(patients[test], return_counts=True)
        several = test[np.isin(patients[test], own[count > 1])]
        parts.append(("patient", several, patients[several]))
    for name, rows, groups in parts:
        kinds = len(np.unique(groups))
        if kinds < 2:
            continue
        for score, value in (*agreement(x[rows], groups, kinds, seed), *separation(x[rows], groups)):
            yield f"{name}.{score}", value
