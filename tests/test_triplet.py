import keras
import numpy as np
import pytest
from compiling import compile_with
from layer_checks import check_gradients
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.encoders import build_encoder
from keras_ecg.models.objectives import build_objective
from keras_ecg.models.triplet import (
    Triplet,
    TripletConfig,
    build_projection,
    build_triplet,
    pairs_of,
    triplet_loss,
)


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def reference(z, positive, negative, margin):
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    distance = ((z[:, None] - z[None]) ** 2).sum(-1)
    losses = []
    for a, p in np.argwhere(positive):
        others = distance[a][negative[a]]
        if len(others):
            beyond = others[others > distance[a, p]]
            chosen = beyond.min() if len(beyond) else others.max()
            losses.append(max(0, distance[a, p] - chosen + margin))
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_loss_equals_numpy_reference(margin):
    z, labels = normal(20, 5), np.random.default_rng(1).integers(0, 4, 20)
    same = labels[:, None] == labels
    expected = reference(z, same & ~np.eye(20, dtype=bool), ~same, margin)
    assert expected > 0
    np.testing.assert_allclose(array(triplet_loss(z, labels, margin)), expected, rtol=1e-4)
    np.testing.assert_allclose(array(triplet_loss(3 * z, labels, margin)), expected, rtol=1e-4)


def test_positives_share_a_diagnosis_and_negatives_none():
    labels = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    positive, negative = (array(v) for v in pairs_of(labels))
    assert np.argwhere(np.triu(positive)).tolist() == [[0, 1], [0, 2], [1, 2]]  # pairs that share a class
    assert np.argwhere(np.triu(negative)).tolist() == [[0, 3], [1, 3], [2, 3]]  # labelled pairs without a common class
    np.testing.assert_array_equal(positive, positive.T)
    np.testing.assert_array_equal(negative, negative.T)
    z = normal(6, 4)
    np.testing.assert_allclose(array(triplet_loss(z, labels)), reference(z, positive, negative, 0.2), rtol=1e-4)
    kinds = np.array([2, 0, 2, 1])
    for found, expected in zip(pairs_of(kinds), pairs_of(np.eye(3)[kinds]), strict=True):
        np.testing.assert_array_equal(array(found), array(expected))


def test_triplet_loss_is_zero_without_violations_or_pairs():
    apart = np.repeat(np.eye(3, dtype=np.float32), 2, 0)
    assert float(triplet_loss(apart, np.repeat(np.arange(3), 2))) == 0  # equal positives, distant negatives
    assert float(triplet_loss(normal(6, 4), np.arange(6))) == 0  # no positives
    assert float(triplet_loss(normal(6, 4), np.zeros(6, int))) == 0  # no negatives


def means_of(encoder: keras.Model) -> keras.Model:
    return keras.Model(encoder.input, RowMeans()(encoder.output))


def test_training_separates_the_classes(tmp_path):
    keras.utils.set_random_seed(0)
    rng, time = np.random.default_rng(0), np.arange(64) / 64
    labels = np.repeat(np.arange(3), 16)
    angle = 2 * np.pi * ((2 + 3 * labels[:, None]) * time + rng.uniform(size=(48, 1)))
    x = (np.sin(angle) + 0.3 * rng.normal(size=angle.shape)).astype(np.float32)[..., None]
    model = Triplet(means_of(build_encoder("cnn", (64, 1), {"width": 16, "dropout": 0.0})))
    check_gradients(model, lambda: triplet_loss(model(x, training=True), labels, 1.0))
    compile_with(model, keras.optimizers.Adam(5e-3))
    history = model.fit(x, labels, batch_size=48, epochs=25, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    embeddings = array(model(x))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(x)), embeddings)


def test_projection_is_initialised_by_pca(tmp_path):
    means = normal(30, 6) * np.array([1, 2, 3, 4, 5, 6]) @ normal(6, 6, seed=1) + 3
    scaled = StandardScaler().fit_transform(means)
    expected = PCA(4).fit_transform(scaled)
    projection = build_projection(means, 4, dropout=0.5, seed=0)
    found = array(projection(means))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)
    assert np.abs(array(projection(means, training=True)) - found).max() > 0.1
    assert build_projection(means[:3], 4, dropout=0.0)(means).shape == (30, 3)
    projection.save(tmp_path / "projection.keras")
    np.testing.assert_array_equal(array(keras.saving.load_model(tmp_path / "projection.keras")(means)), found)


def test_projection_amplifies_discriminative_low_variance_directions():
    keras.utils.set_random_seed(0)
    labels, loud = np.repeat([0, 1], 64), np.random.default_rng(0).normal(size=(128, 1))
    means = normal(128, 12) * 0.3 + 3 * loud
    means[:, 0] += labels
    projection = build_projection(means, 4, dropout=0.0)
    model = Triplet(projection)
    before = silhouette_score(array(model(means)), labels)
    compile_with(model, keras.optimizers.Adam(1e-2))
    model.fit(means, labels, batch_size=64, epochs=30, verbose=0)
    assert silhouette_score(array(model(means)), labels) > before + 0.3


def patches() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_objective("st_mem", (200, 3), {"width": 16, "depth": 1, "heads": 2, "patch_samples": 25}).encoder


def test_mean_tokens_are_computed_per_lead():
    encoder, x = patches(), normal(4, 200, 3)
    means = array(encoder(x)).reshape(4, 3, 8, 16).mean(2).reshape(4, 48)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(array(build_triplet(encoder, 3, TripletConfig())(x)), expected, atol=1e-5)
    projection = build_projection(normal(9, 48), 5, dropout=0.5)
    found = array(build_triplet(encoder, 3, TripletConfig(), projection)(x))
    z = array(projection(means))
    np.testing.assert_allclose(found, z / np.linalg.norm(z, axis=1, keepdims=True), atol=1e-4)


def test_single_lead_encoder_is_applied_to_each_lead():
    encoder, x = build_encoder("cnn", (64, 1), {"width": 16}), normal(4, 64, 3)
    means = np.concatenate([array(encoder(x[..., k : k + 1])).mean(1) for k in range(3)], 1)
    found = array(build_triplet(encoder, 3, TripletConfig())(x))
    np.testing.assert_allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)


def test_patch_dropout_applies_in_training_only():
    encoder, x = patches(), normal(4, 200, 3)
    model = build_triplet(encoder, 3, TripletConfig(patch_dropout=0.5), seed=0)
    whole = array(build_triplet(patches(), 3, TripletConfig())(x))
    np.testing.assert_allclose(array(model(x)), whole, atol=1e-5)
    assert np.abs(array(model(x, training=True)) - whole).max() > 1e-3
    before = [array(w) for w in encoder.weights]
    compile_with(model, keras.optimizers.SGD(1.0))
    model.fit(x, np.array([0, 0, 1, 1]), batch_size=4, verbose=0)
    assert max(np.abs(array(w) - b).max() for w, b in zip(encoder.weights, before, strict=True)) > 1e-4
    with pytest.raises(ValueError, match="no patches to drop"):
        build_triplet(build_encoder("cnn", (64, 1), {"width": 16}), 1, TripletConfig(patch_dropout=0.5))


def test_frozen_stages_do_not_change():
    assert build_triplet(patches(), 3, TripletConfig(frozen_stages=-1)).trainable_weights == []
    all_of_it = len(build_triplet(patches(), 3, TripletConfig()).trainable_weights)
    assert 0 < len(build_triplet(patches(), 3, TripletConfig(frozen_stages=1)).trainable_weights) < all_of_it
