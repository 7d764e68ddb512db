"""Metrics of rhythm classification against their definitions, disturbances and the deletion test."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import write_signals
from rhythms import RATE, config_of, recording
from scipy.special import softmax
from sklearn.metrics import f1_score

from keras_ecg.calibration import fit_temperature, scale_temperature
from keras_ecg.data.disturbed import noises_of, source_of_noise
from keras_ecg.errors import InputError
from keras_ecg.evaluation.rhythm_checks import evaluate_deletion, rhythm_scores
from keras_ecg.experiments.rhythm_checks import draw_recordings, occlude
from keras_ecg.metrics import confusion_matrix
from keras_ecg.report.rhythm import robustness
from keras_ecg.signals.disturb import add_noise, slowly_recorded, synthetic_noises
from keras_ecg.signals.filters import bandpass


def test_fitted_temperature_recovers_the_true_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (40000, 4))
    labels = (softmax(logits, 1).cumsum(1) > rng.random((len(logits), 1))).argmax(1)
    for temperature in (0.5, 1.0, 2.5):
        found = fit_temperature(softmax(logits * temperature, 1), labels)
        assert found == pytest.approx(temperature, rel=0.05)
    p = softmax(logits[:5], 1)
    np.testing.assert_allclose(scale_temperature(p, 2.0), softmax(logits[:5] / 2, 1), atol=1e-4)
    np.testing.assert_allclose(scale_temperature(p, np.array([1, 2, 1, 2, 1.0]))[1], softmax(logits[1] / 2), atol=1e-4)


def test_challenge_score_equals_its_definition():
    """Of its table of counts, reference by prediction: F1n = 2 Nn / (sum of N + sum of n), and so for A and O."""
    counts = np.random.default_rng(0).integers(1, 50, (4, 4))
    (nn, na, no, np_), (an, aa, ao, ap), (on, oa, oo, op), (pn, pa, po, _) = counts.tolist()
    f1_n = 2 * nn / ((nn + na + no + np_) + (nn + an + on + pn))
    f1_a = 2 * aa / ((an + aa + ao + ap) + (na + aa + oa + pa))
    f1_o = 2 * oo / ((on + oa + oo + op) + (no + ao + oo + po))
    assert rhythm_scores(counts)["score"] == pytest.approx((f1_n + f1_a + f1_o) / 3)


def test_challenge_score_does_not_average_the_noisy_class():
    truth, guess = np.array([0, 0, 1, 2, 3, 3]), np.array([0, 1, 1, 2, 0, 3])
    found = rhythm_scores(confusion_matrix(truth, guess, 4))
    each = f1_score(truth, guess, average=None)
    assert found["score"] == pytest.approx(each[:3].mean()) and found["macro_f1_four"] == pytest.approx(each.mean())
    assert found["classes.~.f1"] == pytest.approx(each[3])


def test_added_noise_has_the_requested_signal_to_noise_ratio():
    signal, _ = recording("N", 30, 0)
    rng = np.random.default_rng(0)
    for draw in synthetic_noises(RATE).values():
        noise = draw(len(signal), rng)
        for snr in (20.0, 0.0):
            added = add_noise(signal, noise, snr, RATE) - signal
            power = bandpass(signal, RATE, 0.5, 40).var() / added.var()
            assert 10 * np.log10(power) == pytest.approx(snr, abs=0.1)
    slow = slowly_recorded(signal, RATE, 50.0)
    assert len(slow) == len(signal)
    spectrum = np.abs(np.fft.rfft(slow)) ** 2
    assert spectrum[np.fft.rfftfreq(len(slow), 1 / RATE) > 27].sum() < 1e-3 * spectrum.sum()


def test_recorded_noise_replaces_synthetic_noise(tmp_path):
    times = np.arange(20 * 360) / 360
    for record, hertz in (("ma", 31.0), ("bw", 0.3)):
        write_signals(tmp_path, record, np.sin(2 * np.pi * hertz * times), 360, ("noise1",))
    config = config_of(tmp_path, rhythm={"robustness": {"noise_dir": str(tmp_path)}})
    noises = noises_of(config, RATE)
    assert source_of_noise(config) == "MIT-BIH Noise Stress Test Database"
    assert list(noises) == ["muscle noise", "baseline wander"]
    for name, hertz in (("muscle noise", 31.0), ("baseline wander", 0.3)):
        drawn = noises[name](40 * RATE, np.random.default_rng(0))  # longer than what there is
        spectrum = np.abs(np.fft.rfft(drawn - drawn.mean()))
        assert np.fft.rfftfreq(len(drawn), 1 / RATE)[spectrum.argmax()] == pytest.approx(hertz, abs=0.05)
    with pytest.raises(InputError, match="ma"):
        noises_of(config_of(tmp_path, rhythm={"robustness": {"noise_dir": str(tmp_path / "none")}}), RATE)


def test_robustness_table_shows_zero_decibels():
    scores = dict.fromkeys(("score", *(f"classes.{c}.f1" for c in "NAO~"), "predicted.~"), 0.5)
    strengths = (("none", 0.0), ("muscle noise", 6.0), ("muscle noise", 0.0), ("inverted", 0.0))
    conditions = [{"disturbance": name, "strength": size, **scores} for name, size in strengths]
    section = robustness({"robustness": {"conditions": conditions, "recordings": 4, "source": "synthetic"}})
    table = section.blocks[-1]
    assert [row.heading for row in table.rows] == ["undisturbed", "muscle noise", "muscle noise", "inverted polarity"]
    assert [row.cells[0] for row in table.rows] == ["", "6", "0", ""]


def test_deleted_stretches_are_flat_and_without_r_peaks():
    signal, beats = np.arange(1, 101, dtype=np.float32), np.array([0.05, 0.31, 0.95])
    gone = np.array([[False] * 4, [True, False, False, True]])
    signals, left = occlude(signal, beats, gone, 100.0)
    np.testing.assert_array_equal(signals[0], signal)
    assert not signals[1][:25].any() and not signals[1][75:].any() and signals[1][25:75].all()
    assert left[0].tolist() == beats.tolist() and left[1].tolist() == [0.31]


def test_deletion_test_compares_importance_with_random():
    base, mapped = np.full(50, 0.9), np.full((50, 1), 0.3)
    random = np.full((50, 1, 3), 0.8)
    (row,) = evaluate_deletion({"base": base, "mapped": mapped, "random": random, "shares": [0.2]}, 100, 0)["shares"]
    assert (row["mapped"], row["random"], row["difference"]) == pytest.approx((0.6, 0.1, 0.5))
    assert row["excludes_zero"]


def test_drawn_recordings_contain_every_class():
    known = {"record": np.array([f"r{k}" for k in range(100)]), "label": np.repeat([0, 1, 2, 3], [60, 20, 18, 2])}
    place = draw_recordings(known, tuple(known["record"][::2]), 10, 0)
    assert set(known["label"][place]) == {0, 1, 2, 3} and (place % 2 == 0).all() and len(set(place)) == len(place)


def test_workers_import_no_keras():
    modules = (
        "keras_ecg.data.disturbed, keras_ecg.data.rhythm_records, keras_ecg.data.windows, keras_ecg.data.preprocess, "
        "keras_ecg.data.intervals, neurokit2"
    )
    check = f"import sys, {modules}; assert not {{'keras', 'tensorflow'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
