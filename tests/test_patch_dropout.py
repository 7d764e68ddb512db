"""Patch dropout: which patches are dropped, their positions, and the encoding of the kept ones."""

import keras
import numpy as np
import pytest

from keras_ecg.layers.patch_dropout import PatchDropout
from keras_ecg.models.ecg_jepa import ECGJEPAConfig
from keras_ecg.models.ecg_jepa import build_encoder as build_ecg_jepa
from keras_ecg.models.encoders import build_encoder as build_convolutions
from keras_ecg.models.fewer_patches import with_patch_dropout
from keras_ecg.models.mae import MAEConfig
from keras_ecg.models.mae import build_encoder as build_mae
from keras_ecg.models.recording_classifier import RecordingClassifierConfig, build_recording_classifier
from keras_ecg.models.st_mem import STMEMConfig
from keras_ecg.models.st_mem import build_encoder as build_st_mem

SMALL = {"width": 16, "depth": 1, "heads": 2, "rotary": True, "patch_samples": 5}
ENCODERS = {
    "mae": lambda: build_mae((50, 1), MAEConfig(**SMALL)),
    "st_mem": lambda: build_st_mem((50, 3), STMEMConfig(**SMALL)),
    "ecg_jepa": lambda: build_ecg_jepa((50, 3), ECGJEPAConfig(**SMALL)),
}


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("together", [1, 3])
def test_tokens_are_dropped_per_row_or_jointly(together):
    x = np.tile(np.arange(10, dtype=np.float32)[:, None], (6, 1, 2))
    layer = PatchDropout(0.6, together, seed=0)
    kept, places = (array(v) for v in layer(x, training=True))
    assert kept.shape == (6, 4, 2) and (np.diff(places, axis=1) > 0).all()
    np.testing.assert_array_equal(kept[..., 0], places)
    assert len({tuple(row) for row in places}) == 6 // together
    assert all((places[k] == places[k - k % together]).all() for k in range(6))
    again = array(layer(x, training=True)[1])
    assert (again != places).any()
    counts = np.zeros(10)
    for _ in range(60):
        counts += np.bincount(array(layer(x, training=True)[1]).ravel(), minlength=10)
    assert np.abs(counts / counts.sum() - 0.1).max() < 0.04  # uniform over positions


def test_prediction_keeps_all_tokens_and_positions_count_separators():
    x = normal(4, 5, 2)
    kept, places = PatchDropout(0.4, ends=True, seed=0)(x, training=False)
    np.testing.assert_array_equal(array(kept), x)
    np.testing.assert_array_equal(array(places), np.tile(np.arange(7), (4, 1)))
    places = array(PatchDropout(0.4, ends=True, seed=0)(x, training=True)[1])
    assert places.shape == (4, 5) and (places[:, 0] == 0).all() and (places[:, -1] == 6).all()
    assert ((places[:, 1:-1] > 0) & (places[:, 1:-1] < 6)).all()


@pytest.mark.parametrize("name", ["mae", *(pytest.param(n, marks=pytest.mark.slow) for n in ENCODERS if n != "mae")])
def test_patch_dropout_does_not_change_prediction(name, tmp_path):
    keras.utils.set_random_seed(0)
    encoder = ENCODERS[name]()
    leads = encoder.input_shape[-1]
    less, x = with_patch_dropout(encoder, 0.6, seed=1), normal(4, 50, leads)
    assert [w.path for w in less.trainable_weights] == [w.path for w in encoder.trainable_weights]
    np.testing.assert_allclose(array(less(x, training=False)), array(encoder(x, training=False)), atol=1e-5)
    assert less(x, training=True).shape == (4, leads * 4, 16)
    model = build_recording_classifier(
        {"signals": (50, leads)}, 2, RecordingClassifierConfig(patch_dropout=0.6), encoder
    )
    model.compile("adam", "binary_crossentropy")
    before = [array(w).copy() for w in encoder.trainable_weights]
    model.fit({"signals": x}, np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], batch_size=4, epochs=2, verbose=0)
    moved = [w.path for w, old in zip(encoder.trainable_weights, before, strict=True) if (array(w) != old).any()]
    assert len(moved) == len(before)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(
        again.predict({"signals": x}, verbose=0), model.predict({"signals": x}, verbose=0), atol=1e-6
    )


def test_kept_patches_are_encoded_without_dropped_ones():
    keras.utils.set_random_seed(0)
    encoder = build_st_mem((50, 2), STMEMConfig(**SMALL))
    less, x = with_patch_dropout(encoder, 0.5, seed=3), normal(1, 50, 2)
    dropout = less.get_layer("patch_dropout")
    tokens = encoder.get_layer("positions")(encoder.get_layer("patches")(encoder.get_layer("fold")(x)))
    twin = PatchDropout(0.5, ends=True, seed=3)
    kept, places = twin(tokens, training=True)
    expected = encoder.get_layer("lead_embedding")(encoder.get_layer("separators")(kept))
    expected, places = keras.ops.reshape(expected, (1, 14, 16)), keras.ops.reshape(places, (1, 14))
    expected = array(encoder.get_layer("transformer")(expected, places)).reshape(2, 7, 16)[:, 1:-1].reshape(1, 10, 16)
    assert dropout.share == 0.5 and dropout.ends and dropout.together == 1
    np.testing.assert_allclose(array(less(x, training=True)), expected, atol=1e-5)


def test_cross_pattern_encoder_drops_same_patches_in_all_leads():
    assert with_patch_dropout(ENCODERS["ecg_jepa"](), 0.5).get_layer("patch_dropout").together == 3
    assert with_patch_dropout(ENCODERS["st_mem"](), 0.5).get_layer("patch_dropout").together == 1


def test_encoder_without_patches_is_rejected():
    convolutions = build_convolutions("cnn", (40, 3), {"width": 8, "kernel_sizes": (5, 3), "strides": (2, 2)})
    with pytest.raises(ValueError, match="no patches to drop"):
        with_patch_dropout(convolutions, 0.5)
    with pytest.raises(ValueError, match="no patches to drop"):
        build_recording_classifier({"signals": (40, 3)}, 2, RecordingClassifierConfig(patch_dropout=0.5), convolutions)
