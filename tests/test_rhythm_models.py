"""Models of whole recordings: padding has no effect, every input and hyperparameter has."""

import dataclasses

import keras
import numpy as np
import pytest
from conftest import run_on_jax
from layer_checks import check_gradients, check_saving, run_layer_test
from test_recording_rhythm import beats_of, padded

from keras_ecg.errors import InputError
from keras_ecg.layers.masked import LengthMask, MaskedBatchNorm, MaskedPooling
from keras_ecg.models import RHYTHM_MODELS, build_model, load_model, model_config
from keras_ecg.models.loading import find_encoder
from keras_ecg.models.rhythm_encoder import RecordingWindows
from keras_ecg.models.rhythm_head import RhythmHeadConfig
from keras_ecg.models.two_stage import two_stage

SHAPES = {"signals": (None, 1), "length": (), "beats": (None,)}
HEAD = {"width": 8, "beat_blocks": 1, "kernel_size": 3}
SMALL = {
    "resnet1d": {"width": 8, "stages": 2, "blocks": 1, "head": HEAD},
    "rhythm_encoder": {"options": {"width": 8, "heads": 2, "blocks": 1}, "window_seconds": 3.2, "head": HEAD},
}


def built(name="resnet1d", seed=3, **options) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_model(name, SHAPES, classes=4, options={**SMALL[name], **options})


def batch(lengths=(1000, 640, 333), samples=1024, seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    signals = np.zeros((len(lengths), samples, 1), np.float32)
    for row, n in zip(signals, lengths, strict=True):
        row[:n, 0] = rng.normal(size=n)
    beats = padded([beats_of("NAO"[k % 3], n / 100, seed) for k, n in enumerate(lengths)], samples // 25)
    return {"signals": signals, "length": np.array(lengths, np.int32), "beats": beats}


def output(model, inputs, **kwargs) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(inputs, **kwargs))


def shaken(model) -> keras.Model:
    """The model with random moving moments, so that errors of normalization are visible."""
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, MaskedBatchNorm):
            layer.beta.assign(rng.normal(size=layer.beta.shape))
            layer.moving_mean.assign(rng.normal(size=layer.beta.shape))
    return model


@pytest.mark.parametrize("name", RHYTHM_MODELS)
def test_model(name, tmp_path):
    model, inputs = built(name), batch()
    out = output(model, inputs)
    assert out.shape == (3, 4) and out.dtype == np.float32
    np.testing.assert_allclose(out.sum(1), 1, atol=1e-5)
    assert np.ptp(out, axis=0).max() > 1e-3
    check_saving(model, inputs, tmp_path)
    np.testing.assert_array_equal(output(built(name), inputs), out)
    assert np.abs(output(built(name, seed=4), inputs) - out).max() > 1e-3
    check_gradients(model, lambda: model(inputs, training=True) ** 2, ("key/bias",))


@pytest.mark.parametrize("name", RHYTHM_MODELS)
def test_padding_does_not_change_the_output(name):
    model = shaken(built(name))
    short, long = batch(), batch(samples=2048)
    np.testing.assert_allclose(output(model, long), output(model, short), atol=2e-6)
    silent = {**short, "signals": short["signals"].copy()}
    for row, n in zip(silent["signals"], short["length"], strict=True):
        row[n:] = 7.0  # padding is zero by contract; the window encoder does not read it
    if name == "rhythm_encoder":
        np.testing.assert_allclose(output(model, silent), output(model, short), atol=2e-6)


def test_padding_does_not_change_training():
    statistics = []
    for samples in (1024, 2048):
        model = built(dropout=0.0, head={**HEAD, "dropout": 0.0})
        out = output(model, batch(samples=samples), training=True)
        moments = [layer.moving_variance.numpy() for layer in model.layers if isinstance(layer, MaskedBatchNorm)]
        statistics.append(np.concatenate([out.ravel(), *moments]))
    np.testing.assert_allclose(statistics[1], statistics[0], atol=1e-5)


@pytest.mark.parametrize("name", RHYTHM_MODELS)
def test_every_input_changes_the_output(name):
    model, inputs = shaken(built(name)), batch(lengths=(1000, 1000, 1000))
    out = output(model, inputs)
    for key, changed in (("signals", inputs["signals"][::-1]), ("beats", inputs["beats"][::-1])):
        assert np.abs(output(model, {**inputs, key: changed}) - out).max() > 1e-4, key
    assert np.abs(output(model, {**inputs, "length": inputs["length"] // 2}) - out).max() > 1e-4


HYPERPARAMETERS = {
    "resnet1d": {"width": 12, "stages": 1, "blocks": 2, "kernel_size": 5, "stem_kernel_size": 7, "dropout": 0.5,
                 "sampling_rate_hz": 50.0, "head": {**HEAD, "width": 12}},
    "rhythm_encoder": {"encoder": "cnn", "options": {"width": 12, "heads": 2, "blocks": 1}, "window_seconds": 6.4,
                       "frozen_stages": 1, "sampling_rate_hz": 50.0, "head": {**HEAD, "width": 12}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "hyperparameter"),
    [(name, hyperparameter) for name, hyperparameters in HYPERPARAMETERS.items() for hyperparameter in hyperparameters],
)
def test_every_hyperparameter_changes_something(name, hyperparameter):
    options = {hyperparameter: HYPERPARAMETERS[name][hyperparameter]}
    if hyperparameter == "encoder":
        options["options"] = {"width": 8}
    model, changed = shaken(built(name)), shaken(built(name, **options))
    if [w.shape for w in model.weights] != [w.shape for w in changed.weights]:
        return
    if len(model.trainable_weights) != len(changed.trainable_weights):
        return
    changed.set_weights(model.get_weights())
    keras.utils.set_random_seed(5)
    first = output(model, batch(), training=True)
    keras.utils.set_random_seed(5)
    assert np.abs(output(changed, batch(), training=True) - first).max() > 1e-6


def test_all_hyperparameters_are_tried():
    for name, hyperparameters in HYPERPARAMETERS.items():
        fields = {f.name for f in dataclasses.fields(RHYTHM_MODELS[name][0])}
        assert fields - set(hyperparameters) <= {"weights", "random"}


@pytest.mark.parametrize("hyperparameter", [f.name for f in dataclasses.fields(RhythmHeadConfig)])
def test_every_hyperparameter_of_the_head_changes_something(hyperparameter):
    value = {"features": False, "beats": False, "width": 12, "kernel_size": 5, "beat_blocks": 2, "dropout": 0.9}[
        hyperparameter
    ]
    model, changed = built(), built(head={**HEAD, hyperparameter: value})
    if model.count_params() == changed.count_params():
        keras.utils.set_random_seed(5)
        first = output(model, batch(), training=True)
        changed.set_weights(model.get_weights())
        keras.utils.set_random_seed(5)
        assert np.abs(output(changed, batch(), training=True) - first).max() > 1e-4


@pytest.mark.parametrize("name", RHYTHM_MODELS)
def test_mixed_precision(name):
    model = built(name)
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = built(name)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    mixed.set_weights(model.get_weights())
    found = output(mixed, batch())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, output(model, batch()), atol=0.05)


def test_invalid_lengths_and_inputs_are_rejected():
    with pytest.raises(InputError, match="tokens of 8"):
        build_model("resnet1d", {**SHAPES, "signals": (1001, 1)}, classes=4, options=SMALL["resnet1d"])
    with pytest.raises(InputError, match="a rhythm model takes signals, length, beats"):
        build_model("resnet1d", {"signals": (1024, 1)}, classes=4)
    with pytest.raises(InputError, match="did you mean 'width'"):
        model_config("resnet1d", {"widths": 3})


@pytest.mark.slow
@pytest.mark.parametrize("name", RHYTHM_MODELS)
def test_equal_predictions_on_jax(name, tmp_path):
    model, inputs = shaken(built(name)), batch()
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", **inputs)
    script = (
        "import sys, numpy as np; from keras_ecg.models import load_model;"
        "inputs = dict(np.load(sys.argv[1] + '/inputs.npz'));"
        "np.save(sys.argv[1] + '/out.npy', load_model(sys.argv[1] + '/model.keras').predict(inputs, verbose=0))"
    )
    run_on_jax(script, str(tmp_path))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), output(model, inputs), atol=1e-4)


def test_a_pretrained_encoder_keeps_its_weights_and_a_random_one_has_others():
    saved = load_model(find_encoder("mae") / "encoder.keras")
    encoders = []
    for options in ({"frozen_stages": -1}, {"random": True}):
        model = build_model("rhythm_encoder", SHAPES, classes=4, options={"weights": "mae", "head": HEAD, **options})
        assert np.isfinite(output(model, batch())).all()
        encoders += [layer for layer in model.layers if isinstance(layer, keras.Model)]
    kept, anew = encoders
    for own, there in zip(kept.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(own, there)
    assert not kept.trainable_weights and len(anew.trainable_weights) == len(saved.trainable_weights)
    assert any(np.abs(a.numpy() - b.numpy()).max() > 1e-2 for a, b in zip(anew.weights, saved.weights, strict=True))


def test_two_stage_model_combines_probabilities(tmp_path):
    keras.utils.set_random_seed(0)
    noise, rhythm = (build_model("resnet1d", SHAPES, classes=n, options=SMALL["resnet1d"]) for n in (2, 3))
    inputs = batch()
    first, second = output(noise, inputs), output(rhythm, inputs)
    both = two_stage(noise, rhythm)
    found = output(both, inputs)
    np.testing.assert_allclose(found[:, 3], first[:, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, :3], second * first[:, :1], atol=1e-6)
    both.save(tmp_path / "model.keras")
    np.testing.assert_allclose(output(load_model(tmp_path), inputs), found, atol=1e-6)


def test_last_window_is_filled_with_the_reversed_end():
    signals = np.arange(1, 21, dtype=np.float32).reshape(1, 20, 1)
    signals[0, 13:] = 0
    found = np.asarray(RecordingWindows(8)(signals, np.array([13], np.int32)))
    assert found.shape == (3, 8, 1)
    expected = np.concatenate([np.arange(1, 14), np.arange(13, 2, -1)]).reshape(3, 8)
    expected = (expected - expected.mean(1, keepdims=True)) / expected.std(1, keepdims=True)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-5)


def test_masked_batch_norm_excludes_padding():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (4, 10, 5)).astype(np.float32)
    mask = (np.arange(10) < np.array([10, 4, 7, 1])[:, None])[..., None].astype(np.float32)
    layer = MaskedBatchNorm(momentum=0.0, epsilon=1e-3)
    found = np.asarray(layer(x, mask, training=True))
    there = x[mask[..., 0] > 0]
    expected = np.where(mask > 0, (x - there.mean(0)) / np.sqrt(there.var(0) + 1e-3), 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, there.mean(0), atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, there.var(0), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(layer(x, mask, training=False)), expected, atol=1e-4)


def test_masked_pooling_excludes_padding():
    x = np.random.default_rng(0).normal(-5, 1, (3, 6, 4)).astype(np.float32)
    mask = (np.arange(6) < np.array([6, 2, 0])[:, None])[..., None].astype(np.float32)
    found = np.asarray(MaskedPooling()(x, mask))
    np.testing.assert_allclose(found[0], [*x[0].mean(0), *x[0].max(0)], atol=1e-6)
    np.testing.assert_allclose(found[1], [*x[1, :2].mean(0), *x[1, :2].max(0)], atol=1e-6)
    assert not found[2].any()


def test_token_is_valid_if_its_first_sample_is():
    found = np.asarray(LengthMask(stride=4)(np.array([0, 1, 4, 5, 12], np.int32), np.zeros((5, 3, 2), np.float32)))
    assert found[..., 0].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]


LAYERS = {
    "mask": (LengthMask, {"stride": 2}, {"length": (3,), "tokens": (3, 9, 4)}, (3, 9, 1)),
    "norm": (MaskedBatchNorm, {"momentum": 0.9, "epsilon": 1e-2}, {"x": (3, 9, 4), "mask": (3, 9, 1)}, (3, 9, 4)),
    "pool": (MaskedPooling, {}, {"x": (3, 9, 4), "mask": (3, 9, 1)}, (3, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, tmp_path, monkeypatch):
    import layer_checks

    def inputs_for(shapes, seed=0):
        rng = np.random.default_rng(seed)
        special = {"length": np.array([5, 9, 18], np.float32), "mask": (np.arange(9) < 7)[None, :, None].repeat(3, 0)}
        drawn = {k: rng.normal(size=shape) for k, shape in shapes.items()}
        return {k: special.get(k, drawn[k]).astype(np.float32) for k in shapes}

    monkeypatch.setattr(layer_checks, "inputs_for", inputs_for)
    run_layer_test(*LAYERS[name], tmp_path)
