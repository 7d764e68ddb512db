"""Checks for every layer and every model."""

import keras
import numpy as np
import tensorflow as tf

from keras_ecg.models import load_model


def inputs_for(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def as_model(layer, inputs: dict) -> keras.Model:
    symbols = {name: keras.Input(value.shape[1:], name=name) for name, value in inputs.items()}
    return keras.Model(symbols, layer(*symbols.values()))


def run_layer_test(
    layer_class, options: dict, shapes: dict, output_shape: tuple, tmp_path, unmoved: tuple = ()
) -> None:
    """Check a layer.

    Args:
        layer_class: of the layer.
        options: of its constructor.
        shapes: of its inputs by name, with the batch axis.
        output_shape: with the batch axis.
        tmp_path: where models are saved.
        unmoved: ends of the paths of weights whose gradient is zero by construction.
    """
    inputs = inputs_for(shapes)

    def made(**extra):
        keras.utils.set_random_seed(7)
        layer = layer_class(**options, **extra)
        layer(*inputs.values())
        return layer

    layer = made()
    out = keras.ops.convert_to_numpy(layer(*inputs.values()))
    assert out.shape == output_shape and np.isfinite(out).all() and out.std() > 0
    assert as_model(layer, inputs).output_shape == (None, *output_shape[1:])
    check_gradients(layer, lambda: layer(*inputs.values(), **training_of(layer)), unmoved)
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    for name, value in options.items():
        assert layer.get_config()[name] == value
    check_saving(as_model(layer, inputs), inputs, tmp_path)
    for policy, size in (("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)):
        mixed = made(dtype=policy)
        mixed.set_weights(layer.get_weights())
        assert mixed.compute_dtype in policy and {str(w.dtype) for w in mixed.weights} <= {"float32", "int64", "uint32"}
        for part in mixed._flatten_layers():
            assert part.dtype_policy.name == policy, part.path
        found = mixed(*inputs.values())
        assert keras.backend.standardize_dtype(found.dtype) == mixed.compute_dtype
        np.testing.assert_allclose(np.asarray(keras.ops.cast(found, "float32")), out, atol=size * np.abs(out).max())
        check_saving(as_model(mixed, inputs), inputs, tmp_path)
    first, second = (keras.ops.convert_to_numpy(made()(*inputs.values(), **training_of(layer))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def training_of(layer) -> dict:
    return {"training": True} if getattr(layer, "_call_has_training_arg", False) else {}


def check_gradients(layer, call, unmoved: tuple = ()) -> None:
    """Check that every trainable weight has a gradient."""
    with tf.GradientTape() as tape:
        out = call()
        mix = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
        loss = tf.reduce_sum(tf.cast(out, tf.float32) * mix)
    weights = layer.trainable_weights
    gradients = tape.gradient(loss, [w.value for w in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, weight.path
        size = np.abs(np.asarray(tf.convert_to_tensor(gradient))).max()
        assert np.isfinite(size) and (size > 1e-7 or weight.path.endswith(unmoved or ("\0",))), weight.path


def check_saving(model, inputs: dict, tmp_path) -> None:
    """Check that a saved and loaded model predicts the same."""
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = load_model(path)
    expected, found = (np.asarray(keras.ops.cast(m(inputs, training=False), "float32")) for m in (model, loaded))
    np.testing.assert_array_equal(found, expected)
    assert [w.shape for w in loaded.weights] == [w.shape for w in model.weights]
