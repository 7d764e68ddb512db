"""Augmentation of windows with `keras.ops`: vectorised, with independent random numbers for each window.

Um TT et al., Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional neural
networks, ICMI 2017, https://arxiv.org/abs/1706.00527 (time warping, permutation, jittering); DeVries T, Taylor GW,
Improved regularization of convolutional neural networks with cutout, 2017, https://arxiv.org/abs/1708.04552 (zeroed
segments).

A seed is an int, a `keras.random.SeedGenerator` (of a model, whose state changes with every step), or an integer tensor
(2,): the stateless seed in a `tf.data` map with the TensorFlow backend.

Shapes: B batch, T samples, C leads. T is static.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

SPEEDS = 8  # random speeds of a time warp, linearly interpolated: one for every 1.4 s of 10 s


@dataclass(frozen=True)
class WindowAugment:
    """Probability and strengths of the augmentations; 0 disables an augmentation."""

    probability: float = 0.5  # of applying each augmentation to a window
    time_warp: float = 0.2  # standard deviation of the log of the speed
    permutation: int = 4  # number of segments that are reordered
    zero_mask: float = 0.2  # fraction of the window that is set to zero
    zero_stretches: int = 1  # number of segments of which this fraction consists; they may overlap
    dropout_mask: float = 0.1  # fraction of each lead's samples that is set to zero
    noise: float = 0.1  # standard deviation of white noise, relative to that of the lead


class _Key(keras.random.SeedGenerator):
    """Adapter of a stateless key to the SeedGenerator that `keras.random` expects."""

    def __init__(self, key):
        self.key = key

    def next(self, ordered=True):
        return self.key


def _draws(seed) -> Callable[[], _Key]:
    """Return a function whose calls return keys of independent draws."""
    if isinstance(seed, keras.random.SeedGenerator):
        seed = seed.next()
    elif isinstance(seed, (int, np.integer)):
        seed = np.array([seed % 2**31, 0], np.int32)
    seed = ops.cast(seed, "uint32" if keras.backend.backend() == "jax" else "int64")
    count = itertools.count()

    def key() -> _Key:
        # Steps of the golden ratio, so that consecutive seeds, such as those of epochs and steps, share no key.
        return _Key(seed + ops.cast(np.array([next(count) * 0x9E3779B1 % 2**31, 0], np.int32), seed.dtype))

    return key


def _pick(signals, index):
    """Gather samples (B, T, C) of windows (B, T, C) at `index` (B, T) int32."""
    samples, leads = signals.shape[1:]
    first = ops.arange(ops.shape(signals)[0], dtype="int32")[:, None] * samples
    return ops.take(ops.reshape(signals, (-1, leads)), first + index, axis=0)


def time_warp(signals, seed, strength: float):
    """Warp the time axis of windows (B, T, C) with a smoothly changing speed; both ends are fixed.

    Args:
        signals: (B, T, C).
        seed: see the module.
        strength: standard deviation of the log of the speed.
    """
    rows, samples = ops.shape(signals)[0], signals.shape[1]
    at = np.linspace(0, SPEEDS - 1, samples - 1)
    between = np.maximum(0, 1 - np.abs(at - np.arange(SPEEDS)[:, None])).astype(np.float32)  # (SPEEDS, T - 1)
    speeds = ops.exp(strength * keras.random.normal((rows, SPEEDS), dtype="float32", seed=_draws(seed)()) @ between)
    passed = ops.cumsum(speeds, 1)
    position = ops.pad(passed / passed[:, -1:] * (samples - 1), ((0, 0), (1, 0)))  # (B, T)
    left = ops.clip(ops.floor(position), 0, samples - 2)
    share, left = ops.cast(position - left, signals.dtype)[..., None], ops.cast(left, "int32")
    return (1 - share) * _pick(signals, left) + share * _pick(signals, left + 1)


def permutation(signals, seed, segments: int):
    """Divide windows (B, T, C) into `segments` equal segments, and reorder them."""
    rows, samples = ops.shape(signals)[0], signals.shape[1]
    time = np.arange(samples, dtype=np.int32)
    order = keras.random.uniform((rows, segments), dtype="float32", seed=_draws(seed)())
    order = ops.cast(ops.argsort(ops.argsort(order, 1), 1), "int32")  # (B, segments), ranks
    place = ops.take(order, time * segments // samples, axis=1) * samples + time  # (B, T)
    return _pick(signals, ops.cast(ops.argsort(place, 1), "int32"))


def zero_mask(signals, seed, share: float, stretches: int = 1):
    """Set random segments of windows (B, T, C) to zero, in all leads; segments may overlap.

    Args:
        signals: (B, T, C).
        seed: see the module.
        share: total length of the segments as a fraction of T.
        stretches: number of segments.
    """
    rows, samples = ops.shape(signals)[0], signals.shape[1]
    length, time = round(share * samples / stretches), np.arange(samples, dtype=np.int32)
    start = keras.random.uniform((rows, stretches, 1), dtype="float32", seed=_draws(seed)())
    start = ops.cast(start * (samples - length + 1), "int32")
    hidden = ops.any((time >= start) & (time < start + length), 1)[..., None]  # (B, T, 1)
    return ops.where(hidden, ops.zeros_like(signals), signals)


def dropout_mask(signals, seed, share: float):
    """Set a fraction `share` of the samples of windows (B, T, C) to zero, independently for each lead."""
    kept = keras.random.uniform(ops.shape(signals), dtype="float32", seed=_draws(seed)()) >= share
    return ops.where(kept, signals, ops.zeros_like(signals))


def noise(signals, seed, ratio: float):
    """Add Gaussian noise to windows (B, T, C), with `ratio` times the standard deviation of each lead."""
    spread = ops.std(signals, axis=1, keepdims=True)
    return signals + ratio * spread * keras.random.normal(ops.shape(signals), dtype=signals.dtype, seed=_draws(seed)())


AUGMENTATIONS = {
    "time_warp": time_warp,
    "permutation": permutation,
    "zero_mask": zero_mask,
    "dropout_mask": dropout_mask,
    "noise": noise,
}


def augment_windows(signals, seed, config: WindowAugment = WindowAugment()):  # noqa: B008 - frozen
    """Apply each augmentation of `AUGMENTATIONS` in turn to random windows of a batch (B, T, C).

    Args:
        signals: (B, T, C) float.
        seed: int, `keras.random.SeedGenerator`, or an integer tensor (2,).
        config: probability and strengths.
    """
    signals, key = ops.convert_to_tensor(signals), _draws(seed)
    for name, augmentation in AUGMENTATIONS.items():
        chance, drawn = key(), key()
        if strength := getattr(config, name):
            more = (config.zero_stretches,) if name == "zero_mask" else ()
            changed = augmentation(signals, drawn, strength, *more)
            chosen = keras.random.uniform((ops.shape(signals)[0], 1, 1), seed=chance) < config.probability
            signals = ops.where(chosen, changed, signals)
    return signals
