import numpy as np
import pytest
import pywt
import tensorflow as tf
from conftest import SAMPLE
from scipy import signal as scipy_signal

from keras_ecg.data.pipeline import TENSORFLOW
from keras_ecg.databases.recordings import read_recording
from keras_ecg.signals import filters
from keras_ecg.signals.beats import cut_beats, difference_quantiles, median_beat, near_edge
from keras_ecg.signals.rhythm import CONTEXT, rr_features, rr_intervals, rr_series, rr_windows
from keras_ecg.signals.scalogram import cwt_matrix, scalograms

BEFORE, AFTER, DIFFERENCE, TO_MEDIAN, LATER_TO_MEDIAN = 0, 1, 2, 5, 8  # columns of `rr_features`


@pytest.fixture(scope="module")
def lead():
    return read_recording(SAMPLE, "208").signals[:, 0]


@pytest.fixture(scope="module")
def beats(lead):
    return cut_beats(lead, np.arange(200, len(lead) - 200, 360), 93)


def test_scalograms_equal_pywavelets(beats):
    expected = np.stack([np.abs(pywt.cwt(beat, np.arange(1, 33), "morl")[0]) for beat in beats])
    found = scalograms(beats)
    assert found.shape == (len(beats), 32, 187) and found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * expected.max()


@pytest.mark.parametrize(("samples", "scales", "wavelet"), [(100, 7, "morl"), (187, 12, "mexh"), (31, 3, "gaus1")])
def test_scalograms_equal_pywavelets_for_other_parameters(beats, samples, scales, wavelet):
    part = beats[:5, :samples]
    expected = np.stack([np.abs(pywt.cwt(beat, np.arange(1, scales + 1), wavelet)[0]) for beat in part])
    assert np.abs(scalograms(part, scales, wavelet) - expected).max() <= 1e-5 * expected.max()


def test_scalograms_do_not_depend_on_block_size(beats):
    many = np.tile(beats, (2, 1))  # more than one block, the last one short
    np.testing.assert_allclose(scalograms(many)[: len(beats)], scalograms(many)[len(beats) :], atol=1e-5)
    assert scalograms(beats, dtype=np.float16).dtype == np.float16
    assert scalograms(beats[:0]).shape == (0, 32, 187)


def test_conversion_to_float16_rounds_like_numpy(beats):
    smallest = 2.0**-14  # smallest normal float16; below it, ties may be rounded differently
    for part in (beats, beats * 1e-3, beats * 1e-5, beats * 50, beats * 1e4, beats * 0):
        found, expected = scalograms(part, dtype=np.float16), scalograms(part).astype(np.float16)
        normal = expected >= smallest
        np.testing.assert_array_equal(found[normal], expected[normal])
        np.testing.assert_allclose(found[~normal].astype("f8"), expected[~normal], rtol=0, atol=2.0**-24)
    assert np.isnan(scalograms(beats[:1] * np.nan, dtype=np.float16)).all()


def test_transform_matrix_is_cached_and_read_only():
    assert cwt_matrix(50, 4) is cwt_matrix(50, 4)
    with pytest.raises(ValueError, match="read-only"):
        cwt_matrix(50, 4)[0, 0] = 1


def test_beats_are_samples_around_peaks(lead):
    found = cut_beats(lead, np.array([93, 1000]), 93)
    np.testing.assert_array_equal(found, [lead[:187], lead[907:1094]])
    assert found.dtype == lead.dtype


def test_beats_beyond_ends_repeat_end_values():
    found = cut_beats(np.arange(10.0), np.array([0, 1, 9]), 3)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 1, 2, 3], [0, 0, 0, 1, 2, 3, 4], [6, 7, 8, 9, 9, 9, 9]])
    np.testing.assert_array_equal(near_edge(10, np.array([0, 2, 3, 6, 7, 9]), 3), [1, 1, 0, 0, 1, 1])


def test_median_beat_is_robust_to_rare_beats_and_offsets():
    usual = np.array([0.0, 0, 1, 5, 1, 0, 0])
    stack = np.stack([usual + offset for offset in (0, 2, -3, 7)] + [usual[::-1] * 9])
    np.testing.assert_allclose(median_beat(stack), usual)


def test_bandpass_equals_scipy_and_keeps_passband(lead):
    pair = np.stack([lead, 2 * lead], 1)
    found = filters.bandpass(pair, 360, 0.5, 40)
    sections = scipy_signal.butter(3, (0.5, 40), "bandpass", fs=360, output="sos")
    np.testing.assert_allclose(found[:, 0], scipy_signal.sosfiltfilt(sections, lead), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], 2 * found[:, 0], atol=1e-5)
    assert found.dtype == np.float32
    time = np.arange(3600) / 360
    inside, outside = np.sin(2 * np.pi * 10 * time), np.sin(2 * np.pi * 100 * time) + 5
    middle = slice(720, -720)
    np.testing.assert_allclose(filters.bandpass(inside, 360, 0.5, 40)[middle], inside[middle], atol=0.02)
    assert np.abs(filters.bandpass(outside, 360, 0.5, 40)[middle]).max() < 0.1  # the input has amplitude 6


@pytest.mark.parametrize("rate", [128, 250, 500, 1000, 257])
def test_resampling_preserves_slow_wave_and_peaks(rate):
    def wave(hz):
        time = np.arange(20 * hz) / hz
        return (100 + np.sin(2 * np.pi * 1.1 * time)).astype(np.float32)

    found = filters.resample(wave(rate), rate, 360)
    assert abs(len(found) - 7200) <= 1 and found.dtype == np.float32
    np.testing.assert_allclose(found[200:7000], wave(360)[200:7000], atol=0.01)
    peaks = scipy_signal.find_peaks(wave(rate))[0]
    moved = filters.resample_peaks(peaks, rate, 360)
    np.testing.assert_allclose(moved / 360, peaks / rate, atol=0.5 / 360 + 1e-9)
    np.testing.assert_allclose(found[moved], 101, atol=0.01)


def test_equal_rates_leave_signal_unchanged(lead):
    assert filters.resample(lead, 360, 360) is lead
    np.testing.assert_array_equal(filters.resample_peaks(np.array([0, 7, 99]), 360, 360), [0, 7, 99])


@pytest.mark.parametrize("rate", [249.89, 360.1, 100.03])
def test_resampled_peaks_do_not_drift_at_unusual_rates(rate):
    signal = np.zeros(200_000)
    peaks = np.arange(500, 199_000, 1000)
    signal[peaks] = 1
    resampled = filters.resample(signal, rate, 250)
    moved = filters.resample_peaks(peaks, rate, 250)
    around = moved[:, None] + np.arange(-9, 10)
    assert np.abs(resampled[around].argmax(1) - 9).max() <= 1


def test_clean_resamples_then_filters(lead):
    at_100 = filters.resample(lead, 360, 100)
    np.testing.assert_array_equal(filters.clean(lead, 360, 100, ()), at_100)
    np.testing.assert_array_equal(filters.clean(lead, 360, 100, (0.5, 40.0)), filters.bandpass(at_100, 100, 0.5, 40))


def test_rr_intervals_are_before_and_after_each_beat():
    before, after = rr_intervals(np.array([100, 460, 640, 1180]), 360)
    np.testing.assert_allclose(before, [np.nan, 1, 0.5, 1.5])
    np.testing.assert_allclose(after, [1, 0.5, 1.5, np.nan])
    assert before.dtype == after.dtype == np.float32


def test_rr_series_fills_ends_with_median_and_reflects():
    before, after = rr_intervals(np.cumsum([0, 360, 180, 540, 360]), 360)
    series = rr_series(before, after, 3)
    # Unknown first and last intervals become the median of their neighbours, here 1 s.
    np.testing.assert_allclose(series, [1.5, 0.5, 1, 1, 1, 0.5, 1.5, 1, 1, 1, 1.5, 0.5])
    assert np.isnan(before[0]) and np.isnan(after[-1])  # arguments are unchanged


def test_rr_series_keeps_known_intervals_at_ends():
    """The intervals to dropped beats at the ends are known."""
    series = rr_series(np.array([0.7, 1.0]), np.array([1.0, 0.6]), 1)
    np.testing.assert_allclose(series, [1.0, 0.7, 1.0, 0.6, 1.0])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rr_series_of_few_beats_is_finite(count):
    before, after = rr_intervals(np.arange(count) * 288, 360)
    series = rr_series(before, after, CONTEXT)
    assert len(series) == count + 1 + 2 * CONTEXT
    np.testing.assert_allclose(series, 1.0 if count == 1 else 0.8, rtol=1e-6)
    assert np.isfinite(rr_features(rr_windows(series, count, CONTEXT))).all()


def test_longer_context_extends_rr_series_at_ends():
    before, after = rr_intervals(np.cumsum([300, 360, 180, 540, 360, 350]), 360)
    inner, outer = rr_series(before, after, CONTEXT), rr_series(before, after, CONTEXT + 5)
    np.testing.assert_array_equal(outer[5:-5], inner)


def test_rr_window_is_centered_on_interval_of_beat():
    samples = np.cumsum(np.random.default_rng(0).integers(200, 500, 100))
    before, after = rr_intervals(samples, 360)
    windows = rr_windows(rr_series(before, after, CONTEXT), 100, CONTEXT)
    assert windows.shape == (100, 2 * CONTEXT + 1)
    np.testing.assert_array_equal(windows[1:, CONTEXT], before[1:])
    np.testing.assert_array_equal(windows[:-1, CONTEXT + 1], after[:-1])


def features_of(seconds) -> np.ndarray:
    """Return the features of every beat of a rhythm with these RR intervals."""
    before, after = rr_intervals(np.concatenate([[0], np.cumsum(np.rint(np.array(seconds) * 360))]), 360)
    return rr_features(rr_windows(rr_series(before, after, CONTEXT), len(before), CONTEXT))


def test_regular_rhythm_has_zero_contrasts():
    found = features_of(np.full(80, 0.8))
    assert found.shape[0] == 81 and found.dtype == np.float32
    np.testing.assert_allclose(found[:, :2], np.log(0.8), atol=1e-5)
    np.testing.assert_allclose(found[:, 2:31], 0, atol=1e-5)


def test_premature_beat_with_pause_changes_rr_features():
    seconds = np.full(80, 0.8)
    seconds[39], seconds[40] = 0.5, 1.1  # beat 40 comes early
    early = features_of(seconds)[40]
    np.testing.assert_allclose(early[[BEFORE, AFTER]], np.log([0.5, 1.1]), atol=1e-5)
    np.testing.assert_allclose(early[DIFFERENCE], np.log(0.5 / 1.1), atol=1e-5)
    np.testing.assert_allclose(early[TO_MEDIAN], np.log(0.5 / 0.8), atol=1e-5)
    np.testing.assert_allclose(early[LATER_TO_MEDIAN], np.log(1.1 / 0.8), atol=1e-5)


def test_heart_rate_changes_only_first_two_features():
    seconds = np.random.default_rng(1).uniform(0.7, 0.9, 80)
    slow, fast = features_of(seconds * 1.2), features_of(seconds)
    np.testing.assert_allclose(slow[:, :2] - fast[:, :2], np.log(1.2), atol=0.01)
    np.testing.assert_allclose(slow[:, 2:31], fast[:, 2:31], atol=0.01)


def test_rr_features_are_bounded_for_any_interval():
    seconds = np.full(40, 0.8)
    seconds[10], seconds[20] = 60.0, 1 / 360  # a pause of a minute, two annotations in a row
    found = features_of(seconds)
    assert np.isfinite(found).all() and np.abs(found).max() <= 1.5


def test_rr_features_are_equal_in_tensorflow():
    windows = np.random.default_rng(2).uniform(0.2, 2.5, (50, 2 * CONTEXT + 1)).astype(np.float32)
    np.testing.assert_allclose(rr_features(tf.constant(windows), TENSORFLOW), rr_features(windows), atol=1e-5)


def test_difference_quantiles_reflect_usual_and_unusual_beats():
    rng = np.random.default_rng(0)
    usual = np.exp(-0.5 * ((np.arange(187) - 93) / 6) ** 2)
    odd = -2 * np.exp(-0.5 * ((np.arange(187) - 93) / 15) ** 2)
    beats = np.stack([usual] * 950 + [odd] * 50) + 0.01 * rng.normal(size=(1000, 187))
    found = difference_quantiles(beats, median_beat(beats))
    size = np.std((odd - usual)[70:115]) / (np.std(usual) + 0.03)
    assert found.shape == (4,) and (found[:2] < -2).all()  # nine of ten beats are usual
    np.testing.assert_allclose(found[2:], np.log(size + 0.05), atol=0.05)
    np.testing.assert_allclose(
        difference_quantiles(3 * beats, 3 * median_beat(beats)), found, atol=0.15
    )  # independent of gain
