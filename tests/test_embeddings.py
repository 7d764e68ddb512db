"""Metrics of embeddings against known values."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, normalized_mutual_info_score, roc_auc_score

from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.evaluation.embeddings import (
    agreement,
    embedding_scores,
    halved_separation,
    macro_auroc,
    neighbour_probabilities,
    separation,
)
from keras_ecg.evaluation.schema import explain
from keras_ecg.files import write_json
from keras_ecg.metrics import half_samples, interval
from keras_ecg.predictions import read_npz, write_npz
from keras_ecg.report import write_report

KINDS = np.repeat(np.arange(5), 40)
LABELS = np.eye(5, dtype=int)[KINDS]
CENTRES = 4 * np.eye(5)


def features(spread: float, seed: int = 0) -> np.ndarray:
    return CENTRES[KINDS] + spread * np.random.default_rng(seed).normal(size=(200, 5))


def stored_of(x: np.ndarray, labels: np.ndarray = LABELS, patients: np.ndarray | None = None) -> dict:
    """What a predictor stores whose training recordings are those of another draw."""
    known = features(1.0, seed=5)
    found = neighbour_probabilities(known, LABELS, x)
    repeated = np.arange(len(x)) if patients is not None else np.arange(0)
    return {
        "ecg_id": np.arange(len(x)),
        "subject": np.arange(len(x)).astype(str),
        "y_true": labels,
        "embeddings": x,
        "linear": found,
        "neighbours": found,
        "repeated_subject": patients if patients is not None else np.zeros(0, str),
        "repeated_embeddings": x[repeated],
    }


def test_neighbours_are_the_nearest_by_cosine():
    x, test = features(1.0), features(1.0, seed=2)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (test, x)]
    nearest = np.argsort(-unit[0] @ unit[1].T, 1)[:, :5]
    np.testing.assert_allclose(neighbour_probabilities(x, LABELS, test, 5), LABELS[nearest].mean(1))
    assert neighbour_probabilities(x[:3], LABELS[:3], test).shape == (200, 5)  # fewer than neighbours


def test_separated_classes_are_found():
    found, _ = embedding_scores(stored_of(features(0.1)), None, 0)
    of = found["classes"]
    assert found["neighbours_auroc"]["mean"] == of["nmi"]["mean"] == of["ari"]["mean"] == pytest.approx(1)
    assert of["silhouette"]["mean"] > 0.9 and of["davies_bouldin"]["mean"] < 0.2
    worse = embedding_scores(stored_of(features(2.5)), None, 0)[0]["classes"]
    for name, better in (("nmi", 1), ("ari", 1), ("silhouette", 1), ("davies_bouldin", -1), ("calinski_harabasz", 1)):
        assert better * of[name]["mean"] > better * worse[name]["mean"], name


def test_noise_scores_at_chance():
    noise = np.random.default_rng(0).normal(size=(200, 5))
    found, _ = embedding_scores(stored_of(noise), None, 0)
    assert abs(found["neighbours_auroc"]["mean"] - 0.5) < 0.2
    assert abs(found["classes"]["ari"]["mean"]) < 0.1 and found["classes"]["silhouette"]["mean"] < 0.05


def test_clusters_by_patient_are_distinguished_from_clusters_by_diagnosis():
    rng, patients = np.random.default_rng(0), np.tile(np.arange(40), 5)  # each has every disease
    of_patients = rng.normal(size=(40, 5))[patients] + 0.01 * rng.normal(size=(200, 5))
    shown, _ = embedding_scores(stored_of(of_patients, patients=patients.astype(str)), None, 0)
    assert shown["patients"]["ari"]["mean"] > 0.9 > 0.2 > shown["classes"]["ari"]["mean"]
    assert shown["patients"]["count"] == 40
    assert "ari" not in embedding_scores(stored_of(of_patients), None, 0)[0]["patients"]  # nobody has several


def test_recordings_of_several_classes_are_no_part_of_a_partition():
    labels, x = LABELS.copy(), features(1.0)
    labels[::5, 0] = 1
    found, _ = embedding_scores(stored_of(x, labels), None, 0)
    rows = np.flatnonzero(labels.sum(1) == 1)
    assert found["classes"]["recordings"] == len(rows)
    groups = labels[rows].argmax(1)
    clusters = KMeans(5, n_init=10, random_state=0).fit_predict(x[rows])
    assert found["classes"]["nmi"]["mean"] == pytest.approx(normalized_mutual_info_score(groups, clusters))
    assert found["classes"]["ari"]["mean"] == pytest.approx(adjusted_rand_score(groups, clusters))
    assert found["classes"]["davies_bouldin"]["mean"] == pytest.approx(davies_bouldin_score(x[rows], groups))
    assert dict(separation(x[:3], np.zeros(3))) == {} and set(dict(agreement(x, KINDS, 5))) == {"nmi", "ari"}


def test_resamples_repeat_recordings():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (3, 200))
    scores = rng.random((200, 5))
    rows = [np.repeat(np.arange(200), c) for c in counts]
    expected = [roc_auc_score(LABELS[r], scores[r], average="macro") for r in rows]
    np.testing.assert_allclose(macro_auroc(LABELS, scores, counts), expected)


def test_halves_are_random_halves():
    halves = half_samples(9, 4000, 1)
    assert halves.shape == (4000, 9) and (halves.sum(1) == 4).all()
    np.testing.assert_allclose(halves.mean(0), 4 / 9, atol=0.04)
    x = np.random.default_rng(0).normal(size=60)
    means = [x[half].mean() for half in half_samples(60, 4000, 0)]
    assert np.std(means) == pytest.approx(x.std(ddof=1) / 60**0.5, rel=0.05)  # the standard error, without a factor


def test_separation_spreads_over_halves_as_over_fresh_samples():
    def faint(seed: int) -> np.ndarray:  # groups close to each other in many dimensions, as in embeddings
        noise = np.random.default_rng(seed).normal(size=(200, 30))
        return noise + np.eye(5, 30)[KINDS]

    x, fresh = faint(0), [davies_bouldin_score(faint(seed), KINDS) for seed in range(60)]
    found = halved_separation(x, KINDS, half_samples(200, 300, 0))
    whole = davies_bouldin_score(x, KINDS)
    low, high = interval(found)
    assert found.mean() == pytest.approx(whole) and low < whole < high
    assert 0.6 < found.std() / np.std(fresh) < 1.6
    twice = np.random.default_rng(0).integers(200, size=(50, 200))
    assert np.mean([davies_bouldin_score(x[r], KINDS[r]) for r in twice]) < low  # a bootstrap underestimates it
    halves = half_samples(200, 3, 0)
    halves[0, KINDS == 2] = False  # nobody has the class
    assert np.isnan(halved_separation(x, KINDS, halves)).tolist() == [True, False, False]


def run_of(folder, **baselines):
    for name, x in {"": features(1.0), **baselines}.items():
        arrays = stored_of(x, patients=np.repeat(np.arange(100), 2).astype(str))
        write_npz(folder / f"predictions{'_' * bool(name)}{name}.npz", **arrays)
    return folder


def test_alarms_depend_on_the_confidence_intervals(tmp_path):
    metrics = evaluate_run(
        run_of(tmp_path, before=features(3.0), random_init=features(1.0)), bootstrap=100, kind="embeddings"
    )
    gain = metrics["differences"]["before"]
    assert gain["neighbours_auroc"]["low"] > 0 > gain["classes"]["davies_bouldin"]["high"]
    assert metrics["differences"]["random_init"]["linear_auroc"]["difference"] == 0
    assert metrics["alarms"] == [
        'not significantly better than the baseline "randomly initialised encoder" (linear probe, macro AUROC)'
    ]
    other = tmp_path / "other"
    other.mkdir()
    alarms = evaluate_run(run_of(other, before=features(1.0)), bootstrap=50, kind="embeddings")["alarms"]
    assert len(alarms) == 2 and "k-NN" in alarms[0] and "Davies-Bouldin" in alarms[1]
    write_npz(other / "predictions_whitened.npz", **read_npz(other / "predictions.npz"))
    assert "whitened" in evaluate_run(other, bootstrap=50, kind="embeddings")["alarms"][2]
    (tmp_path / "config.yaml").write_text("title: x\n")
    write_json(tmp_path / "metrics.json", metrics)
    write_json(tmp_path / "environment.json", {"kind": "embeddings", "experiment": "embed_superclasses"})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page.count("<svg") == 3 and "Calinski-Harabasz" in page
    for name in ("model.neighbours_auroc.low", "model.classes.ari.mean", "model.patients.silhouette.mean"):
        assert explain(name)


def test_a_baseline_of_other_recordings_is_rejected(tmp_path):
    run_of(tmp_path)
    odd = stored_of(features(1.0)) | {"ecg_id": np.arange(1, 201)}
    write_npz(tmp_path / "predictions_raw.npz", **odd)
    with pytest.raises(InputError, match="another ecg_id"):
        evaluate_run(tmp_path, bootstrap=0, kind="embeddings")
    write_npz(tmp_path / "predictions_raw.npz", **(odd | {"linear": np.zeros((3, 5))}))
    with pytest.raises(InputError, match=r"linear of shape \(3, 5\); expected \(200, 5\)"):
        evaluate_run(tmp_path, bootstrap=0, kind="embeddings")
