import dataclasses

import keras
import numpy as np
import pytest
from compiling import compile_with
from layer_checks import check_gradients

from keras_ecg.layers.attention import cross_pattern
from keras_ecg.models.ecg_jepa import ECGJEPA, ECGJEPAConfig, smooth_l1

SHAPE = (50, 3)  # T, L: ten patches of five samples in each lead, four of which are visible
TINY = ECGJEPAConfig(
    width=16, depth=1, heads=2, predictor_width=8, predictor_depth=1, predictor_heads=2, patch_samples=5, mask_ratio=0.6
)


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def signals(batch=4, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (batch, *SHAPE)).astype(np.float32)


def made(**hyperparameters) -> ECGJEPA:
    keras.utils.set_random_seed(3)
    return ECGJEPA(SHAPE, dataclasses.replace(TINY, **hyperparameters), seed=5)


def test_the_papers_size():
    config = ECGJEPAConfig()
    assert (config.width, config.depth, config.heads) == (768, 12, 16)
    assert (config.predictor_width, config.predictor_depth, config.predictor_heads) == (384, 6, 12)
    assert (2500 / config.patch_samples, config.momentum) == (50, 0.996)


@pytest.mark.parametrize("block", [1, 3])
def test_same_patches_are_masked_in_all_leads(block):
    model, x = made(block=block), signals(30)
    tokens = np.arange(30 * 3 * 10 * 16, dtype=np.float32).reshape(90, 10, 16)
    visible, mask, order = (array(v) for v in model.mask(tokens, seed=1))
    assert visible.shape == (90, 4, 16) and mask.shape == (30, 10) and order.shape == (90, 10)
    np.testing.assert_array_equal(mask.sum(1), 6)
    assert len({tuple(row) for row in mask}) > 5  # each window has its own mask
    for row in range(90):
        np.testing.assert_array_equal(np.sort(visible[row], 0), tokens[row][~mask[row // 3]])
        np.testing.assert_array_equal(visible[row], tokens[row][np.argsort(order[row])[:4]])
    assert model(x)[2].shape == (30, 10)


def test_loss_equals_numpy_reference():
    model, x = made(), signals()
    predictions, targets, mask = (array(v) for v in model(x))
    assert predictions.shape == targets.shape == (12, 10, 16)
    np.testing.assert_allclose(targets.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(targets.std(-1), 1, atol=1e-3)

    def reference(guess):
        distance = np.abs(guess - targets).astype("f8")
        each = np.where(distance < 1, distance**2 / 2, distance - 0.5).reshape(4, 3, 10, 16)
        return np.stack([each[k][:, mask[k]].mean() for k in range(4)])

    loss, chance = reference(predictions), reference(np.broadcast_to(targets.mean(1, keepdims=True), targets.shape))
    found = model.errors(predictions, targets, mask)
    for mine, theirs in zip(found, (loss, chance), strict=True):
        np.testing.assert_allclose(array(mine), theirs, rtol=1e-5)
    np.testing.assert_allclose(
        array(model.compute_loss(x, y_pred=(predictions, targets, mask), training=False)), loss.mean(), rtol=1e-5
    )
    np.testing.assert_allclose(array(model.relative_loss.result()), loss.sum() / chance.sum(), rtol=1e-5)
    np.testing.assert_allclose(array(smooth_l1(0.0, np.float32([0, 0.5, 1, -3]))), [0, 0.125, 0.5, 2.5])


def test_encoder_depends_on_visible_patches_and_targets_on_all():
    model, x = made(), signals()
    predictions, targets, mask = (array(v) for v in model(x, seed=1))
    hidden = np.repeat(mask, 5, 1)[..., None]
    others = [array(v) for v in model(x + hidden * signals(seed=1), seed=1)]
    np.testing.assert_array_equal(others[0], predictions)
    assert np.abs(others[1] - targets).max() > 1e-3
    assert np.abs(array(model(x + ~hidden, seed=1)[0]) - predictions).max() > 1e-3


def test_tokens_attend_to_their_row_and_column_only():
    model, x = made(rotary=True), signals(1)

    def heard(encode, tokens):
        out, table = encode(tokens), np.zeros((tokens.shape[1] * 3,) * 2, bool)
        for k in range(len(table)):
            moved = tokens.copy()
            moved[k // tokens.shape[1], k % tokens.shape[1]] += np.linspace(-1, 1, 16) ** 3
            table[:, k] = np.abs(encode(moved) - out).max(-1).ravel() > 0
        return table

    tokens = array(model.patchify(x))
    order = np.tile(np.argsort(np.random.default_rng(0).random(10)), (3, 1))
    for count in (10, 4):
        table = heard(lambda t: array(model.encode(t, order)), tokens[:, :count])
        np.testing.assert_array_equal(table, cross_pattern(3, count))


def test_the_encoder_is_encoding_without_masking():
    model, x = made(rotary=True), signals()
    order = np.tile(np.arange(10), (12, 1))
    encoded = array(model.encode(model.patchify(x), order)).reshape(4, 30, 16)
    np.testing.assert_allclose(encoded, array(model.encoder(x)), atol=1e-5)


def test_the_target_encoder_is_a_moving_average_whose_momentum_rises_to_one():
    model = made(momentum=0.9)
    model.begin(signals(), 4)
    rng, slow = np.random.default_rng(0), [array(w) for w in model.target_encoder.weights]
    for mine, theirs in zip(model.encoder.weights, slow, strict=True):
        np.testing.assert_array_equal(array(mine), theirs)  # equal initial weights
    for momentum in (0.9, 0.925, 0.95, 0.975, 1.0, 1.0):
        fast = [rng.normal(size=w.shape).astype(np.float32) for w in slow]
        model.encoder.set_weights(fast)
        model.update_target_encoder()
        slow = [momentum * s + (1 - momentum) * f for s, f in zip(slow, fast, strict=True)]
        for found, expected in zip(model.target_encoder.weights, slow, strict=True):
            np.testing.assert_allclose(array(found), expected, atol=1e-6)
    plain = made(momentum=0.9)  # without the number of steps
    for _ in range(2):
        plain.update_target_encoder()
    assert float(array(plain.step)) == 2 and float(array(plain.steps)) == 0


def test_gradients_reach_encoder_and_predictor_but_not_target_encoder(tmp_path):
    model, x = made(), signals(8)
    trained = {id(w) for w in model.trainable_weights}
    assert not trained & {id(w) for w in model.target_encoder.weights}
    assert len(trained) > len(model.encoder.trainable_weights) > 0
    check_gradients(
        model, lambda: model.compute_loss(x, y_pred=model(x, training=True, seed=1), training=False), ("key/bias",)
    )
    compile_with(model, keras.optimizers.Adam(3e-3))
    model.begin(x, 100)
    history = model.fit({"signals": x}, batch_size=8, epochs=6, verbose=0).history
    assert set(history) == {"loss", "jepa_loss", "relative_loss"} and history["loss"][-1] < history["loss"][0]
    assert float(array(model.step)) == 6
    distance = [np.abs(array(a) - array(b)).max() for a, b in zip(
        model.encoder.trainable_weights, model.target_encoder.weights, strict=True)]  # fmt: skip
    assert max(distance) > 1e-3  # it moves slowly
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config and float(array(loaded.step)) == 6
    for name, values in model.scores(x, 3).items():
        np.testing.assert_array_equal(array(loaded.scores(x, 3)[name]), array(values))


@pytest.mark.parametrize("hyperparameter", [field.name for field in dataclasses.fields(ECGJEPAConfig)])
def test_every_hyperparameter_changes_something(hyperparameter):
    default = getattr(TINY, hyperparameter)
    other = not default if isinstance(default, bool) else 0.3 if isinstance(default, float) else 2 * default
    one, two, x = made(), made(**{hyperparameter: other}), signals()
    if [w.shape for w in one.weights] != [w.shape for w in two.weights]:
        return
    two.set_weights(one.get_weights())
    for _ in range(3):  # the third loss is of targets that have moved
        losses = [array(m.compute_loss(x, y_pred=m(x, training=True, seed=1))) for m in (one, two)]
        for model in (one, two):
            model.encoder.set_weights([2 * w for w in model.encoder.get_weights()])
    assert abs(losses[0] - losses[1]) > 1e-5


def test_scores_contain_mean_tokens():
    model, x = made(), signals()
    found = model.scores(x, seed=1)
    assert set(found) == {"error", "mean_error", "embeddings"}
    np.testing.assert_allclose(array(found["embeddings"]), array(model.encoder(x)).mean(1), atol=1e-6)


def test_target_encoder_moves_under_half_precision():
    keras.utils.set_random_seed(3)
    model, x = ECGJEPA(SHAPE, TINY, seed=5, dtype="mixed_float16"), signals()
    before = array(model.target_encoder.weights[0])
    model.encoder.weights[0].assign_add(np.full(before.shape, 1e-3, np.float32))
    model.compute_loss(x, y_pred=model(x))
    np.testing.assert_allclose(array(model.target_encoder.weights[0]) - before, 4e-6, rtol=0.1)
