"""Figures of embeddings against what they must be where the answer is known."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_ecg.evaluation.embeddings import agreement, embedding_figures, neighbour_probabilities, separation

KINDS = np.repeat(np.arange(3), 40)
LABELS = np.eye(3, dtype=int)[KINDS]
CENTRES = 4 * np.eye(3)


def features(spread: float, seed: int = 0) -> np.ndarray:
    return CENTRES[KINDS] + spread * np.random.default_rng(seed).normal(size=(120, 3))


def split():
    order = np.random.default_rng(1).permutation(120)
    return order[:80], order[80:]


def test_neighbours_are_the_nearest_by_cosine():
    x, test = features(1.0), features(1.0, seed=2)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (test, x)]
    nearest = np.argsort(-unit[0] @ unit[1].T, 1)[:, :5]
    np.testing.assert_allclose(neighbour_probabilities(x, LABELS, test, 5), LABELS[nearest].mean(1))
    assert neighbour_probabilities(x[:3], LABELS[:3], test).shape == (120, 3)  # fewer than neighbours


def test_classes_that_lie_apart_are_found():
    found = dict(embedding_figures(features(0.1), LABELS, *split()))
    assert found["knn_auroc"] == found["class.nmi"] == found["class.ari"] == pytest.approx(1)
    assert found["class.silhouette"] > 0.9 and found["class.davies_bouldin"] < 0.2
    worse = dict(embedding_figures(features(2.5), LABELS, *split()))
    for name, better in (("knn_auroc", 1), ("class.nmi", 1), ("class.silhouette", 1), ("class.davies_bouldin", -1),
                         ("class.calinski_harabasz", 1)):  # fmt: skip
        assert better * found[name] > better * worse[name], name


def test_noise_knows_nothing():
    noise = np.random.default_rng(0).normal(size=(120, 4))
    found = dict(embedding_figures(noise, LABELS, *split()))
    assert abs(found["knn_auroc"] - 0.5) < 0.2 and abs(found["class.ari"]) < 0.1 and found["class.silhouette"] < 0.05


def test_clusters_that_show_the_patient_are_told_from_those_that_show_the_disease():
    rng, patients = np.random.default_rng(0), np.tile(np.arange(40), 3)  # each has every disease
    of_patients = rng.normal(size=(40, 4))[patients] + 0.01 * rng.normal(size=(120, 4))
    every = np.arange(120)
    shown = dict(embedding_figures(of_patients, LABELS, every, every, patients))
    assert shown["patient.ari"] > 0.9 > 0.2 > shown["class.ari"]
    assert "patient.ari" not in dict(embedding_figures(of_patients, LABELS, every, every, every))  # each seen once


def test_scale_is_that_of_the_training_examples():
    x, (train, test) = features(1.0), split()
    scaled = x * np.array([1, 100, 0.01]) + 7
    for name, value in embedding_figures(scaled, LABELS, train, test):
        assert value == pytest.approx(dict(embedding_figures(x, LABELS, train, test))[name], abs=1e-6), name
    probability = neighbour_probabilities(
        (x[train] - x[train].mean(0)) / x[train].std(0), LABELS[train], (x[test] - x[train].mean(0)) / x[train].std(0)
    )
    expected = roc_auc_score(LABELS[test], probability, average="macro")
    assert dict(embedding_figures(x, LABELS, train, test))["knn_auroc"] == pytest.approx(expected)


def test_examples_of_several_classes_are_no_part_of_a_partition():
    labels = LABELS.copy()
    labels[::5, 0] = 1
    train, test = split()
    found, x = dict(embedding_figures(features(1.0), labels, train, test)), features(1.0)
    x = (x - x[train].mean(0)) / x[train].std(0)
    rows = test[labels[test].sum(1) == 1]
    groups = labels[rows].argmax(1)
    expected = {f"class.{k}": v for k, v in (*agreement(x[rows], groups, 3), *separation(x[rows], groups))}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert dict(separation(x[:3], np.zeros(3))) == {}
