"""Random changes of windows, vectorised in `keras.ops`: each sample of a batch is changed in its own way.

Um TT et al., Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional neural
networks, ICMI 2017, https://arxiv.org/abs/1706.00527 (time warping, permutation, jittering); DeVries T, Taylor GW,
Improved regularization of convolutional neural networks with cutout, 2017, https://arxiv.org/abs/1708.04552 (a zeroed
stretch).

A seed is an int, a `keras.random.SeedGenerator` (a model's own, which moves on with every step), or a pair of integers
as a tensor (2,): the stateless one that a `tf.data` map takes, under the TensorFlow backend.

Shapes: B batch, T samples, L leads. T is static.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

SPEEDS = 8  # of a time warp, linear in between: in 10 s, one for every 1.4 s


@dataclass(frozen=True)
class WindowAugment:
    """How strong each augmentation is; zero leaves the windows as they are."""

    probability: float = 0.5  # of each augmentation, for each window
    time_warp: float = 0.2  # standard deviation of the log of the speed
    permutation: int = 4  # segments that change places
    zero_mask: float = 0.2  # share of the window
    zero_stretches: int = 1  # that make up this share, but for where they overlap
    dropout_mask: float = 0.1  # share of each lead's samples
    noise: float = 0.1  # standard deviation, of the lead's own


class _Key(keras.random.SeedGenerator):
    """A key where `keras.random` wants a generator."""

    def __init__(self, key):
        self.key = key

    def next(self, ordered=True):
        return self.key


def _draws(seed) -> Callable[[], _Key]:
    """A function whose every call gives a key of an independent draw."""
    if isinstance(seed, keras.random.SeedGenerator):
        seed = seed.next()
    elif isinstance(seed, (int, np.integer)):
        seed = np.array([seed % 2**31, 0], np.int32)
    seed = ops.cast(seed, "uint32" if keras.backend.backend() == "jax" else "int64")
    count = itertools.count()

    def key() -> _Key:
        # Steps of a golden ratio: neighbouring seeds, as epochs and steps are, share no key.
        return _Key(seed + ops.cast(np.array([next(count) * 0x9E3779B1 % 2**31, 0], np.int32), seed.dtype))

    return key


def _pick(signals, index):
    """The samples (B, T, L) of windows (B, T, L) that stand at `index` (B, T) int32."""
    samples, leads = signals.shape[1:]
    first = ops.arange(ops.shape(signals)[0], dtype="int32")[:, None] * samples
    return ops.take(ops.reshape(signals, (-1, leads)), first + index, axis=0)


def time_warp(signals, seed, strength: float):
    """Plays windows (B, T, L) at a speed that changes smoothly; both ends stay where they are.

    Args:
        signals: (B, T, L).
        seed: see above.
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
    """Cuts windows (B, T, L) into `segments` equal stretches, and puts them together in another order."""
    rows, samples = ops.shape(signals)[0], signals.shape[1]
    time = np.arange(samples, dtype=np.int32)
    order = keras.random.uniform((rows, segments), dtype="float32", seed=_draws(seed)())
    order = ops.cast(ops.argsort(ops.argsort(order, 1), 1), "int32")  # (B, segments), ranks
    place = ops.take(order, time * segments // samples, axis=1) * samples + time  # (B, T)
    return _pick(signals, ops.cast(ops.argsort(place, 1), "int32"))


def zero_mask(signals, seed, share: float, stretches: int = 1):
    """Zeroes stretches of windows (B, T, L), in all leads; they may overlap.

    Args:
        signals: (B, T, L).
        seed: see above.
        share: of T, how long all of them are.
        stretches: how many.
    """
    rows, samples = ops.shape(signals)[0], signals.shape[1]
    length, time = round(share * samples / stretches), np.arange(samples, dtype=np.int32)
    start = keras.random.uniform((rows, stretches, 1), dtype="float32", seed=_draws(seed)())
    start = ops.cast(start * (samples - length + 1), "int32")
    hidden = ops.any((time >= start) & (time < start + length), 1)[..., None]  # (B, T, 1)
    return ops.where(hidden, ops.zeros_like(signals), signals)


def dropout_mask(signals, seed, share: float):
    """Zeroes samples of windows (B, T, L), `share` of each lead's, each lead's its own."""
    kept = keras.random.uniform(ops.shape(signals), dtype="float32", seed=_draws(seed)()) >= share
    return ops.where(kept, signals, ops.zeros_like(signals))


def noise(signals, seed, ratio: float):
    """Adds Gaussian noise to windows (B, T, L), of `ratio` times each lead's own standard deviation."""
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
    """Changes windows (B, T, L) by each augmentation of `AUGMENTATIONS` in turn, each window by chance.

    Args:
        signals: (B, T, L) floats.
        seed: int, `keras.random.SeedGenerator`, or an integer tensor (2,).
        config: the strengths.
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
