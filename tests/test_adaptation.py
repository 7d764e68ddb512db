"""Patient-specific fine-tuning on the first minutes of a record."""

import numpy as np
import pytest
from conftest import TEST, TRAIN, with_sections

from keras_ecg.adaptation import Adapter, Examples, examples_of
from keras_ecg.data.pipeline import get_all_beats, get_all_labels
from keras_ecg.errors import InputError
from keras_ecg.evaluation.beats import aligned
from keras_ecg.experiments.adapt import early_beats, run_adaptation
from keras_ecg.experiments.common import open_beat_run
from keras_ecg.predictions import load_predictions
from keras_ecg.runs import verify_run
from keras_ecg.training import predict_records, train_classifier

SMALL = {
    "loader": {"rr_features": False, "waveforms": False},
    "model": {"name": "cnn", "options": {"width": 8, "bottleneck": 8}},
    "training": {"epochs": 1, "learning_rate": 0.01},
    "adaptation": {"seconds": 60.0, "steps": 60, "batch_size": 32, "learning_rate": 0.01},
}


@pytest.fixture(scope="module")
def small(packed):
    return with_sections(packed, **SMALL)


@pytest.fixture(scope="module")
def classifier(small):
    return train_classifier(TRAIN, small, 0)


@pytest.fixture(scope="module")
def trained(classifier, small):
    """Probabilities of the test records before fine-tuning."""
    return predict_records(classifier, TEST, small)


@pytest.fixture(scope="module")
def adapter(classifier, trained, small):
    return Adapter(classifier, TRAIN, small, 0)


def test_examples_are_the_records_beats_in_order(classifier, trained, small):
    examples = examples_of(TEST[0], small, classifier)
    assert (examples.targets.argmax(1) == get_all_labels([TEST[0]], small)).all()
    found = classifier.model.predict(examples.inputs, verbose=0)
    np.testing.assert_allclose(found, trained[: len(found)], atol=1e-5)
    some = examples.take(np.array([5, 2]))
    np.testing.assert_array_equal(some.targets, examples.targets[[5, 2]])
    both = Examples.join(some, examples)
    np.testing.assert_array_equal(both.inputs["scalograms"][:2], examples.inputs["scalograms"][[5, 2]])
    assert len(both.targets) == len(examples.targets) + 2


@pytest.mark.slow
def test_fine_tuning_restarts_for_each_record(adapter, classifier, trained, small):
    examples = examples_of(TEST[0], small, classifier)
    count = len(examples.targets)
    early, late = np.arange(count) < 60, np.arange(count) >= 60
    odd = Examples(examples.inputs, np.roll(examples.targets, 4, axis=1))  # labels of this record are permuted
    adapter.fit(odd.take(np.flatnonzero(early)))
    found = adapter.predict(examples)
    agrees = (found[late].argmax(1) == odd.targets[late].argmax(1)).mean()
    assert agrees > 0.4 > 0.1 > (trained[:count][late].argmax(1) == odd.targets[late].argmax(1)).mean()
    other = examples_of(TEST[1], small, classifier)
    adapter.fit(other.take(np.arange(50)))
    first = adapter.predict(other)
    adapter.fit(odd.take(np.flatnonzero(early)))
    np.testing.assert_array_equal(adapter.predict(examples), found)  # also after fine-tuning on other records
    adapter.fit(other.take(np.arange(50)))
    np.testing.assert_array_equal(adapter.predict(other), first)


def test_fine_tuning_keeps_classes_absent_from_the_record(adapter, classifier, small):
    """After fine-tuning on N beats only, V beats of the training set are still classified correctly."""
    normal = examples_of(TEST[0], small, classifier)
    normal = normal.take(np.flatnonzero(normal.targets[:, 0])[:60])
    adapter.fit(normal)
    known = examples_of("208", small, classifier)
    v = known.targets[:, 2] == 1
    assert (adapter.predict(known)[v].argmax(1) == 2).mean() > 0.5


def test_record_without_early_beats_leaves_model_unchanged(adapter, classifier, trained, small):
    examples = examples_of(TEST[0], small, classifier)
    adapter.fit(examples.take(np.arange(0)))
    np.testing.assert_allclose(adapter.predict(examples), trained[: len(examples.targets)], atol=1e-5)


def test_early_beats_depend_on_original_sampling_rate(small):
    sample = get_all_beats(list(TEST), small)["sample"]
    np.testing.assert_array_equal(early_beats(TEST, small), sample < 60 * 360)
    with pytest.raises(InputError, match=r"adaptation\.seconds: found 1000000\.0; expected less than the duration"):
        early_beats(TEST, with_sections(small, adaptation={"seconds": 1e6}))


def test_adaptation_scores_later_beats_against_unadapted_model(small, trained, tmp_path):
    config = with_sections(small, database={"runs_dir": str(tmp_path)}, adaptation={"steps": 10})
    run = run_adaptation(config)
    adapted, before = (load_predictions(run.path / f"predictions{n}.npz") for n in ("", "_unadapted"))
    beats, late = get_all_beats(list(TEST), config), ~early_beats(TEST, config)
    assert adapted.record.tolist() == beats["record"][late].tolist() and (adapted.sample >= 60 * 360).all()
    np.testing.assert_allclose(aligned(adapted, before, "").probabilities[0], trained[late], atol=1e-3)
    assert np.abs(adapted.probabilities - before.probabilities).max() > 0.05
    page = (run.path / "report.html").read_text()
    assert verify_run(run.path)[1] == [] and "the labels of the first 60 s of each scored record" in page
    assert "unadapted model" in page and run.environment["experiment"] == "adapted_records"
    assert run_adaptation(config).path == run.path


def test_adaptation_settings_change_only_adaptation_runs(small, tmp_path):
    config = with_sections(small, database={"runs_dir": str(tmp_path)})
    other = with_sections(config, adaptation={"seconds": 90.0})
    final, adapted = ({"experiment": name, "records": TRAIN, "seeds": (0,)} for name in ("final", "adapted"))
    assert open_beat_run(config, **final).path == open_beat_run(other, **final).path
    adapted["own"] = "adaptation"
    assert open_beat_run(config, **adapted).path != open_beat_run(other, **adapted).path


def test_several_devices_are_rejected(small):
    with pytest.raises(InputError, match="data_parallel"):
        run_adaptation(with_sections(small, training={"data_parallel": True}))
