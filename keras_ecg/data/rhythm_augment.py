"""Random changes of training recordings, vectorised in the graph and reproducible: every draw is stateless."""

from math import pi

import numpy as np
import tensorflow as tf

from keras_ecg.config import RhythmAugment
from keras_ecg.data.augment import draws

INFINITE = np.float32(np.inf)  # sorts behind every beat
WAVES = 3  # that a wander is the sum of


def in_order(beats, kept):
    """Beats (B, K) of which only the kept ones (B, K) stay, ascending, -1 after the last."""
    ordered = tf.sort(tf.where(kept, beats, INFINITE), axis=1)
    return tf.where(tf.math.is_inf(ordered), -1.0, ordered)


def augment_recordings(inputs: dict, rate: float, augment: RhythmAugment, seed) -> dict:
    """Inverts, scales, disturbs and erases; what is padding stays zero.

    Args:
        inputs: signals (B, T, 1) z-scores, length (B,), beats (B, K) seconds: see `create_rhythm_dataset`.
        rate: samples per second.
        augment: the sizes.
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
            cycles, phase = uniform([rows, 1], 0.05, 0.7), uniform([rows, 1], 0.0, 2 * pi)  # slower than beats
            size = uniform([rows, 1], 0.0, augment.wander / WAVES)
            signals += size * tf.sin(2 * pi * cycles * time / rate + phase)
    if augment.noise:
        size = augment.noise * tf.square(uniform([rows, 1]))  # most recordings stay nearly clean
        signals += size * normal([rows, samples])
    if augment.erase_seconds:
        width = uniform([rows, 1], 0.0, augment.erase_seconds * rate)
        first = uniform([rows, 1]) * (length - width)
        signals = tf.where((time >= first) & (time < first + width), 0.0, signals)
        lost = (beats * rate >= first) & (beats * rate < first + width)  # a detector finds none there
        beats = in_order(beats, (beats >= 0) & ~lost)
    return {**inputs, "signals": tf.where(time < length, signals, 0.0)[..., tf.newaxis], "beats": beats}
