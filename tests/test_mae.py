import dataclasses

import keras
import numpy as np
import pytest
from conftest import run_on_jax
from layer_checks import check_gradients, check_saving, run_layer_test
from sinusoids import learn_sinusoids

from keras_ecg.layers.attention import RotarySelfAttention
from keras_ecg.layers.feed_forward import FeedForward
from keras_ecg.layers.masking import MaskTokens, RandomMasking
from keras_ecg.layers.patches import PatchEmbedding, patchify, unpatchify
from keras_ecg.layers.positions import SinCosPositions, sin_cos_table
from keras_ecg.layers.transformer import Transformer, TransformerBlock
from keras_ecg.models.mae import MAEConfig, MaskedAutoencoder, build_encoder, masked_error, mean_of

SHAPE = (60, 2)  # T, L: twelve patches of five samples
TINY = MAEConfig(width=16, depth=2, heads=2, decoder_width=8, decoder_depth=1, decoder_heads=2, patch_samples=5)
TOKENS = {"x": (4, 6, 8)}
KEY_BIAS = ("key/bias",)  # shifts all logits of a query equally, so the softmax does not depend on it

LAYERS = {
    "patch embedding": (PatchEmbedding, {"width": 7, "patch_samples": 5}, {"x": (3, 20, 2)}, (3, 4, 7)),
    "sin-cos positions": (SinCosPositions, {}, TOKENS, (4, 6, 8)),
    "feed-forward": (FeedForward, {"expansion": 3, "dropout": 0.2}, TOKENS, (4, 6, 8)),
    "transformer block": (TransformerBlock, {"heads": 2, "expansion": 3, "dropout": 0.2}, TOKENS, (4, 6, 8)),
    "rotary attention": (RotarySelfAttention, {"heads": 2, "dropout": 0.2, "slowest": 50.0}, TOKENS, (4, 6, 8)),
    "rotary transformer": (
        Transformer,
        {"depth": 2, "heads": 2, "expansion": 3, "dropout": 0.2, "rotary": True},
        TOKENS,
        (4, 6, 8),
    ),  # fmt: skip
    "transformer": (Transformer, {"depth": 2, "heads": 2, "expansion": 3, "dropout": 0.2}, TOKENS, (4, 6, 8)),
}


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def signals(batch=4, shape=SHAPE, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (batch, *shape)).astype(np.float32)


def made(seed=3, masks=5, dtype=None, **hyperparameters) -> MaskedAutoencoder:
    keras.utils.set_random_seed(seed)
    return MaskedAutoencoder(SHAPE, dataclasses.replace(TINY, **hyperparameters), seed=masks, dtype=dtype)


def draw(ratio, tokens=10, samples=6, seed=1):
    x = np.arange(samples * tokens, dtype=np.float32).reshape(samples, tokens, 1)
    return x, *(array(v) for v in RandomMasking(ratio, seed)(x))


# Layers


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, tmp_path):
    run_layer_test(*LAYERS[name], tmp_path, unmoved=KEY_BIAS)


def test_unpatchify_inverts_patchify():
    x = signals(3, (20, 2))
    patches = array(patchify(x, 5))
    assert patches.shape == (3, 4, 10)
    np.testing.assert_array_equal(patches[1, 2], x[1, 10:15].ravel())
    np.testing.assert_array_equal(array(unpatchify(patches, 2)), x)


@pytest.mark.parametrize("samples", [1001, 3, None])
def test_windows_not_divisible_into_patches_are_rejected(samples):
    with pytest.raises(ValueError, match=f"windows of {samples} samples do not divide into patches of 10"):
        build_encoder((samples, 1), MAEConfig())


def test_rotary_attention_depends_on_relative_positions_only():
    keras.utils.set_random_seed(0)
    layer = RotarySelfAttention(2, 0.0)
    x, at = signals(3, (6, 8)), np.array([0, 2, 3, 7, 8, 20])
    layer.build(x.shape)
    out = array(layer(x, at))
    np.testing.assert_allclose(array(layer(x, at + 31)), out, atol=1e-4)  # all positions shifted
    assert np.abs(array(layer(x, at * 2)) - out).max() > 1e-3  # larger relative positions
    np.testing.assert_allclose(array(layer(x)), array(layer(x, np.arange(6))), atol=1e-6)
    order = np.random.default_rng(0).permutation(6)
    np.testing.assert_allclose(array(layer(x[:, order], at[order])), out[:, order], atol=1e-5)
    each = array(layer(x, np.stack([at, at + 1, at * 2])))
    np.testing.assert_allclose(each[0], out[0], atol=1e-5)
    np.testing.assert_allclose(each[2], array(layer(x, at * 2))[2], atol=1e-5)


def test_rotary_attention_equals_numpy_reference():
    keras.utils.set_random_seed(0)
    layer = RotarySelfAttention(1, 0.0, slowest=10.0)
    x = signals(1, (3, 4))
    layer.build(x.shape)
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    parts = normed[0] @ array(layer.query_key_value.kernel) + array(layer.query_key_value.bias)
    q, k, v = np.split(parts, 3, axis=1)

    def turned(vectors):  # pairs of channels as complex numbers, each with its own frequency
        pairs = vectors[:, :2] + 1j * vectors[:, 2:]
        pairs = pairs * np.exp(1j * np.arange(3)[:, None] * np.array([1.0, 10**-0.5]))
        return np.concatenate([pairs.real, pairs.imag], 1)

    scores = np.exp(turned(q) @ turned(k).T / 2)
    mixed = scores / scores.sum(1, keepdims=True) @ v
    expected = x[0] + mixed @ array(layer.output_projection.kernel) + array(layer.output_projection.bias)
    np.testing.assert_allclose(array(layer(x))[0], expected, atol=1e-4)


def test_sin_cos_positions_equal_numpy_reference():
    table = sin_cos_table(50, 8)
    for n, k in ((0, 0), (7, 0), (7, 3), (49, 2)):
        angle = n / 10000 ** (2 * k / 8)
        np.testing.assert_allclose(table[n, [k, 4 + k]], [np.sin(angle), np.cos(angle)], atol=1e-6)
    np.testing.assert_allclose(array(SinCosPositions()(np.ones((2, 50, 8), np.float32)))[1], 1 + table)
    with pytest.raises(ValueError, match="a width of 7 does not divide into sines and cosines"):
        sin_cos_table(50, 7)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.6, 0.75])
def test_the_mask_ratio_is_exact_and_the_order_restores(ratio):
    x, visible, mask, order = draw(ratio, tokens=20)
    kept = round(20 * (1 - ratio))
    assert visible.shape == (6, kept, 1) and mask.dtype == bool
    np.testing.assert_array_equal(mask.sum(1), 20 - kept)
    np.testing.assert_array_equal(np.sort(order, 1), np.tile(np.arange(20), (6, 1)))
    layer = MaskTokens()
    restored = array(layer(visible, order))
    np.testing.assert_array_equal(restored[~mask], x[~mask])
    np.testing.assert_array_equal(restored[mask], np.full((mask.sum(), 1), array(layer.token).item()))
    assert len({tuple(row) for row in mask}) > 1  # each example has its own mask


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0])
def test_masking_no_or_all_tokens_is_rejected(ratio):
    with pytest.raises(ValueError, match=f"a mask ratio of {ratio} leaves .* of 12 tokens visible"):
        made(mask_ratio=ratio)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_every_patch_is_masked_equally_often(dtype):
    samples, tokens = 20000, 50
    _, mask, _ = RandomMasking(0.6, seed=0, dtype=dtype)(np.zeros((samples, tokens, 1), np.float32))
    share = array(mask).mean(0)
    spread = np.sqrt(0.6 * 0.4 / samples)
    assert np.abs(share - 0.6).max() < 4 * spread
    chi_square = ((share - 0.6) ** 2).sum() / spread**2 * (tokens - 1) / tokens
    assert chi_square < 85.4  # 99.9 % of 49 degrees of freedom
    together = (array(mask)[:, :-1] & array(mask)[:, 1:]).mean()  # neighbours are masked independently
    assert abs(together - 30 / 50 * 29 / 49) < 0.003


def test_masks_are_reproducible_from_the_configuration():
    x = signals(4, (10, 3))
    layer = RandomMasking(0.5, seed=9)
    assert (layer.get_config()["ratio"], layer.get_config()["seed"]) == (0.5, 9)
    again = RandomMasking.from_config(layer.get_config())
    first, second = array(layer(x)[1]), array(layer(x)[1])
    assert (first != second).any()  # a new draw
    np.testing.assert_array_equal(array(again(x)[1]), first)
    np.testing.assert_array_equal(array(layer(x, seed=2)[1]), array(again(x, seed=2)[1]))
    assert (array(RandomMasking(0.5, seed=10)(x)[1]) != first).any()


def test_mask_tokens_pass_gradients_and_keep_the_precision():
    _, _, _, order = draw(0.5)
    visible = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    layer = MaskTokens()
    layer(visible, order)
    check_gradients(layer, lambda: layer(visible, order))
    mixed = MaskTokens(dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(mixed(visible, order).dtype) == "bfloat16"
    assert {str(w.dtype) for w in mixed.weights} == {"float32"}


# Loss


def reference(x, predictions, mask, normalize):
    patches = x.reshape(len(x), 12, 10).astype(np.float64)
    if normalize:
        patches = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, keepdims=True) + 1e-6)
    hidden = patches[mask]  # (masked, P L)
    loss = ((predictions[mask] - hidden) ** 2).mean()
    means = patches.reshape(len(x), 60, 2).mean(1)  # (B, L)
    constant = np.tile(means[:, None], (1, 12, 5))
    return loss, loss / ((constant[mask] - hidden) ** 2).mean()


@pytest.mark.parametrize("normalize", [False, True], ids=["raw", "normalized"])
def test_loss_equals_numpy_reference(normalize):
    model, x = made(normalize_targets=normalize), signals()
    outputs = tuple(array(v) for v in model(x))
    loss, relative = reference(x, *outputs, normalize)
    np.testing.assert_allclose(array(model.compute_loss(x, y_pred=outputs)), loss, rtol=1e-5)
    np.testing.assert_allclose([array(model.masked_loss.result()), array(model.relative_loss.result())],
                               [loss, relative], rtol=1e-5)  # fmt: skip


def test_visible_patches_do_not_contribute_to_loss():
    model, x = made(), signals()
    predictions, mask = (array(v) for v in model(x))
    loss = array(model.compute_loss(x, y_pred=(predictions, mask)))
    visible = ~mask[..., None]
    np.testing.assert_array_equal(loss, array(model.compute_loss(x, y_pred=(predictions + 9 * visible, mask))))
    other = x + 7 * np.repeat(visible, 5, 1)
    np.testing.assert_array_equal(loss, array(model.compute_loss(other, y_pred=(predictions, mask))))
    assert array(model.compute_loss(x, y_pred=(predictions + 9 * ~visible, mask))) > loss + 9
    exact = np.where(visible, 0, x.reshape(4, 12, 10))
    assert array(model.compute_loss(x, y_pred=(exact, mask))) == 0


@pytest.mark.parametrize("normalize", [False, True], ids=["raw", "normalized"])
def test_predicting_the_mean_has_a_relative_loss_of_one(normalize):
    model = made(normalize_targets=normalize)
    for seed, scale in ((0, 1), (1, 10)):
        x = scale * signals(seed=seed)
        _, mask = model(x)
        mean = mean_of(model.targets(x), 2)
        if not normalize:
            np.testing.assert_allclose(array(mean)[:, 0, :2], x.mean(1), rtol=1e-4, atol=1e-6)
        model.compute_loss(x, y_pred=(keras.ops.broadcast_to(mean, (4, 12, 10)), mask))
    np.testing.assert_allclose(array(model.relative_loss.result()), 1, rtol=1e-6)


def test_relative_loss_is_a_ratio_of_sums_over_the_epoch():
    model, losses, baselines = made(), [], []
    for seed, scale in ((0, 1), (1, 10)):
        x = scale * signals(seed=seed)
        outputs = tuple(array(v) for v in model(x))
        loss, relative = reference(x, *outputs, False)
        losses.append(loss)
        baselines.append(loss / relative)
        model.compute_loss(x, y_pred=outputs)
    np.testing.assert_allclose(array(model.relative_loss.result()), sum(losses) / sum(baselines), rtol=1e-5)
    np.testing.assert_allclose(array(model.masked_loss.result()), np.mean(losses), rtol=1e-5)


def test_loss_is_float32_under_mixed_precision():
    far = np.full((1, 2, 3), 300, np.float16)  # its square is infinite in float16
    loss = masked_error(far, 0 * far, np.array([[True, False]]))
    assert array(loss).dtype == np.float32 and array(loss) == 90000


# Model


def test_the_encoder_is_encoding_without_masking():
    model, x = made(), signals()
    out = array(model.encoder(x))
    assert out.shape == (4, 12, 16) and model.encoder.output_shape == (None, 12, 16)
    np.testing.assert_allclose(array(model.encoder.get_layer("transformer")(model.patchify(x))), out, atol=1e-6)


def test_encoder_depends_on_visible_patches_only():
    model, x = made(), signals()
    (predictions, mask), same = model(x, seed=1), model(x, seed=1)
    np.testing.assert_array_equal(array(same[0]), array(predictions))
    hidden = np.repeat(array(mask), 5, 1)[..., None]
    np.testing.assert_array_equal(array(model(x + hidden, seed=1)[0]), array(predictions))
    assert np.abs(array(model(x + ~hidden, seed=1)[0]) - array(predictions)).max() > 1e-3


def test_every_weight_has_a_gradient():
    model, x = made(), signals()
    check_gradients(model, lambda: model.compute_loss(x, y_pred=model(x, training=True, seed=1)), KEY_BIAS)


@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16", "mixed_float16"])
def test_saved_and_loaded(dtype, tmp_path):
    model, x = made(dtype=dtype), signals()
    model.save(tmp_path / "mae.keras")
    loaded = keras.saving.load_model(tmp_path / "mae.keras")
    assert loaded.config == model.config and loaded.get_config() == model.get_config()
    for part in (*loaded.encoder.layers[1:], *loaded.layers):
        assert part.name in ("mae_encoder", "predict_patches") or part.dtype_policy.name == (dtype or "float32"), part
    for found, expected in zip(loaded.reconstruct(x, 3), model.reconstruct(x, 3), strict=True):
        np.testing.assert_array_equal(array(found), array(expected))
    check_saving(model.encoder, x, tmp_path)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(dtype):
    full, mixed, x = made(), made(dtype=dtype), signals()
    mixed.set_weights(full.get_weights())
    assert mixed.encoder.get_layer("transformer").compute_dtype in dtype
    assert {str(w.dtype) for w in mixed.trainable_weights} == {"float32"}
    found, expected = (m.compute_loss(x, y_pred=m(x, seed=1)) for m in (mixed, full))
    assert array(found).dtype == np.float32 and array(found) != array(expected)
    np.testing.assert_allclose(array(found), array(expected), rtol=0.02)
    mixed.compile("adamw", run_eagerly=True)
    assert np.isfinite(mixed.fit(x, verbose=0).history["relative_loss"]).all()


def test_reproducible_from_its_seeds():
    x = signals(8)

    def trained(**seeds):
        model = made(**seeds)
        model.compile("adamw", run_eagerly=True)
        return model.fit(x, batch_size=4, shuffle=False, verbose=0).history["loss"]

    first = trained()
    assert trained() == first
    assert trained(masks=6) != first and trained(seed=4) != first


@pytest.mark.parametrize("hyperparameter", [field.name for field in dataclasses.fields(MAEConfig)])
def test_every_hyperparameter_changes_something(hyperparameter):
    default = getattr(TINY, hyperparameter)
    other = not default if isinstance(default, bool) else default + 0.2 if isinstance(default, float) else 2 * default
    one, two, x = made(), made(**{hyperparameter: other}), signals()
    if [w.shape for w in one.weights] != [w.shape for w in two.weights]:
        return
    two.set_weights(one.get_weights())
    losses = [array(m.compute_loss(x, y_pred=m(x, training=True, seed=1))) for m in (one, two)]
    assert abs(losses[0] - losses[1]) > 1e-4


@pytest.mark.parametrize("normalize", [False, True], ids=["raw", "normalized"])
def test_a_reconstruction_differs_where_samples_are_hidden(normalize):
    model, x = made(normalize_targets=normalize), signals()
    filled, mask = (array(v) for v in model.reconstruct(x, seed=1))
    assert filled.shape == mask.shape == x.shape and mask.mean((1, 2)).tolist() == [7 / 12] * 4
    np.testing.assert_array_equal(filled[~mask], x[~mask])
    assert (filled[mask] != x[mask]).all()
    predictions = array(model(x, seed=1)[0])
    if normalize:
        patches = x.reshape(4, 12, 10)
        predictions = predictions * patches.std(-1, keepdims=True) + patches.mean(-1, keepdims=True)
    np.testing.assert_allclose(filled[mask], predictions.reshape(x.shape)[mask], atol=1e-4)


def test_scores_are_the_errors_of_the_seeds_masks():
    model, x = made(), signals()
    found, again = model.scores(x, seed=2), model.scores(x, seed=2)
    predictions, mask = model(x, seed=2)
    for name, values in zip(("error", "mean_error"), model.errors(x, predictions, mask), strict=True):
        np.testing.assert_array_equal(array(found[name]), array(values))
        np.testing.assert_array_equal(array(found[name]), array(again[name]))


def test_it_learns_sinusoids():
    history = learn_sinusoids()
    assert history[0] > 0.9 and history[-1] < 0.7, history


ON_JAX = """
import sys
import keras
import numpy as np
from sinusoids import learn_sinusoids
inputs = dict(np.load(sys.argv[1]))
model = keras.saving.load_model(sys.argv[2])
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
encoded = model.encoder.get_layer("transformer")(model.patchify(inputs["signals"]))
predictions = model.decode(encoded[:, :5], inputs["order"])
loss = model.compute_loss(inputs["signals"], y_pred=(predictions, inputs["order"] >= 5))
np.savez(sys.argv[3], encoder=model.encoder(inputs["signals"]), predictions=predictions, loss=loss,
         relative_loss=model.relative_loss.result())
history = learn_sinusoids()
assert history[-1] < 0.7, history
"""


@pytest.mark.slow
def test_equal_on_jax_without_tensorflow(tmp_path):
    pytest.importorskip("jax")
    model, x = made(), signals()
    order = np.argsort(np.random.default_rng(0).random((4, 12)), 1)
    np.savez(tmp_path / "inputs.npz", signals=x, order=order)
    model.save(tmp_path / "mae.keras")
    run_on_jax(ON_JAX, tmp_path / "inputs.npz", tmp_path / "mae.keras", tmp_path / "out.npz")
    found = np.load(tmp_path / "out.npz")
    encoded = model.encoder.get_layer("transformer")(model.patchify(x))
    predictions = model.decode(encoded[:, :5], order)
    loss = model.compute_loss(x, y_pred=(predictions, order >= 5))
    np.testing.assert_allclose(found["encoder"], array(model.encoder(x)), atol=1e-4)
    np.testing.assert_allclose(found["predictions"], array(predictions), atol=1e-4)
    np.testing.assert_allclose(found["loss"], array(loss), rtol=1e-4)
    np.testing.assert_allclose(found["relative_loss"], array(model.relative_loss.result()), rtol=1e-4)
