import dataclasses

import keras
import numpy as np
import pytest
from conftest import run_on_jax
from layer_checks import check_gradients, check_saving, inputs_for

import ModelBuilder
from keras_ecg.errors import InputError
from keras_ecg.models import MODELS, RHYTHM_MODELS, build_model, load_model, model_config
from keras_ecg.models.objectives import OBJECTIVES

SHAPES = {"scalograms": (3, 32, 187, 1), "waveforms": (3, 187, 2), "rr": (3, 40), "difference_quantiles": (4,)}
FEW = {"scalograms": (3, 32, 187, 1)}
TINY = {"width": 8, "bottleneck": 6}
OTHER = {
    "width": 16, "bottleneck": 10, "bins": 4, "blocks": 3, "heads": 2, "kernel_size": 5, "expansion": 3,
    "patch_samples": 11,
}  # fmt: skip


def built(name, shapes=None, token=1, seed=3, **options) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_model(name, shapes or SHAPES, {**TINY, **options}, token=token)


def batch(shapes=None, size=4, seed=0):
    return inputs_for({name: (size, *shape) for name, shape in (shapes or SHAPES).items()}, seed)


def output(model, inputs, training=False):
    keras.utils.set_random_seed(11)
    return keras.ops.convert_to_numpy(model(inputs, training=training))


@pytest.fixture(autouse=True)
def float32():
    keras.mixed_precision.set_dtype_policy("float32")
    yield
    keras.mixed_precision.set_dtype_policy("float32")


# Classifiers on window encoders and of whole recordings are tested in other files.
BEAT_MODELS = {name: entry for name, entry in MODELS.items() if name not in (*OBJECTIVES, *RHYTHM_MODELS)}


@pytest.mark.parametrize("shapes", [SHAPES, FEW], ids=["all inputs", "scalograms alone"])
@pytest.mark.parametrize("name", BEAT_MODELS)
def test_model(name, shapes, tmp_path):
    model, inputs = built(name, shapes), batch(shapes)
    out = output(model, inputs)
    assert out.shape == (4, 5) and out.dtype == np.float32
    np.testing.assert_allclose(out.sum(1), 1, atol=1e-5)
    assert out.min() > 0 and np.ptp(out, axis=0).max() > 1e-3  # the output depends on the example
    check_saving(model, inputs, tmp_path)
    np.testing.assert_array_equal(output(built(name, shapes), inputs), out)
    assert np.abs(output(built(name, shapes, seed=4), inputs) - out).max() > 1e-3
    if shapes is SHAPES:
        logits = keras.Model(model.inputs, model.get_layer("probabilities").input)
        check_gradients(model, lambda: model(inputs) ** 2 + keras.ops.sum(logits(inputs)) * 0, ("key/bias",))


@pytest.mark.parametrize("name", BEAT_MODELS)
def test_every_input_changes_the_output(name):
    model, inputs = built(name), batch()
    out = output(model, inputs)
    for key in inputs:
        changed = {**inputs, key: inputs[key][::-1]}
        assert np.abs(output(model, changed) - out).max() > 1e-4, key


@pytest.mark.parametrize("name", BEAT_MODELS)
def test_every_beat_of_the_sequence_changes_the_output(name):
    model, inputs = built(name), batch()
    out = output(model, inputs)
    for beat in range(3):
        changed = {k: v.copy() for k, v in inputs.items()}
        for values in changed.values():
            values[:, beat] = values[::-1, beat]
        assert np.abs(output(model, changed) - out).max() > 1e-5, beat


@pytest.mark.parametrize("name", [name for name in BEAT_MODELS if name != "cnn"])
def test_the_token_is_the_labelled_beat(name):
    first, last = (output(built(name, FEW, token=k), batch(FEW)) for k in (0, 2))
    assert np.abs(first - last).max() > 1e-4


HYPERPARAMETERS = [(name, field.name) for name, (cls, _) in BEAT_MODELS.items() for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(
    ("name", "hyperparameter"),
    HYPERPARAMETERS,
    ids=[f"{name} {hyperparameter}" for name, hyperparameter in HYPERPARAMETERS],
)
def test_every_hyperparameter_changes_something(name, hyperparameter):
    default = getattr(model_config(name), hyperparameter)
    other = default + 0.3 if isinstance(default, float) else OTHER[hyperparameter]
    assert other != {**TINY}.get(hyperparameter, default)
    one, two = built(name), built(name, **{hyperparameter: other})
    if [w.shape for w in one.weights] != [w.shape for w in two.weights]:
        return
    two.set_weights(one.get_weights())
    inputs = batch(size=32)
    assert any(np.abs(output(one, inputs, t) - output(two, inputs, t)).max() > 1e-4 for t in (False, True))


@pytest.mark.parametrize("name", BEAT_MODELS)
def test_dropout_is_off_in_prediction(name):
    model, inputs = built(name), batch()
    np.testing.assert_array_equal(output(model, inputs), keras.ops.convert_to_numpy(model(inputs, training=False)))
    assert np.abs(output(model, inputs, True) - output(model, inputs)).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "policy"), [*((name, "mixed_bfloat16") for name in BEAT_MODELS), ("cnn_conformer", "mixed_float16")]
)
def test_mixed_precision(name, policy, tmp_path):
    inputs, full = batch(), built(name)
    keras.mixed_precision.set_dtype_policy(policy)
    model = built(name)
    keras.mixed_precision.set_dtype_policy("float32")
    out = output(model, inputs)
    assert out.dtype == np.float32 and {str(w.dtype) for w in model.trainable_weights} == {"float32"}
    np.testing.assert_allclose(out, output(full, inputs), atol=0.05)
    assert (out != output(full, inputs)).any()
    check_saving(model, inputs, tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("cnn_conformer", {"widht": 3}, "model.options: found unknown key 'widht'.*did you mean 'width'"),
        ("cnn", {"heads": 2}, "unknown key 'heads'"),
        ("cnn_conformer", {"width": "wide"}, "width: found 'wide'; expected a value of type int"),
        ("cnn_conformer", {"width": 10, "heads": 4}, "a width of 10 does not divide into 4 heads"),
        ("attention_only", {"patch_samples": 400}, "patches of 400 samples in beats of 187"),
        ("conformer", {}, "model.name: found 'conformer'; expected one of cnn_conformer"),
    ],
)
def test_invalid_hyperparameters_are_rejected(name, options, found):
    with pytest.raises(InputError, match=found) as caught:
        build_model(name, SHAPES, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 100, 3000, -1])
def test_damaged_model_file_is_rejected_with_its_path(tmp_path, kept):
    path = tmp_path / "model.keras"
    built("cnn").save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="model.keras: found .*a valid .keras model") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_model_is_loaded_from_its_run_folder(tmp_path):
    model = built("cnn")
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(output(ModelBuilder.load_model(tmp_path), batch()), output(model, batch()))
    with pytest.raises(InputError, match="no such file; expected a .keras model"):
        load_model(tmp_path / "nowhere")


ON_JAX = """
import sys
import numpy as np
from keras_ecg.models import load_model
import keras
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
inputs = dict(np.load(sys.argv[1]))
np.savez(sys.argv[2], **{p: load_model(p).predict(inputs, verbose=0) for p in sys.argv[3:]})
"""


@pytest.mark.slow
def test_equal_predictions_on_jax_without_tensorflow(tmp_path):
    pytest.importorskip("jax")
    inputs = batch()
    np.savez(tmp_path / "inputs.npz", **inputs)
    expected = {}
    for name in BEAT_MODELS:
        model = built(name)
        model.save(tmp_path / f"{name}.keras")
        expected[str(tmp_path / f"{name}.keras")] = output(model, inputs)
    run_on_jax(ON_JAX, tmp_path / "inputs.npz", tmp_path / "out.npz", *expected)
    found = np.load(tmp_path / "out.npz")
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, atol=1e-4)
