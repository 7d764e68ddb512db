"""Augmentation of training recordings in the TensorFlow graph: vectorised, with stateless random numbers."""

from math import pi

import numpy as np
import tensorflow as tf

from keras_ecg.config import RhythmAugment
from keras_ecg.data.augment import draws

INFINITE = np.float32(np.inf)  # larger than the time of any beat, so that it is sorted last
WAVES = 3  # sinusoids of which baseline wander is the sum


def in_order(beats, kept):
    """Return the beats (B, K) that `kept` (B, K) bool selects, ascending, with -1 after the last."""
    ordered = tf.sort(tf.where(kept, beats, INFINITE), axis=1)
    return tf.where(tf.math.is_inf(ordered), -1.0, ordered)


def augment_recordings(inputs: dict, rate: float, augment: RhythmAugment, seed) -> dict:
    """Invert, scale, disturb and erase recordings; padding stays zero.

    Args:
        inputs: signals (B, T, 1) z-scores, length (B,), beats (B, K) seconds: see `create_rhythm_dataset`.
        rate: sampling rate in Hz.
        augment: probabilities and strengths.
        seed: (2,) int.
    """
    uniform, normal = draws(seed)
    signals, beats = inputs["signals"][..., 0], inputs["beats"]
    rows, samples = tf.shape(signals)[0], signals.shape[1]
    length = tf.cast(inputs["length"], tf.float32)[:, tf.newaxis]
    time = tf.range(samples, dtype=tf.float32)[tf.newaxis]
    if augment.amplitude:
        signals *= tf.exp(uniform([rows, 1], -augment.amplitude, augment.amplitude))
    if augment.invert:
        signals *= tf.where(uniform([rows, 1]) < augment.invert, -1.0, 1.0)
    if augment.wander:
        for _ in range(WAVES):
            cycles, phase = uniform([rows, 1], 0.05, 0.7), uniform([rows, 1], 0.0, 2 * pi)  # below the heart rate
            size = uniform([rows, 1], 0.0, augment.wander / WAVES)
            signals += size * tf.sin(2 * pi * cycles * time / rate + phase)
    if augment.noise:
        size = augment.noise * tf.square(uniform([rows, 1]))  # the square leaves most recordings nearly clean
        signals += size * normal([rows, samples])
    if augment.erase_seconds:
        width = uniform([rows, 1], 0.0, augment.erase_seconds * rate)
        first = uniform([rows, 1]) * (length - width)
        signals = tf.where((time >= first) & (time < first + width), 0.0, signals)
        lost = (beats * rate >= first) & (beats * rate < first + width)  # a detector would not find these beats
        beats = in_order(beats, (beats >= 0) & ~lost)
    return {**inputs, "signals": tf.where(time < length, signals, 0.0)[..., tf.newaxis], "beats": beats}
