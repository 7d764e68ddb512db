"""Intervals, axis and amplitudes of synthetic recordings with known waves."""

import os

import numpy as np
import pytest
from conftest import write_signals

from keras_ecg.data.intervals import recording_intervals
from keras_ecg.databases import ptbxl
from keras_ecg.databases.recordings import read_recording
from keras_ecg.errors import InputError
from keras_ecg.signals.intervals import AMPLITUDES, INTERVALS, interval_features, names

LEADS = ("I", "II", "aVF", "V2")
QRS = {"I": (0.0, 0.6, -0.1), "II": (-0.1, 1.2, -0.25), "aVF": (-0.1, 0.8, 0.0), "V2": (0.2, -1.0, 0.0)}  # mV: Q, R, S
SHAPE = np.array(QRS["II"])


def ecg(rate=500.0, bpm=70.0, pr=0.16, width=1.0, qt=0.4, seconds=10.0, qrs=QRS, p_jitter=0.0, st=0.0):
    """Return a recording (T, C) in mV of Gaussian waves that end 2.5 standard deviations from their peaks.

    The tips of Q and S are 0.055 seconds times `width` apart. PR and QT end and begin where the Q does.
    """
    rng = np.random.default_rng(0)
    at = np.arange(round(seconds * rate)) / rate
    beats = np.arange(0.5, seconds - 0.4, 60 / bpm)
    onset = -0.05 * width

    def wave(size, where, deviation):
        where = np.broadcast_to(where, beats.shape)
        return size * np.exp(-(((at[:, None] - beats - where) / deviation) ** 2) / 2).sum(1)

    sharp = np.stack([wave(1.0, late * width, 0.009 * width) for late in (-0.0275, 0, 0.0275)], 1)
    slow = wave(0.15, onset - pr + 0.05 + rng.uniform(-p_jitter, p_jitter, len(beats)), 0.02)
    slow += wave(0.3, onset + qt - 0.1, 0.04)
    slow += st * ((at[:, None] > beats + 0.05) & (at[:, None] < beats + 0.18)).any(1)
    return (sharp @ np.transpose(list(qrs.values())) + slow[:, None]).astype(np.float32)


def measured(signal, rate=500.0, leads=LEADS) -> dict[str, float]:
    found = interval_features(signal, rate, leads)
    assert found.dtype == np.float32 and found.shape == (len(INTERVALS) + len(AMPLITUDES) * len(leads),)
    return dict(zip(names(leads), found.tolist(), strict=True))


def is_nan(found: dict[str, float]) -> set[str]:
    return {name for name, value in found.items() if np.isnan(value)}


@pytest.mark.parametrize(("bpm", "pr", "qt"), [(50, 0.16, 0.44), (70, 0.12, 0.36), (70, 0.24, 0.42), (90, 0.14, 0.36)])
def test_delineation_of_synthetic_waves_is_correct(bpm, pr, qt):
    found = measured(ecg(bpm=bpm, pr=pr, qt=qt))
    assert not is_nan(found)
    assert found["heart_rate_bpm"] == pytest.approx(bpm, rel=0.01)
    assert found["pr_seconds"] == pytest.approx(pr, abs=0.03)
    assert found["qrs_seconds"] == pytest.approx(0.055, abs=0.02)  # from tip to tip
    assert found["qt_seconds"] == pytest.approx(qt, abs=0.03)
    assert found["qtc_seconds"] == pytest.approx(found["qt_seconds"] / (60 / bpm) ** (1 / 3), rel=0.01)
    expected = {"r": 1.2, "s": -0.25, "p": 0.15, "t": 0.3, "st": 0.0}
    for name, value in expected.items():
        assert found[f"II_{name}_mv"] == pytest.approx(value, abs=0.03), name
    assert found["V2_s_mv"] == pytest.approx(-1.0, abs=0.03)  # inverted


def test_each_interval_depends_on_its_wave():
    base, later = measured(ecg()), measured(ecg(pr=0.2))
    assert later["pr_seconds"] - base["pr_seconds"] == pytest.approx(0.04, abs=0.005)
    later = measured(ecg(qt=0.45))
    assert later["qt_seconds"] - base["qt_seconds"] == pytest.approx(0.05, abs=0.005)
    assert later["pr_seconds"] == pytest.approx(base["pr_seconds"], abs=0.005)
    base, wide = (measured(ecg(width=width)[:, 1:2], leads=("II",)) for width in (1, 1.6))
    assert wide["qrs_seconds"] / base["qrs_seconds"] == pytest.approx(1.6, abs=0.1)
    assert wide["pr_seconds"] == pytest.approx(base["pr_seconds"], abs=0.03)
    base, raised = measured(ecg()), measured(ecg(st=0.2))
    assert raised["II_st_mv"] - base["II_st_mv"] == pytest.approx(0.2, abs=0.02)


def test_qrs_duration_is_longest_over_leads():
    narrow, wide = ecg(), ecg(width=1.6)
    both = measured(np.column_stack([narrow[:, :2], wide[:, 2:]]))
    assert both["qrs_seconds"] == pytest.approx(measured(wide)["qrs_seconds"], abs=0.01)


def test_p_and_t_waves_are_measured_in_lead_ii():
    signal = ecg(pr=0.24, qt=0.45)
    signal[:, 1] = ecg()[:, 1]
    own, base = measured(signal), measured(ecg())
    assert (own["pr_seconds"], own["qt_seconds"]) == pytest.approx((base["pr_seconds"], base["qt_seconds"]), abs=0.005)


def test_inverted_qrs_has_same_duration():
    up, down = (measured(signal[:, 1:2], leads=("V1",)) for signal in (ecg(), -ecg()))
    assert down["qrs_seconds"] == pytest.approx(up["qrs_seconds"], abs=0.01)


def test_wave_at_first_sample_is_measured():
    base = measured(ecg())
    for start in range(125, 151, 5):  # the first beat is at 250, its P wave begins 0.05 + 0.16 seconds before
        assert measured(ecg()[start:])["pr_seconds"] == pytest.approx(base["pr_seconds"], abs=0.005)


@pytest.mark.parametrize("degrees", [-75, -30, 10, 45, 80, 150, -170])
def test_axis_is_angle_of_cardiac_vector(degrees):
    angle = np.radians(degrees)
    found = measured(
        ecg(qrs={"II": SHAPE, "aVF": np.sin(angle) * SHAPE, "I": np.cos(angle) * SHAPE}), leads=("II", "AVF", "i")
    )
    assert (found["axis_cosine"], found["axis_sine"]) == pytest.approx((np.cos(angle), np.sin(angle)), abs=0.05)


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_scaling_changes_amplitudes_only(scale):
    base, scaled = interval_features(ecg(), 500, LEADS), interval_features(scale * ecg(), 500, LEADS)
    size = len(INTERVALS)
    np.testing.assert_allclose(scaled[:size], base[:size], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(scaled[size:], scale * base[size:], rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("rate", [250.0, 360.0, 1000.0])
def test_features_are_nearly_independent_of_sampling_rate(rate):
    base, other = measured(ecg()), measured(ecg(rate), rate)
    assert other["heart_rate_bpm"] == pytest.approx(base["heart_rate_bpm"], rel=0.01)
    for name in set(names(LEADS)) - {"heart_rate_bpm"}:
        assert other[name] == pytest.approx(base[name], abs=0.015 if name.endswith("seconds") else 0.05), name


def test_features_are_independent_of_lead_order():
    order = [2, 0, 3, 1]
    base, other = measured(ecg()), measured(ecg()[:, order], leads=tuple(LEADS[k] for k in order))
    assert other == pytest.approx(base, rel=1e-5)
    assert list(other) != list(base)


def test_few_invalid_samples_hardly_change_features():
    signal = ecg()
    signal[1000:1300, 1] = np.nan
    base, holed = measured(ecg()), measured(signal)
    assert not is_nan(holed)
    assert holed == pytest.approx(base, abs=0.03)


def test_unmeasurable_features_are_nan():
    everything, amplitudes = set(names(LEADS)), {lead: {f"{lead}_{name}" for name in AMPLITUDES} for lead in LEADS}
    signal = ecg()
    flat, gone = signal.copy(), signal.copy()
    flat[:, 3], gone[2000:, 2] = 0.3, np.nan
    assert is_nan(measured(flat)) == amplitudes["V2"]
    assert is_nan(measured(gone)) == amplitudes["aVF"] | {"axis_cosine", "axis_sine"}
    assert is_nan(measured(signal[:, 1:2], leads=("II",))) == {"axis_cosine", "axis_sine"}
    for none in (signal * 0, signal * np.nan, signal[:300], signal[:0], np.eye(5000, 4)):
        assert is_nan(measured(none)) == everything


def test_waves_at_varying_distance_are_not_p_waves():
    assert not is_nan(measured(ecg(p_jitter=0.01)))
    assert is_nan(measured(ecg(p_jitter=0.1, pr=0.22))) == {"pr_seconds", *(f"{lead}_p_mv" for lead in LEADS)}


def test_recording_intervals_keep_order_and_reject_bad_records(tmp_path):
    leads = ("V2", "aVF", "II", "I", "V6")
    for name, bpm in (("b", 60), ("a", 90)):
        signal = ecg(bpm=bpm)
        write_signals(tmp_path, name, signal[:, [3, 2, 1, 0, 0]], 500, tuple(lead.upper() for lead in leads))
    found = recording_intervals(tmp_path, ("b", "a"), LEADS, jobs=1)
    assert found[:, 0] == pytest.approx([60, 90], rel=0.01)
    own = read_recording(tmp_path, "a", None).signals[:, [3, 2, 1, 0]]
    np.testing.assert_array_equal(found[1], interval_features(own, 500, LEADS))
    with pytest.raises(InputError, match="c.hea"):
        recording_intervals(tmp_path, ("a", "c"), LEADS, jobs=1)
    with pytest.raises(InputError, match="expected V1"):
        recording_intervals(tmp_path, ("a",), ("V1",), jobs=1)


def test_intervals_of_normal_recordings_are_normal():
    if not os.environ.get("PTBXL_DIR"):
        pytest.skip("PTBXL_DIR does not name the database")
    known = ptbxl.read_diagnoses(os.environ["PTBXL_DIR"])
    normal = np.flatnonzero(known.superclasses[:, 0] & (known.superclasses.sum(1) == 1))[:20]
    features = recording_intervals(os.environ["PTBXL_DIR"], tuple(known.record[k] for k in normal), ptbxl.LEADS, jobs=1)
    median = dict(zip(names(ptbxl.LEADS), np.nanmedian(features, axis=0), strict=True))
    limits = {
        "heart_rate_bpm": (55, 90), "pr_seconds": (0.12, 0.2), "qrs_seconds": (0.07, 0.12), "qt_seconds": (0.34, 0.44),
        "qtc_seconds": (0.37, 0.45), "axis_cosine": (0, 1), "V1_s_mv": (-2, -0.3), "V5_r_mv": (0.5, 2.5),
        "II_p_mv": (0.05, 0.25), "aVR_p_mv": (-0.25, -0.03), "V4_t_mv": (0.1, 0.8), "I_st_mv": (-0.05, 0.05),
    }  # fmt: skip
    for name, (low, high) in limits.items():
        assert low < median[name] < high, name
    assert np.isnan(features).mean() < 0.05
