import keras
import numpy as np
import pytest
from layer_checks import check_gradients

from keras_ecg.models.encoders import build_encoder
from keras_ecg.models.triplet import Triplet, pairs_of, triplet_loss


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
def test_the_loss_is_the_references(margin):
    z, labels = normal(20, 5), np.random.default_rng(1).integers(0, 4, 20)
    same = labels[:, None] == labels
    expected = reference(z, same & ~np.eye(20, dtype=bool), ~same, margin)
    assert expected > 0
    np.testing.assert_allclose(array(triplet_loss(z, labels, margin)), expected, rtol=1e-4)
    np.testing.assert_allclose(array(triplet_loss(3 * z, labels, margin)), expected, rtol=1e-4)


def test_several_diagnoses():
    labels = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    positive, negative = (array(v) for v in pairs_of(labels))
    assert np.argwhere(positive).tolist() == [[0, 1], [1, 0], [4, 5], [5, 4]]
    assert np.argwhere(np.triu(negative)).tolist() == [[0, 3], [1, 3], [2, 3]]
    z = normal(6, 4)
    np.testing.assert_allclose(array(triplet_loss(z, labels)), reference(z, positive, negative, 0.2), rtol=1e-4)
    kinds = np.array([2, 0, 2, 1])
    for found, expected in zip(pairs_of(kinds), pairs_of(np.eye(3)[kinds]), strict=True):
        np.testing.assert_array_equal(array(found), array(expected))


def test_losses_that_are_zero():
    apart = np.repeat(np.eye(3, dtype=np.float32), 2, 0)
    assert float(triplet_loss(apart, np.repeat(np.arange(3), 2))) == 0  # all alike, all others far off
    assert float(triplet_loss(normal(6, 4), np.arange(6))) == 0  # no positives
    assert float(triplet_loss(normal(6, 4), np.zeros(6, int))) == 0  # no negatives


def test_training_parts_the_classes(tmp_path):
    keras.utils.set_random_seed(0)
    rng, time = np.random.default_rng(0), np.arange(64) / 64
    labels = np.repeat(np.arange(3), 16)
    angle = 2 * np.pi * ((2 + 3 * labels[:, None]) * time + rng.uniform(size=(48, 1)))
    x = (np.sin(angle) + 0.3 * rng.normal(size=angle.shape)).astype(np.float32)[..., None]
    model = Triplet(build_encoder("cnn", (64, 1), {"width": 16, "dropout": 0.0}), projection=8)
    check_gradients(model, lambda: triplet_loss(model(x, training=True), labels, 1.0))
    model.compile(keras.optimizers.Adam(5e-3))
    history = model.fit(x, labels, batch_size=48, epochs=25, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    embeddings = array(model(x))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(x)), embeddings)
    bare = Triplet(build_encoder("cnn", (64, 1), {"width": 16}), projection=0)
    assert bare(x).shape == (48, 16)
