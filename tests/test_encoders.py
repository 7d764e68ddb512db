import dataclasses

import keras
import numpy as np
import pytest
from layer_checks import check_gradients, check_saving, run_layer_test

from keras_ecg.errors import InputError
from keras_ecg.layers.spectrum import Spectrum
from keras_ecg.models.encoders import ENCODERS, build_encoder

STRIDED = [name for name in ENCODERS if name != "resnet1d"]
SHAPE = (128, 2)
TINY = {"width": 16}
OTHER = {
    "width": 8, "kernel_sizes": (9, 7, 5, 3), "strides": (2, 2, 2, 2), "domain": "frequency", "heads": 2, "blocks": 1,
    "expansion": 3, "dropout": 0.4, "stages": 2, "kernel_size": 5, "stem_kernel_size": 9,
}  # fmt: skip


def built(name, seed=3, **options) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_encoder(name, SHAPE, {**TINY, **options})


def signals(size=4, seed=0, shape=SHAPE):
    """Windows of noise with different spectra and amplitudes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, *shape))
    x[1:] += rng.uniform(0, 2, size=(size - 1, 1, shape[1])) * np.roll(x[1:], 1, axis=1)
    return (x * rng.uniform(0.1, 2, size=(size, 1, 1))).astype(np.float32)


def output(model, inputs, training=False):
    keras.utils.set_random_seed(11)
    return keras.ops.convert_to_numpy(model(inputs, training=training))


def test_spectrum(tmp_path):
    options = {"frame_samples": 16, "hop_samples": 4}
    run_layer_test(Spectrum, options, {"x": (2, 90, 3)}, (2, 23, 27), tmp_path)


def test_magnitude_of_a_sine_is_its_amplitude():
    time = np.arange(256)
    x = np.stack([2 * np.sin(2 * np.pi * 4 / 32 * time), 0.5 * np.sin(2 * np.pi * 7 / 32 * time)], -1)
    out = keras.ops.convert_to_numpy(Spectrum(32, 8)(x[None].astype(np.float32)))[0].reshape(32, 2, 17)
    inside = 0.01 * np.exp(out[3:-3])
    assert (inside.argmax(-1) == [4, 7]).all()
    np.testing.assert_allclose(inside[:, 0, 4], 2, atol=1e-3)
    np.testing.assert_allclose(inside[:, 1, 7], 0.5, atol=1e-3)


@pytest.mark.parametrize("samples", [64, 65, 67])
def test_spectral_frames_are_centred_on_the_strides(samples):
    x = signals(shape=(samples, 2))
    spectra = Spectrum(16, 4)(x)
    assert spectra.shape[1] == keras.layers.Conv1D(3, 5, 4, padding="same")(x).shape[1]
    pulse = np.zeros((1, samples, 1), np.float32)
    pulse[0, 40] = 1
    energy = np.exp(keras.ops.convert_to_numpy(Spectrum(16, 4)(pulse))[0]).sum(-1)
    assert energy.argmax() == 10  # frame n is around sample 4 n


@pytest.mark.parametrize(
    ("name", "domain"), [*((name, domain) for name in STRIDED for domain in ("time", "frequency")), ("resnet1d", "")]
)
def test_encoder(name, domain, tmp_path):
    options = {"domain": domain} if domain else {"width": 4}
    model, x = built(name, **options), signals()
    out = output(model, x)
    tokens = 4 if domain else 8  # one for every 32 samples, or every 16
    assert out.shape == (4, tokens, 16) == (4, *model.output_shape[1:])
    assert np.isfinite(out).all() and np.ptp(out, axis=0).max() > 1e-2  # the output depends on the window
    check_gradients(model, lambda: model(x), ("key/bias",))
    check_saving(model, x, tmp_path)
    np.testing.assert_array_equal(output(built(name, **options), x), out)
    assert np.abs(output(built(name, seed=4, **options), x) - out).max() > 1e-3
    np.testing.assert_array_equal(output(model, x), out)  # no dropout in prediction
    assert np.abs(output(model, x, True) - out).max() > 1e-3
    changed = x.copy()
    changed[:, :, 1] = x[::-1, :, 1]
    assert np.abs(output(model, changed) - out).max() > 1e-4  # the output depends on each lead


@pytest.mark.parametrize("leads", [1, 12])
@pytest.mark.parametrize("name", ENCODERS)
def test_ten_seconds_by_default(name, leads):
    model = build_encoder(name, (1000, leads))
    assert model.output_shape == (None, 63 if name == "resnet1d" else 32, 128)
    assert 95_000 < model.count_params() < 800_000


HYPERPARAMETERS = [(name, field.name) for name, (cls, _) in ENCODERS.items() for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(
    ("name", "hyperparameter"),
    HYPERPARAMETERS,
    ids=[f"{name} {hyperparameter}" for name, hyperparameter in HYPERPARAMETERS],
)
def test_every_hyperparameter_changes_something(name, hyperparameter):
    rest, other = ({"domain": "frequency"}, 16) if hyperparameter == "frame_samples" else ({}, OTHER[hyperparameter])
    one, two = built(name, **rest), built(name, **rest, **{hyperparameter: other})
    if [w.shape for w in one.weights] != [w.shape for w in two.weights] or one.output_shape != two.output_shape:
        return
    two.set_weights(one.get_weights())
    x = signals(32)
    assert any(np.abs(output(one, x, t) - output(two, x, t)).max() > 1e-4 for t in (False, True))


@pytest.mark.parametrize("name", ENCODERS)
def test_mixed_precision(name, tmp_path):
    options = {} if name == "resnet1d" else {"domain": "frequency"}
    x, full = signals(), built(name, **options)
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = built(name, **options)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    out = model(x)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    assert {str(w.dtype) for w in model.trainable_weights} == {"float32"}
    np.testing.assert_allclose(np.asarray(keras.ops.cast(out, "float32")), output(full, x), atol=0.15)
    check_saving(model, x, tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("lstm", {}, "encoder.name: found 'lstm'; expected one of cnn, cnn_lstm"),
        ("cnn", {"widht": 3}, "unknown key 'widht'.*did you mean 'width'"),
        ("cnn", {"domain": "space"}, "expected one of 'time', 'frequency'"),
        (
            "cnn",
            {"domain": "frequency", "frame_samples": 256},
            "spectral frames of 256 samples do not fit signals of 128",
        ),
        ("cnn", {"strides": [2, 2]}, "zip"),
        ("cnn_lstm", {"width": 9}, "a width of 9 is odd"),
        ("cnn_transformer", {"heads": 3}, "a width of 16 does not divide into 3 heads"),
    ],
)
def test_invalid_encoder_options_are_rejected(name, options, found):
    with pytest.raises(InputError, match=found) as caught:
        build_encoder(name, SHAPE, {**TINY, **options})
    assert "\n" not in str(caught.value)
