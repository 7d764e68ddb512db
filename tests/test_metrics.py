import numpy as np
import pytest
from sklearn import metrics as reference

from keras_ecg import metrics


@pytest.fixture
def beats():
    """600 beats of 8 subjects, two seeds of probabilities that lean towards the truth."""
    rng = np.random.default_rng(3)
    y = rng.choice(5, 600, p=[0.6, 0.12, 0.15, 0.08, 0.05])
    p = rng.dirichlet(np.ones(5), (2, 600)) + 0.5 * np.eye(5)[y]
    return y, p / p.sum(-1, keepdims=True), rng.choice(list("abcdefgh"), 600)


def by_subject(y, p, subject):
    return np.stack([metrics.group_confusions(y, q.argmax(1), subject)[1] for q in p])


def test_scores_equal_scikit_learn(beats):
    y, p, _ = beats
    guess = p[0].argmax(1)
    confusion = metrics.confusion_matrix(y, guess)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(y, guess, labels=range(5)))
    got = metrics.scores(confusion)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(y, guess, labels=range(5))
    for k, c in enumerate("NSVFQ"):
        assert got[f"classes.{c}.sensitivity"] == pytest.approx(recall[k])
        assert got[f"classes.{c}.positive_predictivity"] == pytest.approx(precision[k])
        assert got[f"classes.{c}.f1"] == pytest.approx(f1[k])
    assert got["accuracy"] == pytest.approx(reference.accuracy_score(y, guess))
    assert got["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, guess))
    assert got["macro_f1"] == got["macro_f1_five"] == pytest.approx(f1.mean())
    assert got["macro_f1_nsvf"] == pytest.approx(f1[:4].mean())
    assert got["kappa"] == pytest.approx(reference.cohen_kappa_score(y, guess))
    assert got["jk_index"] == pytest.approx(got["kappa"] / 2 + sum(recall[[1, 2]] + precision[[1, 2]]) / 8)


def test_ranking_scores_equal_scikit_learn(beats):
    y, p, _ = beats
    area, precision = metrics.auroc(y, p[0]), metrics.average_precision(y, p[0])
    for k in range(5):
        assert area[k] == pytest.approx(reference.roc_auc_score(y == k, p[0][:, k]))
        assert precision[k] == pytest.approx(reference.average_precision_score(y == k, p[0][:, k]))


def test_absent_and_unpredicted_classes_are_nan_and_macro_says_which_classes_it_averages():
    confusion = np.zeros((5, 5), int)
    confusion[0, 0], confusion[0, 1], confusion[1, 1], confusion[2, 0] = 8, 1, 2, 2
    got = metrics.scores(confusion)
    assert np.isnan([got["classes.F.f1"], got["classes.Q.sensitivity"], got["classes.V.positive_predictivity"]]).all()
    assert got["classes.V.f1"] == 0
    n, s = 2 * 8 / (9 + 10), 2 * 2 / (2 + 3)
    assert got["macro_f1"] == pytest.approx((n + s) / 3)
    assert got["macro_f1_nsvf"] == pytest.approx((n + s) / 4)
    assert got["macro_f1_five"] == pytest.approx((n + s) / 5)
    y = np.array([0, 0, 1, 1])
    assert np.isnan(metrics.auroc(y, np.eye(5)[y])[2:]).all()
    assert np.isnan(metrics.auroc(y * 0, np.eye(5)[y])).all()


def test_ec57_does_not_count_fusion_and_unclassifiable_beats_classified_as_v():
    #          n   s   v   f   q
    confusion = np.array(
        [[900, 20, 10, 5, 0], [15, 70, 5, 0, 0], [4, 6, 80, 8, 2], [3, 2, 7, 6, 0], [1, 4, 9, 0, 2]],
    )
    v = metrics.ec57_counts(confusion, metrics.V)
    assert v == {"tp": 80, "fn": 20, "fp": 15, "tn": 900 + 20 + 5 + 15 + 70 + 3 + 2 + 6 + 1 + 4 + 2}
    s = metrics.ec57_counts(confusion, metrics.S)
    assert s == {"tp": 70, "fn": 20, "fp": 20 + 6 + 2, "tn": 900 + 10 + 5 + 4 + 80 + 8 + 2 + 3 + 7 + 6 + 1 + 9 + 2}
    got = metrics.ec57_scores(confusion, metrics.V)
    assert got["sensitivity"] == pytest.approx(0.8)
    assert got["positive_predictivity"] == pytest.approx(80 / 95)
    assert got["false_positive_rate"] == pytest.approx(15 / (15 + v["tn"]))


def test_expected_calibration_error_of_a_small_example():
    p = np.array([[0.95, 0.05, 0, 0, 0], [0.95, 0.05, 0, 0, 0], [0.5, 0.3, 0.2, 0, 0], [0.2, 0.5, 0.3, 0, 0]])
    y = np.array([0, 1, 0, 1])
    assert metrics.expected_calibration_error(y, p) == pytest.approx(0.5 * 0.45 + 0.5 * 0.5)
    bins = metrics.calibration_bins(y, p)
    assert bins["count"].tolist() == [0] * 7 + [2] + [0] * 6 + [2]
    assert metrics.expected_calibration_error(y, np.eye(5)[y]) == 0


def test_collapsed_predictors_are_detected():
    rng = np.random.default_rng(0)
    healthy = np.eye(5)[rng.integers(0, 5, 50)]
    assert not metrics.collapse(healthy)["collapsed"]
    always = np.eye(5)[np.zeros(50, int)]
    assert metrics.collapse(always) == {"predicted_classes": 1, "largest_share": 1, "constant": True, "collapsed": True}
    one_class = np.column_stack([rng.uniform(0.6, 0.9, 50), np.zeros((50, 4))])
    assert metrics.collapse(one_class)["collapsed"] and not metrics.collapse(one_class)["constant"]


def naive(y, p, subject, counts, metric):
    """The bootstrap as a loop: repeat the drawn subjects' beats, score every seed, average."""
    names, out = np.unique(subject), []
    for row in counts:
        index = np.concatenate([np.flatnonzero(subject == s) for s in np.repeat(names, row)])
        out.append(np.mean([metric(y[index], q[index].argmax(1)) for q in p]))
    return np.array(out)


def test_bootstrap_equals_a_naive_loop(beats):
    y, p, subject = beats
    counts = metrics.resample_counts(8, 40, seed=5)
    assert counts.shape == (40, 8) and (counts.sum(1) == 8).all()
    confusions = by_subject(y, p, subject)
    got = metrics.bootstrap_scores(confusions, 40, seed=5)
    expected = naive(y, p, subject, counts, reference.accuracy_score)
    np.testing.assert_allclose(got["accuracy"], expected)
    f1 = naive(y, p, subject, counts, lambda t, g: reference.f1_score(t == 1, g == 1))
    np.testing.assert_allclose(got["classes.S.f1"], f1)
    macro = naive(y, p, subject, counts, lambda t, g: reference.f1_score(t, g, labels=range(5), average="macro"))
    np.testing.assert_allclose(got["macro_f1"], macro)
    low, high = metrics.subject_interval(confusions, "accuracy", 40, seed=5)
    assert (low, high) == pytest.approx(tuple(np.percentile(expected, [2.5, 97.5])))


def test_paired_difference_uses_the_same_resamples(beats):
    y, p, subject = beats
    good = by_subject(y, p, subject)
    always = by_subject(y, np.eye(5)[np.zeros((1, 600), int)], subject)  # one seed against two
    got = metrics.paired_difference(good, always, "accuracy", 200, seed=1)
    expected = np.mean([np.mean(q.argmax(1) == y) for q in p]) - np.mean(y == 0)
    assert got["difference"] == pytest.approx(expected)
    assert got["excludes_zero"] and got["low"] < expected < got["high"]
    same = metrics.paired_difference(good, good, "accuracy", 200)
    assert same == {"difference": 0, "low": 0, "high": 0, "excludes_zero": False}
    # The paired CI is tighter than the two separate ones.
    close = by_subject(y, np.where(np.arange(600)[None, :, None] < 5, p[:, ::-1], p), subject)
    width = np.ptp([metrics.paired_difference(good, close, "accuracy", 200)[k] for k in ("low", "high")])
    assert width < np.ptp(metrics.subject_interval(good, "accuracy", 200)) / 2
    with pytest.raises(ValueError, match="same groups"):
        metrics.paired_difference(good, always[:, :4], "accuracy")


def test_confidence_interval_of_a_mostly_undefined_metric_is_nan():
    assert np.isnan(metrics.interval(np.array([1.0, np.nan, np.nan, np.nan]))).all()
    assert metrics.interval(np.array([1.0, 1.0, np.nan])) == (1, 1)


def test_without_each_group(beats):
    y, p, subject = beats
    names, confusions = metrics.group_confusions(y, p[0].argmax(1), subject)
    rest = metrics.without_each(confusions)
    keep = subject != names[2]
    np.testing.assert_array_equal(rest[2], metrics.confusion_matrix(y[keep], p[0].argmax(1)[keep]))


def test_curve_points_follow_scikit_learn(beats):
    y, p, _ = beats
    positive, score = y == 2, np.round(p[0][:, 2], 2)  # rounding makes ties
    grid = np.linspace(0, 1, 2001)
    tpr = metrics.roc_points(positive, score, grid)
    assert np.trapezoid(tpr, grid) == pytest.approx(reference.roc_auc_score(positive, score), abs=2e-3)
    precision = metrics.precision_points(positive, score, grid[1:])
    assert precision.mean() == pytest.approx(reference.average_precision_score(positive, score), abs=2e-3)


def test_without_resamples_there_is_no_confidence_interval():
    assert np.isnan(metrics.interval(np.empty(0))).all()
    found = metrics.difference(0.1, np.empty(0))
    assert found["difference"] == 0.1 and not found["excludes_zero"]
