"""Augmentation of training batches in the TensorFlow graph: vectorised, with stateless random numbers.

The changes of RR intervals synthesize rare classes for more subjects than have them. Except for its P wave, a normal
beat whose RR intervals are replaced so that it becomes premature looks like a supraventricular ectopic beat (S). In
atrial fibrillation all intervals are irregular although no beat is ectopic.

Shapes: B batch, S beats in a sequence, T samples, K RR intervals.
"""

import itertools
from collections.abc import Callable
from math import pi

import tensorflow as tf

from keras_ecg.config import Augment
from keras_ecg.databases.mitdb import CLASSES

N, S, V, F = (CLASSES.index(c) for c in "NSVF")


def draws(seed) -> tuple[Callable, Callable]:
    """Return the random functions uniform(shape, low, high) and normal(shape), whose calls are independent draws.

    Args:
        seed: (2,) int.
    """
    count = itertools.count()

    def uniform(shape, low=0.0, high=1.0):
        key = tf.random.fold_in(seed, next(count))
        return low + (high - low) * tf.random.stateless_uniform(shape, key)

    def normal(shape):
        return tf.random.stateless_normal(shape, tf.random.fold_in(seed, next(count)))

    return uniform, normal


def premature_rhythm(intervals, mostly: float, seed):
    """Replace regular RR intervals by a rhythm with premature beats, single or in runs, each followed by a pause.

    Args:
        intervals: (B, K) seconds.
        mostly: fraction of the sequences in which premature beats are frequent instead of occasional.
        seed: (2,) int.

    Returns:
        The new intervals (B, K), and whether each ends with a premature beat (B, K) bool.
    """
    uniform, normal = draws(seed)
    rows, width = tf.shape(intervals)[0], intervals.shape[1]
    rule = uniform([rows]) < mostly
    start = tf.where(rule, uniform([rows], 0.3, 0.8), uniform([rows], 0.01, 0.15))  # of a run, at each beat
    stay = tf.where(rule, uniform([rows], 0.3, 0.9), uniform([rows], 0.0, 0.7))
    dice = uniform([rows, width])
    early = [tf.zeros([rows], tf.bool)]
    for k in range(1, width):
        early.append(dice[:, k] < tf.where(early[-1], stay, start))
    early = tf.stack(early, 1)
    pause = tf.concat([tf.zeros([rows, 1], tf.bool), early[:, :-1] & ~early[:, 1:]], 1)
    coupling = uniform([rows, 1], 0.5, 0.88)
    compensatory = 1 + uniform([rows, 1]) * (1 - coupling)
    arrest = uniform([rows, 1], 1.2, 2.2)
    after = tf.where(uniform([rows, 1]) < 0.3, arrest, compensatory) + 0.05 * normal([rows, width])
    factor = tf.where(early, coupling + 0.03 * normal([rows, width]), tf.where(pause, after, 1.0))
    return intervals * factor, early


def fibrillation(intervals, seed):
    """Draw RR intervals (B, K) of atrial fibrillation, with the median rate of the given ones or a higher one."""
    uniform, normal = draws(seed)
    rows, width = tf.shape(intervals)[0], intervals.shape[1]
    usual = tf.sort(intervals, 1)[:, width // 2][:, None] * uniform([rows, 1], 0.65, 1.0)
    return tf.clip_by_value(usual * tf.exp(uniform([rows, 1], 0.12, 0.3) * normal([rows, width])), 0.28, 3.0)


def is_regular(intervals):
    """Return which rows of RR intervals (B, K) are regular, (B,) bool: 10th to 90th percentile within about 25 %."""
    ordered = tf.sort(tf.math.log(tf.clip_by_value(intervals, 0.15, 4.0)), 1)
    last = intervals.shape[1] - 1
    return ordered[:, round(0.9 * last)] - ordered[:, round(0.1 * last)] < 0.25


def augment_rhythm(intervals, labels, center: int, augment: Augment, seed):
    """Replace the RR intervals of some regular N sequences and of some V sequences, and change the tempo of all.

    Args:
        intervals: (B, K) seconds; column `center` ends at the labelled beat.
        labels: (B,) int.
        center: see `intervals`.
        augment: fractions of sequences to change.
        seed: (2,) int.

    Returns:
        Intervals (B, K) and labels (B,).
    """
    uniform, normal = draws(seed)
    rows = tf.shape(intervals)[0]
    dice, eligible = uniform([rows]), (labels == N) & is_regular(intervals)
    if augment.premature or augment.rr_swapping:
        drawn, early = premature_rhythm(intervals, augment.mostly_premature, tf.random.fold_in(seed, 101))
        # V beats are defined by their shape, so they can take the rhythm drawn for another sequence of the batch.
        other = tf.random.experimental.stateless_shuffle(tf.range(rows), tf.random.fold_in(seed, 103))
        moved = (labels == V) & (dice < augment.rr_swapping) & tf.gather(eligible, other)
        intervals = tf.where(moved[:, None], tf.gather(drawn, other), intervals)
        chosen = eligible & (dice < augment.premature)
        intervals = tf.where(chosen[:, None], drawn, intervals)
        labels = tf.where(chosen & early[:, center], tf.cast(S, labels.dtype), labels)
    if augment.irregular:
        chosen = eligible & (dice >= max(augment.premature, 1 - augment.irregular))
        intervals = tf.where(chosen[:, None], fibrillation(intervals, tf.random.fold_in(seed, 102)), intervals)
    if augment.tempo:
        intervals = intervals * tf.exp(uniform([rows, 1], -augment.tempo, augment.tempo))
        intervals = intervals * (1 + 0.01 * normal(tf.shape(intervals)))
    return intervals, labels


def fuse(samples, median_beat, labels, position: int, augment: Augment, seed):
    """Average some V beats with their record's median beat, which makes them fusion beats (F).

    Args:
        samples: (B, S, T) mV, each beat minus its median.
        median_beat: (B, T) mV.
        labels: (B,) int.
        position: index of the labelled beat in its sequence.
        augment: fraction of the V beats.
        seed: (2,) int.

    Returns:
        Samples (B, S, T) and labels (B,).
    """
    uniform, _ = draws(seed)
    rows = tf.shape(samples)[0]
    chosen = (labels == V) & (uniform([rows]) < augment.fusion)
    share = uniform([rows, 1], 0.3, 0.7)
    blend = share * median_beat + (1 - share) * samples[:, position]
    at = tf.one_hot(position, samples.shape[1])[None, :, None]
    fused = samples * (1 - at) + blend[:, None] * at
    return tf.where(chosen[:, None, None], fused, samples), tf.where(chosen, tf.cast(F, labels.dtype), labels)


def augment_waveform(samples, median_beat, augment: Augment, seed):
    """Scale beats, shift them, and add noise and baseline wander; scale and shift the median beat alike.

    Args:
        samples: (B, S, T) mV, each beat minus its median.
        median_beat: (B, T) mV.
        augment: strengths.
        seed: (2,) int.

    Returns:
        Samples (B, S, T) and median beats (B, S, T), each shifted as its beat.
    """
    uniform, normal = draws(seed)
    rows, beats, width = tf.shape(samples)[0], samples.shape[1], samples.shape[2]
    median = tf.repeat(median_beat[:, None], beats, 1)
    if augment.amplitude:
        gain = tf.exp(uniform([rows, 1, 1], -augment.amplitude, augment.amplitude))
        samples, median = samples * gain, median * gain
    if augment.wander_mv:
        time = tf.linspace(-0.5, 0.5, width)[None, None]
        size = -augment.wander_mv * tf.math.log(uniform([rows, beats, 1], 1e-6, 1.0))  # exponential
        cycles, phase = uniform([rows, beats, 1], 0.1, 0.8), uniform([rows, beats, 1], 0.0, 2 * pi)
        samples += size * (tf.sin(2 * pi * cycles * time + phase) - tf.sin(phase))
    if augment.noise_mv:
        samples += uniform([rows, 1, 1], 0.0, augment.noise_mv) * normal([rows, beats, width])
    if augment.shift_samples:
        # One shift per sequence, like the bias of a detector; the end samples are repeated.
        most = augment.shift_samples
        shift = tf.cast(tf.floor(uniform([rows, 1], -most, most + 1)), tf.int32)
        index = tf.clip_by_value(tf.range(width)[None] - shift, 0, width - 1)
        index = tf.repeat(index[:, None], beats, 1)
        samples, median = tf.gather(samples, index, batch_dims=2), tf.gather(median, index, batch_dims=2)
    return samples, median
