import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from compiling import compile_with
from sklearn.cluster import KMeans

from keras_ecg.errors import InputError
from keras_ecg.layers.quantizer import CodePerplexity, CodeUsage, VectorQuantizer, perplexity
from keras_ecg.models.vqvae import VQVAE, VQVAEConfig

SHAPE = (60, 3)  # T, L: six tokens of ten samples in each lead
TINY = VQVAEConfig(
    encoder_options={"width": 8}, codes=12, code_width=4, decoder_width=8, decoder_depth=1, decoder_heads=2
)


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def quantizer(**hyperparameters) -> VectorQuantizer:
    layer = VectorQuantizer(**{"codes": 6, "seed": 1, **hyperparameters})
    layer.build((None, None, 4))
    return layer


def test_the_nearest_code_is_taken():
    layer, x = quantizer(), normal(3, 5, 4)
    out, chosen, distances = (array(v) for v in layer(x))
    codes = array(layer.codebook)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-6)
    apart = ((unit(x)[:, :, None] - codes) ** 2).sum(-1)  # (B, N, K)
    np.testing.assert_array_equal(chosen, apart.argmin(-1))
    np.testing.assert_allclose(distances, apart.min(-1), atol=1e-5)
    np.testing.assert_allclose(out, codes[chosen], atol=1e-6)
    np.testing.assert_array_equal(array(layer(7 * x)[1]), chosen)  # the norm has no effect


def test_straight_through_gradients_and_commitment_loss():
    layer, x, mix = quantizer(), tf.Variable(unit(normal(2, 3, 4))), normal(2, 3, 4, seed=1)
    with tf.GradientTape(persistent=True) as tape:
        out, _, distances = layer(x)
        passed, committed = tf.reduce_sum(out * mix), tf.reduce_sum(distances)
        scaled = tf.reduce_sum(x / tf.norm(x, axis=-1, keepdims=True) * mix)
    np.testing.assert_allclose(tape.gradient(passed, x), tape.gradient(scaled, x), atol=1e-5)
    toward = array(out) - x.numpy()  # less its part along the token, which has no length to change
    expected = -2 * (toward - (toward * x.numpy()).sum(-1, keepdims=True) * x.numpy())
    np.testing.assert_allclose(tape.gradient(committed, x), expected, atol=1e-5)
    assert layer.trainable_weights == []


def test_codes_are_moving_averages():
    layer, x = quantizer(decay=0.8, dead=0.0), normal(4, 5, 4)
    codes, uses, sums = (array(v).astype("f8") for v in (layer.codebook, layer.uses, layer.sums))
    for step in range(3):
        x = normal(4, 5, 4, seed=step)
        tokens = unit(x.reshape(-1, 4))
        chosen = (tokens @ codes.T).argmax(1)
        one_hot = np.eye(6)[chosen]
        uses = 0.8 * uses + 0.2 * one_hot.sum(0)
        sums = 0.8 * sums + 0.2 * one_hot.T @ tokens
        codes = unit(sums)
        layer(x, training=True)
        for found, expected in ((layer.uses, uses), (layer.sums, sums), (layer.codebook, codes)):
            np.testing.assert_allclose(array(found), expected, atol=1e-5)
    before = array(layer.codebook)
    layer(normal(4, 5, 4, seed=9))
    np.testing.assert_array_equal(array(layer.codebook), before)  # not in training


def test_unused_codes_restart_at_tokens_of_the_batch():
    layer = quantizer(decay=0.5, dead=0.2)
    toward = np.array([1.0, 0, 0, 0])
    codes = np.concatenate([[toward], np.tile(-toward, (5, 1))]).astype(np.float32)
    layer.initialize(codes)
    x = (toward + 0.1 * normal(2, 50, 4)).astype(np.float32)  # only the first code is near
    layer(x, training=True)
    found, tokens = array(layer.codebook), unit(x.reshape(-1, 4))
    assert all(np.abs(tokens - code).max(1).min() < 1e-5 for code in found[1:])  # the others restarted
    assert len(np.unique(found, axis=0)) > 3 and np.abs(tokens - found[0]).max(1).min() > 1e-4
    uses = array(layer.uses)
    np.testing.assert_allclose(uses[0], 0.5 + 50, rtol=1e-5)
    np.testing.assert_allclose(uses[1:], (50.5 + 5 * 0.5) / 6, rtol=1e-5)  # an average use, before they died
    layer(x, training=True)
    assert (array(layer.uses)[1:] > 0).all() and len(np.unique(array(layer(x)[1]))) > 2  # in use
    never = quantizer(decay=0.5, dead=0.0)
    never.initialize(codes)
    for _ in range(4):
        never(x, training=True)
    np.testing.assert_allclose(array(never.codebook)[1:], codes[1:], atol=1e-6)


def test_usage_and_perplexity():
    chosen = np.array([[0, 0, 1], [1, 2, 2]])
    usage, spread = CodeUsage(6), CodePerplexity(6)
    for metric in (usage, spread):
        metric.update_state(chosen[:1])
        metric.update_state(chosen[1:])
    assert float(usage.result()) == pytest.approx(0.5) and float(spread.result()) == pytest.approx(3)
    share = np.array([0.5, 0.25, 0.25])
    np.testing.assert_allclose(array(perplexity(4 * share)), np.exp(-(share * np.log(share)).sum()), rtol=1e-5)
    assert float(perplexity(np.float32([9, 0, 0]))) == pytest.approx(1)
    spread.reset_state()
    spread.update_state(np.array([3]))
    assert float(spread.result()) == pytest.approx(1)


def test_quantizer_is_equal_after_loading_and_in_half_precision(tmp_path):
    x = normal(2, 5, 4)
    given = keras.Input((5, 4))
    keras.Model(given, quantizer()(given)).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for mine, theirs in zip(loaded(x), quantizer()(x), strict=True):
        np.testing.assert_array_equal(array(mine), array(theirs))
    mixed = quantizer(dtype="mixed_float16", decay=0.999)
    before = array(mixed.sums)
    out, _, distances = mixed(x, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == "float16" and array(distances).dtype == np.float32
    assert array(mixed.sums).dtype == np.float32 and 0 < np.abs(array(mixed.sums) - before).max() < 0.01


def made(**hyperparameters) -> VQVAE:
    keras.utils.set_random_seed(3)
    return VQVAE(SHAPE, dataclasses.replace(TINY, **hyperparameters), seed=5)


def test_codes_are_initialised_by_k_means():
    model, x = made(), normal(8, *SHAPE)
    model.begin(x, 10)
    tokens = unit(array(model.tokens(x)).reshape(-1, 4))
    tokens = tokens[np.random.default_rng(5).permutation(len(tokens))]
    centres = KMeans(12, n_init=1, max_iter=20, random_state=5).fit(tokens).cluster_centers_
    np.testing.assert_allclose(array(model.quantizer.codebook), unit(centres), atol=1e-3)
    assert len(np.unique(array(model.codes_of(x)))) == 12  # every code has a token
    with pytest.raises(ValueError, match="18 tokens are too few to initialise 1000 codes"):
        made(codes=1000).begin(x[:1], 10)


@pytest.mark.parametrize("encoder", ["cnn", "st_mem"])
def test_loss_equals_numpy_reference(encoder):
    options = {"width": 8} if encoder == "cnn" else {"width": 8, "depth": 1, "heads": 2}
    model, x = made(encoder=encoder, encoder_options=options), normal(4, *SHAPE)
    reconstruction, codes, distances = (array(v) for v in model(x))
    assert reconstruction.shape == x.shape and codes.shape == distances.shape == (4, 18)
    assert model.encoder(x).shape == (4, 18, 8)
    errors, chance = ((x - reconstruction) ** 2).mean((1, 2)), x.var(1).mean(1)
    found = array(model.compute_loss(x, y_pred=(reconstruction, codes, distances)))
    np.testing.assert_allclose(found, errors.mean() + 0.25 * distances.mean(), rtol=1e-5)
    logs = {m.name: float(m.result()) for m in (model.relative_loss, model.commitment, model.usage, model.perplexity)}
    assert logs["relative_loss"] == pytest.approx(errors.sum() / chance.sum(), rel=1e-5)
    assert logs["commitment"] == pytest.approx(distances.mean(), rel=1e-5)
    assert logs["usage"] == pytest.approx(len(np.unique(codes)) / 12)
    share = np.bincount(codes.ravel()) / codes.size
    assert logs["perplexity"] == pytest.approx(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()), rel=1e-4)
    scores = model.scores(x, seed=0)
    np.testing.assert_array_equal(array(scores["codes"]), array(model.codes_of(x)))
    np.testing.assert_allclose(array(scores["error"]), errors, rtol=1e-4)


def test_leads_are_encoded_and_decoded_independently():
    model, x = made(), normal(2, *SHAPE)
    moved = x.copy()
    moved[..., 1] = normal(2, 60, seed=1)
    out, codes, _ = (array(v) for v in model(x))
    other, others, _ = (array(v) for v in model(moved))
    np.testing.assert_array_equal(other[..., [0, 2]], out[..., [0, 2]])
    np.testing.assert_array_equal(others.reshape(2, 3, 6)[:, [0, 2]], codes.reshape(2, 3, 6)[:, [0, 2]])


def test_training_changes_weights_and_codes_and_is_saved(tmp_path):
    model = made()
    time = np.arange(60) / 60
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (32, 1, 3))
    x = np.sin(2 * np.pi * 2 * time[None, :, None] + phase).astype(np.float32)
    model.begin(x, 10)
    before = array(model.quantizer.codebook)
    compile_with(model, keras.optimizers.Adam(5e-3))
    history = model.fit({"signals": x}, batch_size=16, epochs=8, verbose=0).history
    assert set(history) == {"loss", "relative_loss", "commitment", "usage", "perplexity"}
    assert history["relative_loss"][-1] < history["relative_loss"][0]
    assert np.abs(array(model.quantizer.codebook) - before).max() > 1e-3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    for name, values in model.scores(x, 0).items():
        np.testing.assert_array_equal(array(loaded.scores(x, 0)[name]), array(values))
    np.testing.assert_allclose(loaded.signals_of_codes(loaded.codes_of(x)), model(x)[0], atol=1e-5)


@pytest.mark.parametrize("hyperparameter", [field.name for field in dataclasses.fields(VQVAEConfig)])
def test_every_hyperparameter_changes_something(hyperparameter):
    default = getattr(TINY, hyperparameter)
    other = 0.9 if isinstance(default, float) else 2 * default if isinstance(default, int) else None
    other = {"dead": 1.0, "encoder": "st_mem", "encoder_options": {"width": 8, "dropout": 0.5}}.get(
        hyperparameter, other
    )
    options = {"encoder_options": {"width": 8, "depth": 1, "heads": 2}} if hyperparameter == "encoder" else {}
    one, two, x = made(), made(**{**options, hyperparameter: other}), normal(4, *SHAPE)
    if [w.shape for w in one.weights] != [w.shape for w in two.weights]:
        return
    two.set_weights(one.get_weights())
    for _ in range(3):  # the later ones are of codes that have moved
        outputs = [m(x, training=True) for m in (one, two)]
        losses = [array(m.compute_loss(x, y_pred=out)) for m, out in zip((one, two), outputs, strict=True)]
    assert abs(losses[0] - losses[1]) > 1e-6


def test_invalid_hyperparameters_are_rejected():
    with pytest.raises(ValueError, match="unknown encoder 'vit'"):
        made(encoder="vit")
    with pytest.raises(InputError, match="did you mean 'width'"):
        made(encoder_options={"widht": 8})
    with pytest.raises(ValueError, match="do not divide into 8 tokens per lead"):
        made(encoder_options={"width": 8, "strides": [4, 2]})
