"""The gradients of several batches in one step: a batch as large as all of them, for losses that are means of examples.

A contrastive loss is no such mean, nor is what is normalized over a batch: both see the small batches.
"""

import keras
import numpy as np
import pytest
from linear import examples, linear, trained

from keras_ecg.config import Config, Training
from keras_ecg.errors import InputError
from keras_ecg.experiments.common import settings_of
from keras_ecg.layers.quantizer import VectorQuantizer
from keras_ecg.models.ecg_jepa import ECGJEPA, ECGJEPAConfig
from keras_ecg.training import adamw

FAST = {"learning_rate": 0.05, "warmup_fraction": 0.3, "weight_decay": 0.1, "clip_norm": 0.05}


def arrays(weights) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(w) for w in weights]


@pytest.mark.parametrize("accumulated", [2, 3])
def test_accumulated_step_equals_one_large_batch(accumulated):
    whole, start = trained(24, **FAST), linear(1).get_weights()
    for mine, theirs, before in zip(
        trained(24 // accumulated, gradient_accumulation=accumulated, **FAST), whole, start, strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
        assert np.abs(mine - before).max() > 0.05
    small = trained(24 // accumulated, **FAST)
    assert max(np.abs(a - b).max() for a, b in zip(small, whole, strict=True)) > 0.01


def test_averaged_weights_approximate_one_large_batch():
    """The last step has too small a weight, and the steps before it slightly too large weights."""
    last, whole = trained(24, **FAST), trained(24, ema_momentum=0.8, **FAST)
    mine = trained(8, ema_momentum=0.8, gradient_accumulation=3, **FAST)
    uncorrected = trained(8, ema_momentum=0.8**3, gradient_accumulation=3, **FAST)

    def apart(a, b):
        return max(np.abs(x - y).max() for x, y in zip(a, b, strict=True))

    assert apart(mine, whole) < 0.25 * apart(last, whole) < apart(uncorrected, whole)


def test_learning_rate_depends_on_optimizer_steps():
    settings = {"learning_rate": 0.02, "warmup_fraction": 0.2}
    rate = adamw(Training(gradient_accumulation=3, **settings), 100)._learning_rate
    expected = adamw(Training(**settings), 33)._learning_rate
    np.testing.assert_allclose([float(rate(k)) for k in range(99)], np.repeat([expected(k) for k in range(33)], 3))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    assert again.get_config() == rate.get_config() and float(again(40)) == float(rate(40))


@pytest.mark.parametrize("found", [0, 5])
def test_more_accumulated_batches_than_training_batches_are_rejected(found):
    with pytest.raises(InputError, match=f"gradient_accumulation: found {found}; expected 1 to 4, the batches"):
        adamw(Training(gradient_accumulation=found), 4)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_weights_change_at_the_last_batch_of_a_step(precision):
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        model, (x, y) = linear(6, warmup_fraction=0.0, gradient_accumulation=2), examples()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    moved = []
    for _ in range(5):  # the first step has a rate of zero, and the third one is never whole
        before = model.get_weights()
        model.train_on_batch(x, y)
        moved.append(max(np.abs(a - b).max() for a, b in zip(before, model.get_weights(), strict=True)) > 0)
    assert moved == [False, False, False, True, False]


def test_target_encoder_moves_at_the_last_batch_of_a_step():
    """The target encoder moves as with one large batch, with equal momentum."""
    options = {"width": 8, "depth": 1, "heads": 2, "predictor_width": 8, "predictor_depth": 1, "predictor_heads": 2}
    config, rng = ECGJEPAConfig(**options, patch_samples=5, momentum=0.8), np.random.default_rng(0)
    large, small = ECGJEPA((50, 2), config, seed=0), ECGJEPA((50, 2), config, seed=0)
    small.target_encoder.set_weights(large.target_encoder.get_weights())
    large.begin(None, 4)
    small.begin(None, 12, 3)
    for _ in range(4):
        fast = [rng.normal(size=w.shape) for w in large.encoder.weights]
        for model in (large, small):
            model.encoder.set_weights(fast)
        before = arrays(small.target_encoder.weights)
        for _ in range(2):
            small.update_target_encoder()
        for mine, theirs in zip(arrays(small.target_encoder.weights), before, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        small.update_target_encoder()
        large.update_target_encoder()
        for mine, theirs in zip(*(arrays(m.target_encoder.weights) for m in (small, large)), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_codes_move_equally_with_accumulated_batches():
    large, small = (VectorQuantizer(6, decay=0.5, dead=0.0, seed=1) for _ in range(2))
    for layer in (large, small):
        layer.build((None, None, 4))
    small.accumulated = 3
    tokens = np.random.default_rng(0).normal(size=(2, 20, 4)).astype(np.float32)
    chosen = large(tokens)[1]
    flat = keras.ops.normalize(keras.ops.reshape(tokens, (-1, 4)), axis=-1)
    large.update_codebook(flat, keras.ops.reshape(chosen, (-1,)))
    for _ in range(3):
        small.update_codebook(flat, keras.ops.reshape(chosen, (-1,)))
    for mine, theirs in zip(arrays(small.weights[:3]), arrays(large.weights[:3]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_default_accumulation_keeps_the_run_fingerprint():
    assert "gradient_accumulation" not in settings_of(Config(), ())["training"]
    assert settings_of(Config(training=Training(gradient_accumulation=2)), ())["training"]["gradient_accumulation"] == 2
