import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import run_on_jax

from keras_ecg.signals.window_augment import AUGMENTATIONS, WindowAugment, augment_windows

STRENGTH = {"time_warp": 0.3, "permutation": 5, "zero_mask": 0.2, "dropout_mask": 0.1, "noise": 0.25}
OFF = WindowAugment(probability=1, **dict.fromkeys(AUGMENTATIONS, 0))


def windows(size=6, samples=203, leads=3, seed=0):
    return 2 + np.random.default_rng(seed).normal(size=(size, samples, leads)).astype(np.float32)


def changed(name, x, seed=5, strength=None):
    return keras.ops.convert_to_numpy(AUGMENTATIONS[name](x, seed, STRENGTH[name] if strength is None else strength))


def ramp(size=6, samples=203, leads=2):
    return np.broadcast_to(np.arange(samples, dtype=np.float32)[None, :, None], (size, samples, leads)).copy()


def test_every_augmentation_has_strength_option():
    names = [f.name for f in dataclasses.fields(WindowAugment)]
    assert [name for name in names if name not in ("probability", "zero_stretches")] == list(AUGMENTATIONS)
    assert set(STRENGTH) == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_changes_differ_between_windows_and_are_reproducible_by_seed(name):
    x = np.repeat(windows(1), 6, 0)
    out = changed(name, x)
    assert out.shape == x.shape and out.dtype == x.dtype and np.isfinite(out).all()
    np.testing.assert_array_equal(changed(name, x), out)
    assert (changed(name, x, seed=6) != out).any((1, 2)).all()
    assert len({row.tobytes() for row in out}) == 6
    assert (out != x).any((1, 2)).sum() >= 5  # a permutation may be the identity


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_zero_strength_is_identity(name):
    x = windows()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(augment_windows(x, 5, OFF)), x)
    if name == "permutation":
        np.testing.assert_array_equal(changed(name, x, strength=1), x)
    else:
        np.testing.assert_allclose(changed(name, x, strength=0), x, atol=2e-3)
    alone = dataclasses.replace(OFF, **{name: STRENGTH[name]})
    assert (keras.ops.convert_to_numpy(augment_windows(x, 5, alone)) != x).any((1, 2)).sum() >= 5


def test_time_warp_is_monotonic_and_keeps_ends():
    out = changed("time_warp", ramp())  # the positions themselves
    steps = np.diff(out, axis=1)
    assert steps.min() > 0 and steps.max() > 1.1 and steps.min() < 0.9
    np.testing.assert_array_equal(out[:, 0], 0)
    np.testing.assert_allclose(out[:, -1], 202, atol=1e-3)
    np.testing.assert_array_equal(out[..., 0], out[..., 1])  # all leads are warped equally
    assert np.abs(np.diff(steps[..., 0], axis=1)).max() < 0.1  # smooth
    x = windows()
    warped = changed("time_warp", x)
    assert warped.min() >= x.min() - 1e-5 and warped.max() <= x.max() + 1e-5
    gentle, strong = (np.abs(changed("time_warp", ramp(), strength=s) - ramp()).max() for s in (0.05, 0.5))
    assert strong > 4 * gentle > 0


@pytest.mark.parametrize("segments", [2, 5, 7])
def test_permutation_reorders_whole_segments(segments):
    out = changed("permutation", ramp(32), strength=segments)[..., 0]
    np.testing.assert_array_equal(np.sort(out, 1), ramp(32)[..., 0])
    starts = {round(s) for s in -(-np.arange(segments) * 203 // segments)}
    for row in out:
        jumps = np.flatnonzero(np.diff(row) != 1) + 1
        assert len(jumps) < segments and {row[0], *row[jumps]} <= starts
    orders = {row.tobytes() for row in out}
    assert len(orders) == 2 if segments == 2 else len(orders) > 20
    x = windows()
    both = changed("permutation", x)
    np.testing.assert_array_equal(np.sort(both, 1), np.sort(x, 1))


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_zero_mask_is_one_segment_in_all_leads(share):
    x = windows(64)
    out = changed("zero_mask", x, strength=share)
    zero = out == 0
    assert (zero == zero[..., :1]).all()
    assert (zero[..., 0].sum(1) == round(share * 203)).all()
    assert (np.abs(np.diff(zero[..., 0].astype(int), axis=1)).sum(1) <= 2).all()
    np.testing.assert_array_equal(out[~zero], x[~zero])
    starts = zero[..., 0].argmax(1)
    if share < 1:
        assert starts.min() < 0.2 * (1 - share) * 203 and starts.max() > 0.8 * (1 - share) * 203


def test_zero_mask_of_several_segments_has_total_length():
    x = windows(64)
    out = keras.ops.convert_to_numpy(AUGMENTATIONS["zero_mask"](x, 3, 0.4, 8))
    zero = out == 0
    assert (zero == zero[..., :1]).all()
    lengths = zero[..., 0].sum(1)
    assert lengths.max() <= 8 * round(0.4 * 203 / 8) and lengths.min() >= 2 * round(0.4 * 203 / 8)  # they overlap
    edges = np.abs(np.diff(np.pad(zero[..., 0].astype(int), ((0, 0), (1, 1))), axis=1)).sum(1) / 2
    assert edges.max() <= 8 and edges.mean() > 3
    np.testing.assert_array_equal(out[~zero], x[~zero])


def test_dropout_mask_zeroes_fraction_of_each_lead():
    x = windows(8, 4000)
    out = changed("dropout_mask", x)
    zero = out == 0
    np.testing.assert_allclose(zero.mean(1), 0.1, atol=0.02)  # four standard errors
    np.testing.assert_array_equal(out[~zero], x[~zero])
    assert (zero[..., 0] != zero[..., 1]).any(1).all()  # independent for each lead
    assert np.abs(np.corrcoef(zero[0, 1:, 0], zero[0, :-1, 0])[0, 1]) < 0.1  # scattered


def test_noise_is_relative_to_standard_deviation_of_lead():
    x = windows(8, 4000) * np.array([0.1, 1, 10], np.float32)
    added = changed("noise", x) - x
    np.testing.assert_allclose(added.std(1) / x.std(1), 0.25, rtol=0.06)
    assert np.abs(added.mean(1) / added.std(1)).max() < 0.08
    assert np.abs(np.corrcoef(added[0].T) - np.eye(3)).max() < 0.1


def test_augmentations_are_applied_with_probability():
    x = windows(400, 50, 1)
    config = dataclasses.replace(OFF, probability=0.25, noise=0.1)
    hit = (keras.ops.convert_to_numpy(augment_windows(x, 1, config)) != x).any((1, 2))
    assert 0.18 < hit.mean() < 0.33
    two = dataclasses.replace(OFF, probability=0.5, zero_mask=0.5, dropout_mask=0.1)
    zero = keras.ops.convert_to_numpy(augment_windows(windows(400, leads=1), 1, two))[..., 0] == 0
    masked, scattered = zero.mean(1) > 0.4, np.abs(np.diff(zero.astype(int), axis=1)).sum(1) > 2
    assert 0.18 < (masked & scattered).mean() < 0.32  # independent of each other


def test_seed_generator_advances_and_key_does_not():
    x = windows()
    generator = keras.random.SeedGenerator(3)
    first, second = (keras.ops.convert_to_numpy(augment_windows(x, generator)) for _ in range(2))
    assert (first != second).any()
    again = keras.random.SeedGenerator(3)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(augment_windows(x, again)), first)
    key = keras.ops.convert_to_tensor([3, 0], "int32")
    for _ in range(2):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(augment_windows(x, key)), first)


def test_augmentation_in_tf_data_map_uses_seed_of_step():
    x = windows(8)
    stream = tf.data.Dataset.from_tensor_slices(x).batch(4)  # the batch axis is not static

    def run(seed):
        def augment(step, batch):
            return augment_windows(batch, tf.stack([tf.constant(seed, tf.int64), step]))

        mapped = stream.enumerate().map(augment, num_parallel_calls=2)
        assert mapped.element_spec.shape[1:] == (203, 3)
        return np.concatenate([batch.numpy() for batch in mapped])

    out = run(1)
    assert out.shape == x.shape
    np.testing.assert_array_equal(run(1), out)
    assert (run(2) != out).any()
    eager = augment_windows(x[4:], np.array([1, 1]))
    np.testing.assert_allclose(out[4:], keras.ops.convert_to_numpy(eager), atol=1e-5)


ON_JAX = """
import sys, warnings
warnings.simplefilter("error")
import jax, keras
import numpy as np
from keras_ecg.signals.window_augment import AUGMENTATIONS, augment_windows
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
x = 2 + np.random.default_rng(0).normal(size=(6, 203, 3)).astype(np.float32)
found = {name: np.asarray(AUGMENTATIONS[name](x, 5, s)) for name, s in eval(sys.argv[1]).items()}
np.testing.assert_array_equal(np.sort(found["permutation"], 1), np.sort(x, 1))
assert ((found["zero_mask"] == 0).sum(1) == 41).all()
assert 0.05 < (found["dropout_mask"] == 0).mean() < 0.15
assert x.min() <= found["time_warp"].min() and found["time_warp"].max() <= x.max()
np.testing.assert_allclose((found["noise"] - x).std(1) / x.std(1), 0.25, rtol=0.25)
eager = augment_windows(x, 5)
jitted = jax.jit(augment_windows)(x, np.array([5, 0], np.uint32))
np.testing.assert_allclose(eager, jitted, atol=1e-4)
assert (np.asarray(augment_windows(x, 6)) != np.asarray(eager)).any()
"""


@pytest.mark.slow
def test_augmentation_runs_on_jax_without_tensorflow():
    pytest.importorskip("jax")
    run_on_jax(ON_JAX, repr(STRENGTH))
