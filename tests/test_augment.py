import numpy as np
import pytest
import tensorflow as tf

from keras_ecg.config import Augment
from keras_ecg.data.augment import (
    augment_rhythm,
    augment_waveform,
    fibrillation,
    fuse,
    is_regular,
    premature_rhythm,
)

N, S, V, F, Q = range(5)
ROWS, WIDTH, CENTER = 4000, 71, 35
SEED = tf.constant([3, 4])


def regular(rows=ROWS, seconds=0.8, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (seconds * rng.uniform(0.97, 1.03, (rows, WIDTH))).astype(np.float32)


def irregular(rows=ROWS) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.4, 1.4, (rows, WIDTH)).astype(np.float32)


def redrawn(labels, augment, intervals=None, seed=SEED):
    """Return new intervals and labels, and which rows differ."""
    intervals = regular(len(labels)) if intervals is None else intervals
    new, after = augment_rhythm(tf.constant(intervals), tf.constant(labels, tf.int64), CENTER, augment, seed)
    return new.numpy(), after.numpy(), (new.numpy() != intervals).any(1)


def test_premature_beats_are_early_and_followed_by_pauses():
    intervals = regular()
    new, early = (v.numpy() for v in premature_rhythm(tf.constant(intervals), 0.3, SEED))
    ratio = new / intervals
    assert ratio[early].max() < 1 and 0.35 < ratio[early].min() and 0.6 < ratio[early].mean() < 0.8
    follows = np.zeros_like(early)
    follows[:, 1:] = early[:, :-1] & ~early[:, 1:]
    np.testing.assert_array_equal(ratio[~early & ~follows], 1)  # other intervals are unchanged
    assert 0.8 < ratio[follows].min() and ratio[follows].mean() > 1.1 and ratio[follows].max() < 2.6
    assert not early[:, 0].any()  # the previous interval is unknown
    assert 0.8 < (new.sum(1) / intervals.sum(1)).mean() < 1.2 and (new > 0.2).all()


@pytest.mark.parametrize(("mostly", "low", "high"), [(0.0, 0.03, 0.2), (1.0, 0.45, 0.8)])
def test_mostly_premature_sets_frequency_of_premature_beats(mostly, low, high):
    _, early = premature_rhythm(tf.constant(regular()), mostly, SEED)
    assert low < early.numpy().mean() < high


def test_fibrillation_is_irregular_and_not_slower():
    intervals = regular()
    new = fibrillation(tf.constant(intervals), SEED).numpy()
    spread = np.log(new).std(1)
    assert spread.min() > 0.08 and 0.12 < spread.mean() < 0.3
    assert (np.median(new, 1) / np.median(intervals, 1)).max() < 1.2
    assert new.min() >= 0.28 - 1e-6 and new.max() <= 3.0
    assert not is_regular(tf.constant(new)).numpy().mean() > 0.05


def test_is_regular_accepts_only_regular_rhythms():
    assert is_regular(tf.constant(regular())).numpy().all()
    assert not is_regular(tf.constant(irregular())).numpy().any()
    one_early = regular(1)
    one_early[0, 20:22] = 0.4, 1.2
    assert is_regular(tf.constant(one_early)).numpy().all()


def test_normal_beat_made_premature_is_labelled_s():
    labels = np.full(ROWS, N)
    before = regular()
    new, after, touched = redrawn(labels, Augment(premature=0.5), before)
    ratio = new[:, CENTER] / before[:, CENTER]
    assert set(after) == {N, S} and ratio[after == S].max() < 0.98
    assert (after[ratio < 0.8] == S).all() and (ratio[after == N] > 0.8).all()  # a pause may be slightly shortened
    assert abs(touched.mean() - 0.5) < 0.06  # rows without a premature beat are unchanged
    assert 0.02 < (after == S).mean() < 0.4


@pytest.mark.parametrize("share", [0.1, 0.8])
def test_changed_fraction_is_requested_fraction(share):
    _, _, touched = redrawn(np.full(ROWS, N), Augment(premature=share, mostly_premature=1.0))
    assert abs(touched.mean() - share) < 4 * np.sqrt(share * (1 - share) / ROWS)
    _, after, touched = redrawn(np.full(ROWS, N), Augment(irregular=share))
    assert abs(touched.mean() - share) < 4 * np.sqrt(share * (1 - share) / ROWS)
    assert (after == N).all()  # fibrillation has no ectopic beats


def test_only_regular_normal_sequences_are_changed():
    labels = np.tile(np.arange(5), ROWS // 5)
    both = Augment(premature=0.4, irregular=0.4)
    _, after, touched = redrawn(labels, both)
    assert not touched[labels != N].any() and touched[labels == N].mean() > 0.7
    np.testing.assert_array_equal(after[labels != N], labels[labels != N])
    _, after, touched = redrawn(labels, both, irregular())
    assert not touched.any() and (after == labels).all()


def test_sequence_becomes_premature_or_fibrillation_but_not_both():
    """Also with fractions that add up to more than 1, fibrillation is not labelled S."""
    before = regular()
    alone, s_alone, _ = redrawn(np.full(ROWS, N), Augment(premature=0.9, mostly_premature=1.0), before)
    both, s_both, _ = redrawn(np.full(ROWS, N), Augment(premature=0.9, irregular=0.9, mostly_premature=1.0), before)
    np.testing.assert_array_equal(s_alone, s_both)
    np.testing.assert_array_equal(both[s_both == S], alone[s_both == S])


def test_rr_swapping_changes_only_v_beats_and_keeps_labels():
    labels = np.where(np.arange(ROWS) % 4 == 0, V, N)
    _, after, touched = redrawn(labels, Augment(rr_swapping=0.6))
    assert (after == labels).all() and not touched[labels == N].any()
    assert abs(touched[labels == V].mean() - 0.6 * 0.75) < 0.07  # three of four partners are normal


def test_tempo_scales_all_intervals_of_sequence():
    before = regular()
    new, after, touched = redrawn(np.full(ROWS, V), Augment(tempo=0.2), before)
    factor = (new / before).mean(1)
    assert touched.all() and (after == V).all()
    assert np.exp(-0.21) < factor.min() < 0.85 and 1.18 < factor.max() < np.exp(0.21)
    assert ((new / before).std(1) < 0.02).all()


def waves(rows=600, beats=3, samples=187):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, beats, samples)).astype(np.float32), rng.normal(size=(rows, samples)).astype(
        np.float32
    )


def disturbed(augment, samples, median, seed=SEED):
    return tuple(v.numpy() for v in augment_waveform(tf.constant(samples), tf.constant(median), augment, seed))


def test_fusion_averages_v_beats_with_median_beat():
    samples, median = waves()
    labels = np.tile(np.arange(5), 120)
    arrays = [tf.constant(v) for v in (samples, median, labels)]
    new, after = (v.numpy() for v in fuse(*arrays, 1, Augment(fusion=0.5), SEED))
    changed = (new != samples).any((1, 2))
    np.testing.assert_array_equal(after, np.where(changed, F, labels))
    assert (labels[changed] == V).all() and abs(changed[labels == V].mean() - 0.5) < 0.2
    np.testing.assert_array_equal(new[:, [0, 2]], samples[:, [0, 2]])  # neighbouring beats are unchanged
    low, high = np.minimum(median, samples[:, 1]), np.maximum(median, samples[:, 1])
    assert (new[changed, 1] >= low[changed] - 1e-6).all() and (new[changed, 1] <= high[changed] + 1e-6).all()
    share = (new - samples)[changed, 1] / (median - samples[:, 1])[changed]
    np.testing.assert_allclose(share, share[:, :1].repeat(187, 1), atol=0.02)
    assert 0.3 <= share[:, 0].min() + 0.02 and share[:, 0].max() - 0.02 <= 0.7


def test_amplitude_scales_sequence_and_median_beat_equally():
    samples, median = waves()
    new, medians = disturbed(Augment(amplitude=0.3), samples, median)
    gain = new[:, 0, 0] / samples[:, 0, 0]
    np.testing.assert_allclose(new, samples * gain[:, None, None], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(medians, (median * gain[:, None])[:, None].repeat(3, 1), rtol=1e-3, atol=1e-5)
    assert np.exp(-0.301) < gain.min() < 0.8 and 1.25 < gain.max() < np.exp(0.301)


def test_shift_moves_whole_sequences_and_repeats_ends():
    samples, median = waves()
    new, medians = disturbed(Augment(shift_samples=4), samples, median)
    seen = set()
    for row in range(len(samples)):
        for shift in range(-4, 5):
            index = np.clip(np.arange(187) - shift, 0, 186)
            if np.array_equal(new[row], samples[row][:, index]):
                seen.add(shift)
                np.testing.assert_array_equal(medians[row], median[row, index][None].repeat(3, 0))
                break
        else:
            pytest.fail(f"row {row} is no shifted copy")
    assert seen == set(range(-4, 5))


def test_noise_has_requested_size_and_excludes_median_beat():
    samples, median = waves()
    new, medians = disturbed(Augment(noise_mv=0.1), samples, median)
    size = (new - samples).std((1, 2))
    assert 0 < size.min() and size.max() < 0.11 and abs(size.mean() - 0.05) < 0.01
    np.testing.assert_array_equal(medians, median[:, None].repeat(3, 1))


def test_baseline_wander_is_slow_and_zero_at_peak():
    samples, median = waves()
    new, _ = disturbed(Augment(wander_mv=0.2), samples, median)
    added = new - samples
    assert np.abs(added[..., 93]).max() < 1e-3
    assert 0.02 < np.abs(added).mean() < 0.4
    assert np.abs(np.diff(added)).max() < 0.1 * np.abs(added).max()


def test_zero_strengths_change_nothing():
    samples, median = waves()
    new, medians = disturbed(Augment(), samples, median)
    np.testing.assert_array_equal(new, samples)
    np.testing.assert_array_equal(medians, median[:, None].repeat(3, 1))
    labels = np.tile(np.arange(5), ROWS // 5)
    _, after, touched = redrawn(labels, Augment())
    assert not touched.any() and (after == labels).all()


def test_augmentation_depends_only_on_seed():
    everything = Augment(amplitude=0.1, shift_samples=2, noise_mv=0.1, wander_mv=0.1)
    samples, median = waves()
    first = disturbed(everything, samples, median)
    tf.random.set_seed(9)
    np.testing.assert_array_equal(disturbed(everything, samples, median)[0], first[0])
    assert (disturbed(everything, samples, median, tf.constant([3, 5]))[0] != first[0]).mean() > 0.9
    rhythm = Augment(premature=0.5, irregular=0.3, tempo=0.1)
    before, again = (redrawn(np.full(100, N), rhythm)[0] for _ in range(2))
    np.testing.assert_array_equal(before, again)
    assert (redrawn(np.full(100, N), rhythm, seed=tf.constant([0, 0]))[0] != before).mean() > 0.9
