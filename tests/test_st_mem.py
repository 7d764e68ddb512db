import dataclasses

import keras
import numpy as np
import pytest
from compiling import compile_with
from layer_checks import check_gradients, check_saving

from keras_ecg.contract import Contract
from keras_ecg.encoders import load_encoder, save_encoder
from keras_ecg.errors import InputError
from keras_ecg.models.fewer_leads import with_leads
from keras_ecg.models.st_mem import STMEM, STMEMConfig
from keras_ecg.models.triplet import build_projection

SHAPE = (60, 3)  # T, L: twelve patches of five samples in each lead, three of which are visible
TINY = STMEMConfig(width=16, depth=1, heads=2, decoder_width=8, decoder_depth=1, decoder_heads=2, patch_samples=5)


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def signals(batch=4, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (batch, *SHAPE)).astype(np.float32)


def made(**hyperparameters) -> STMEM:
    keras.utils.set_random_seed(3)
    return STMEM(SHAPE, dataclasses.replace(TINY, **hyperparameters), seed=5)


def test_the_papers_size():
    config = STMEMConfig()
    assert (config.width, config.depth, config.heads, config.decoder_width, config.decoder_depth) == (
        768,
        12,
        12,
        256,
        4,
    )
    assert (2250 / config.patch_samples, config.mask_ratio, config.normalize_targets) == (30, 0.75, True)


def test_leads_are_masked_independently_with_exact_ratio():
    predictions, mask = made()(signals(50))
    mask = array(mask)
    assert predictions.shape == (150, 12, 5) and mask.shape == (150, 12)
    np.testing.assert_array_equal(mask.sum(1), 9)
    apart = mask.reshape(50, 3, 12)
    assert np.mean((apart[:, 0] != apart[:, 1]).any(1)) > 0.9
    together = (apart[:, 0] & apart[:, 1]).mean()
    assert abs(together - 0.75**2) < 0.05


def test_loss_equals_numpy_reference():
    model, x = made(), signals()
    predictions, mask = (array(v) for v in model(x))
    patches = x.transpose(0, 2, 1).reshape(12, 12, 5).astype("f8")  # lead by lead
    patches = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, keepdims=True) + 1e-6)
    loss = ((predictions - patches) ** 2)[mask].mean()
    chance = (patches**2)[mask].mean()  # the mean of normalized patches is zero
    np.testing.assert_allclose(array(model.compute_loss(x, y_pred=(predictions, mask))), loss, rtol=1e-5)
    np.testing.assert_allclose(array(model.relative_loss.result()), loss / chance, rtol=1e-5)
    error, mean_error = (array(v) for v in model.errors(x, predictions, mask))
    assert error.shape == mean_error.shape == (4,)  # of windows, not of leads
    np.testing.assert_allclose(error[1], ((predictions - patches) ** 2)[3:6][mask[3:6]].mean(), rtol=1e-5)


def test_the_encoder_is_encoding_without_masking():
    model, x = made(rotary=True), signals()
    out = array(model.encoder(x))
    assert out.shape == (4, 36, 16)
    order = np.tile(np.arange(12), (12, 1))
    encoded = array(model.encode(model.patchify(x), order))  # nothing hidden: (B L, N + 2, D)
    np.testing.assert_allclose(encoded[:, 1:-1].reshape(4, 36, 16), out, atol=1e-5)


def test_encoder_attends_across_leads_to_visible_patches_only():
    model, x = made(), signals()
    predictions, mask = (array(v) for v in model(x, seed=1))
    hidden = np.repeat(mask.reshape(4, 3, 12), 5, 2).transpose(0, 2, 1)  # (B, T, L)
    np.testing.assert_array_equal(array(model(x + hidden, seed=1)[0]), predictions)
    seen = ~hidden
    seen[..., 1:] = False  # the first lead alone is changed
    moved = np.abs(array(model(x + seen, seed=1)[0]) - predictions).max((1, 2)).reshape(4, 3)
    assert (moved > 1e-4).all()  # through attention across leads


def test_decoder_decodes_leads_independently():
    model = made()
    order = np.argsort(np.random.default_rng(0).random((6, 12)), 1)
    encoded = np.random.default_rng(1).normal(size=(6, 5, 16)).astype(np.float32)  # two windows of three leads
    out, moved = array(model.decode(encoded, order)), encoded.copy()
    moved[1] += np.random.default_rng(2).normal(size=(5, 16))
    change = np.abs(array(model.decode(moved, order)) - out).max((1, 2))
    assert change[1] > 1e-4 and np.delete(change, 1).max() < 1e-6


def test_encoder_with_fewer_leads_has_tokens_of_these_leads(tmp_path):
    model, x = made(rotary=True), signals()
    fewer = with_leads(model.encoder, [2, 0])
    out = array(fewer(x[..., [2, 0]]))
    assert out.shape == (4, 24, 16)
    apart = array(model.patchify(x)).reshape(4, 3, 12, 16)[:, [2, 0]].reshape(8, 12, 16)
    get = fewer.get_layer
    joined = get("join")(get("lead_embedding")(get("separators")(apart)))
    np.testing.assert_allclose(array(get("drop_separators")(get("transformer")(joined))), out, atol=1e-5)
    embedding = array(model.encoder.get_layer("lead_embedding").table)
    np.testing.assert_array_equal(array(get("lead_embedding").table), embedding)
    alone = array(with_leads(model.encoder, [0])(x[..., :1]))
    assert np.abs(alone - out[:, 12:]).max() > 1e-4  # depends on the other lead
    swapped = array(with_leads(model.encoder, [0, 2])(x[..., [0, 2]]))
    np.testing.assert_allclose(swapped, np.roll(out, 12, 1), atol=1e-5)  # independent of the order
    check_saving(fewer, x[..., [2, 0]], tmp_path)


def test_reconstruction_keeps_the_order_of_leads():
    model, x = made(normalize_targets=False), signals()
    filled, hidden = (array(v) for v in model.reconstruct(x, seed=1))
    assert filled.shape == hidden.shape == x.shape and hidden.mean((0, 1)).tolist() == [0.75] * 3
    np.testing.assert_array_equal(filled[~hidden], x[~hidden])
    predictions = array(model(x, seed=1)[0]).reshape(4, 3, 60).transpose(0, 2, 1)
    np.testing.assert_allclose(filled[hidden], predictions[hidden], atol=1e-5)


def test_gradients_saving_and_training(tmp_path):
    model, x = made(), signals(8)
    check_gradients(model, lambda: model.compute_loss(x, y_pred=model(x, training=True, seed=1)), ("key/bias",))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, STMEM) and loaded.config == model.config
    np.testing.assert_array_equal(array(loaded.scores(x, 3)["error"]), array(model.scores(x, 3)["error"]))
    compile_with(model, keras.optimizers.Adam(3e-3))
    history = model.fit({"signals": x}, batch_size=8, epochs=8, verbose=0).history
    assert set(history) == {"loss", "masked_loss", "relative_loss"} and history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(dtype):
    full, x = made(), signals()
    keras.utils.set_random_seed(3)
    mixed = STMEM(SHAPE, TINY, seed=5, dtype=dtype)
    found, expected = (m.compute_loss(x, y_pred=m(x, seed=1)) for m in (mixed, full))
    np.testing.assert_allclose(array(found), array(expected), rtol=0.05)


def test_windows_not_divisible_into_patches_are_rejected():
    with pytest.raises(ValueError, match="do not divide into patches of 7"):
        made(patch_samples=7)


def test_encoder_loaded_with_fewer_leads_accepts_such_recordings(tmp_path):
    leads = ("I", "II", "V1")
    save_encoder(tmp_path, made().encoder, Contract(0.6, 100.0, leads, 3, bandpass_hz=()))
    recording = signals(1)[0]
    whole, two = load_encoder(tmp_path), load_encoder(tmp_path, leads=["V1", "I"])
    assert whole(recording, 100.0, leads).shape == (1, 36, 16) and two.contract.leads == ("V1", "I")
    out = two(recording[:, [0, 2]], 100.0, ["I", "V1"])  # columns in any order
    np.testing.assert_allclose(out, two(recording, 100.0, leads), atol=1e-6)
    assert out.shape == (1, 24, 16) and not two.model.trainable_weights
    with pytest.raises(InputError, match="unknown leads aVR"):
        load_encoder(tmp_path, leads=["aVR"])


def test_embed_applies_the_projection(tmp_path):
    leads = ("I", "II", "V1")
    projection = build_projection(np.random.default_rng(1).normal(size=(20, 48)), 4, dropout=0.5)
    save_encoder(tmp_path, made().encoder, Contract(0.6, 100.0, leads, 3, bandpass_hz=()), projection)
    recording, encoder = signals(1)[0], load_encoder(tmp_path)
    means = encoder(recording, 100.0, leads).reshape(1, 3, 12, 16).mean(2).reshape(1, 48)
    z = array(projection(means))
    np.testing.assert_allclose(encoder.embed(recording, 100.0, leads), z / np.linalg.norm(z), atol=1e-4)
    two = load_encoder(tmp_path, leads=["V1", "I"])  # the projection is one of three leads
    assert two.projection is None and two.embed(recording, 100.0, leads).shape == (1, 16)
