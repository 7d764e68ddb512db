"""Recording classifier on single-lead encoders, multi-lead encoders, and encoders with tokens per lead."""

from dataclasses import asdict

import keras
import numpy as np
import pytest
from layer_checks import check_gradients, check_saving, run_layer_test

from keras_ecg.config import Training, from_dict
from keras_ecg.layers.pooling import AttentionPooling, RowMeans
from keras_ecg.models.encoders import build_encoder
from keras_ecg.models.fewer_leads import token_rows
from keras_ecg.models.objectives import build_objective
from keras_ecg.models.recording_classifier import (
    AugmentWindows,
    RecordingClassifierConfig,
    build_attentive_probe,
    build_recording_classifier,
)
from keras_ecg.models.resnet1d import ConvolutionsConfig
from keras_ecg.models.resnet1d import build_encoder as build_resnet
from keras_ecg.probing import embed_windows, token_windows
from keras_ecg.recording_training import fit_recordings, predict_recordings
from keras_ecg.signals.window_augment import WindowAugment

SHAPE = (200, 3)
SMALL = ConvolutionsConfig(width=4, stages=2, blocks=1, dropout=0.0)
STILL = {"probability": 0.0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, *SHAPE)).astype(np.float32)


def encoder_of(kind: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    if kind == "resnet1d":
        return build_resnet(SHAPE, SMALL)
    if kind == "one lead":
        return build_encoder("cnn", (200, 1), {"width": 8, "dropout": 0.0})
    return build_objective("st_mem", SHAPE, {"width": 16, "depth": 1, "heads": 2, "patch_samples": 25}).encoder


def classifier(kind: str, shapes=None, **hyperparameters) -> keras.Model:
    encoder = encoder_of(kind)
    keras.utils.set_random_seed(2)
    config = from_dict(RecordingClassifierConfig, {"augment": STILL, **hyperparameters})
    return build_recording_classifier(shapes or {"signals": SHAPE}, 5, config, encoder, seed=0)


def outputs(model, inputs, training=False):
    return keras.ops.convert_to_numpy(model(inputs, training=training))


@pytest.mark.parametrize("kind", ["resnet1d", "one lead", "rows"])
def test_classifier(kind, tmp_path):
    model, x = classifier(kind), {"signals": X}
    found = outputs(model, x)
    assert found.shape == (6, 5) and (found > 0).all() and (found < 1).all()
    assert abs(found.sum(1) - 1).max() > 1e-3  # multi-label, no softmax
    check_gradients(model, lambda: model(x), ("key/bias",))
    check_saving(model, x, tmp_path)
    for lead in range(3):  # the output depends on each lead
        changed = X.copy()
        changed[:, :, lead] = X[::-1, :, lead]
        assert np.abs(outputs(model, {"signals": changed}) - found).max() > 1e-5, lead


def test_an_encoder_of_one_lead_sees_each_lead_on_its_own():
    model = classifier("one lead")
    tokens = model.get_layer("leads_joined").output
    means = keras.Model(model.inputs, RowMeans(3)(tokens))
    expected = [outputs(encoder_of("one lead"), X[:, :, lead : lead + 1]).mean(1) for lead in range(3)]
    np.testing.assert_allclose(outputs(means, {"signals": X}), np.concatenate(expected, 1), atol=1e-5)


def test_intervals_are_an_additional_input():
    model = classifier("resnet1d", {"signals": SHAPE, "intervals": (4,)})
    known = RNG.normal(size=(6, 4)).astype(np.float32)
    one = outputs(model, {"signals": X, "intervals": known})
    assert np.abs(one - outputs(model, {"signals": X, "intervals": known[::-1].copy()})).max() > 1e-4


def test_interval_layers_have_configured_widths():
    shapes, inputs = {"signals": SHAPE, "intervals": (4,)}, {"signals": X, "intervals": X[:, :4, 0]}
    plain = classifier("resnet1d", shapes, intervals_hidden=[7, 3], intervals_dropout=0.0, dropout=0.0)
    hidden = keras.Model(plain.inputs, plain.get_layer("known").output)
    waves = classifier("resnet1d").get_layer("tokens_norm").output.shape[-1]
    kernels = [keras.ops.convert_to_numpy(w) for w in plain.weights if "intervals_hidden" in w.path]
    expected = X[:, :4, 0]
    for kernel, bias in zip(kernels[::2], kernels[1::2], strict=True):
        expected = np.maximum(expected @ kernel + bias, 0)
    assert expected.shape == (6, 3)
    np.testing.assert_allclose(outputs(hidden, inputs)[:, waves:], expected, atol=1e-5)
    dropped = classifier("resnet1d", shapes, intervals_hidden=[7, 3], intervals_dropout=0.5, dropout=0.0)
    dropped.set_weights(plain.get_weights())
    np.testing.assert_array_equal(outputs(dropped, inputs), outputs(plain, inputs))
    assert np.abs(outputs(dropped, inputs, True) - outputs(plain, inputs, True)).max() > 1e-3
    bare = classifier("resnet1d", shapes, intervals_hidden=[])
    assert bare.get_layer("known").output.shape[-1] == waves + 4


def test_frozen_stages_are_not_trained():
    assert len(classifier("rows", frozen_stages=-1).trainable_weights) == 4  # norm and the last layer
    assert len(classifier("rows").trainable_weights) > 10


def test_augmentation_applies_in_training_only(tmp_path):
    options = {"augment": asdict(WindowAugment(probability=1.0, noise=0.5)), "seed": 3}
    run_layer_test(AugmentWindows, options, {"signals": (4, 60, 2)}, (4, 60, 2), tmp_path)
    layer = AugmentWindows(**options)
    np.testing.assert_array_equal(outputs(layer, X), X)
    assert np.abs(outputs(layer, X, True) - X).max() > 0.1


def test_row_means_equal_numpy(tmp_path):
    run_layer_test(RowMeans, {"rows": 3}, {"tokens": (2, 12, 5)}, (2, 15), tmp_path)
    tokens = RNG.normal(size=(2, 12, 5)).astype(np.float32)
    expected = tokens.reshape(2, 3, 4, 5).mean(2).reshape(2, 15)
    np.testing.assert_allclose(outputs(RowMeans(3), tokens), expected, atol=1e-6)


def test_attention_pooling_is_a_weighted_mean(tmp_path):
    run_layer_test(AttentionPooling, {"heads": 3}, {"tokens": (2, 12, 5)}, (2, 15), tmp_path)
    tokens, layer = RNG.normal(size=(2, 12, 5)).astype(np.float32), AttentionPooling(2)
    found = outputs(layer, tokens)
    normed = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-3)
    scores = normed @ keras.ops.convert_to_numpy(layer.query.kernel)  # (B, N, H)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = np.einsum("bnh,bnd->bhd", weights, normed).reshape(2, 10)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_embeddings_are_concatenated_by_lead():
    encoder = encoder_of("rows")
    tokens = outputs(encoder, X)
    assert token_rows(encoder) == 3 and token_rows(encoder_of("resnet1d")) == 1
    expected = tokens.reshape(6, 3, -1, tokens.shape[-1]).mean(2).reshape(6, -1)
    np.testing.assert_allclose(embed_windows(encoder, X), expected, atol=5e-3)
    np.testing.assert_allclose(token_windows(encoder, X), tokens, atol=5e-3)


def test_a_resnet_takes_windows_of_any_length():
    for samples in (1000, 999, 64):
        assert build_resnet((samples, 12), ConvolutionsConfig()).output_shape == (None, -(-samples // 16), 128)


def test_training_restores_the_epoch_of_highest_auroc():
    labels = (RNG.random((60, 5)) < 0.5).astype(np.int8)
    x = RNG.normal(size=(60, 8, 6)).astype(np.float32)
    x[:, :, :5] += 2 * labels[:, None]
    keras.utils.set_random_seed(0)
    model = build_attentive_probe((8, 6), 5, heads=2)
    train, held = np.arange(40), np.arange(40, 60)
    training = Training(epochs=6, learning_rate=0.3, weight_decay=0.0)
    rows = fit_recordings(model, {"tokens": x}, labels, train, held, training, 16, 10, 0)
    best = max(row["val_auroc"] for row in rows)
    assert len(rows) == 6 and best > 0.8
    area = keras.metrics.AUC(200, multi_label=True, num_labels=5)
    area.update_state(labels[held], predict_recordings(model, {"tokens": x[held]}, 1))
    assert float(area.result()) == pytest.approx(best, abs=1e-4)


def test_probabilities_of_a_recording_are_means_over_its_windows():
    model = classifier("resnet1d")
    found = predict_recordings(model, {"signals": X}, 2)
    np.testing.assert_allclose(found, outputs(model, {"signals": X}).reshape(3, 2, 5).mean(1), atol=1e-5)
