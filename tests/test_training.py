import os
from dataclasses import replace
from zipfile import ZipFile

import h5py
import keras
import numpy as np
import pytest
from conftest import TEST, TRAIN, batches, run_on_jax, with_sections
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from keras_ecg import training
from keras_ecg.baselines import boosting_on_rhythm, majority_class, rhythm_table
from keras_ecg.config import Config, Training, to_dict
from keras_ecg.data.hdf5 import hdf5_path, read_columns
from keras_ecg.data.pipeline import create_dataset, get_all_labels
from keras_ecg.errors import InputError
from keras_ecg.files import read_json
from keras_ecg.models import load_model
from keras_ecg.signals.rhythm import CONTEXT, rr_features, rr_series, rr_windows
from keras_ecg.training import (
    MEMBER_SEEDS,
    Classifier,
    MacroF1,
    compile_classifier,
    compile_supervised,
    labelled_stream,
    predict_records,
    sequences_per_epoch,
    train_classifier,
    training_batch,
)

SMALL = {
    "loader": {"rr_features": False, "waveforms": False, "batch_size": 128},
    "model": {"name": "cnn", "options": {"width": 8, "bottleneck": 8}},
    "training": {"epochs": 2, "learning_rate": 0.01},
}


@pytest.fixture(autouse=True)
def float32():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def small(packed):
    return with_sections(packed, **SMALL)


@pytest.fixture(scope="module")
def probabilities(small):
    """Probabilities of the test records after training with seed 3."""
    return predict_records(train_classifier(TRAIN, small, 3), TEST, small)


@pytest.fixture(scope="module")
def trained(packed):
    """A trained classifier of all inputs, and its configuration."""
    config = with_sections(packed, training={"epochs": 6, "learning_rate": 3e-3}, loader={"batch_size": 32})
    return train_classifier(TRAIN, config, seed=0), config


def test_training_lowers_the_loss_and_beats_majority_class(trained):
    classifier, config = trained
    losses = [row["loss"] for row in classifier.history]
    assert [row["epoch"] for row in classifier.history] == [1, 2, 3, 4, 5, 6]
    assert losses[-1] < 0.7 * losses[0]
    labels = get_all_labels(list(TRAIN), config)
    guess = predict_records(classifier, TRAIN, config).argmax(1)
    assert (guess == labels).mean() > (labels == 0).mean() + 0.05
    assert f1_score(labels, guess, average="macro", labels=range(4), zero_division=0) > 0.4


def test_probabilities_come_in_the_order_of_the_labels(trained):
    classifier, config = trained
    found = predict_records(classifier, TEST, config)
    inputs, labels = batches(create_dataset(list(TEST), config, 61, False, classifier.mean, classifier.scale))
    assert found.shape == (len(labels), 5) and found.dtype == np.float32
    expected = keras.ops.convert_to_numpy(classifier.model(inputs, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-5)  # whatever else is in the batch
    one = predict_records(classifier, TEST[1:], config)
    np.testing.assert_allclose(found[-len(one) :], one, atol=1e-5)


@pytest.mark.slow
def test_saved_classifier_predicts_the_same(trained, tmp_path):
    classifier, config = trained
    classifier.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["model.keras", "normalization.json"]
    stored = read_json(tmp_path / "normalization.json")
    mean, scale = (np.array(stored[k], np.float32) for k in ("mean", "scale"))
    np.testing.assert_array_equal(mean, classifier.mean)
    again = Classifier(load_model(tmp_path), mean, scale, [])
    np.testing.assert_allclose(
        predict_records(again, TEST[:1], config), predict_records(classifier, TEST[:1], config), atol=1e-6
    )


def test_failed_save_leaves_no_partial_file(trained, tmp_path, monkeypatch):
    classifier, _ = trained

    def fails(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classifier.model, "save", fails)
    with pytest.raises(OSError, match="No space left"):
        classifier.save(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def others(small):
    """Probabilities after training with the seed of an ensemble's second member."""
    return predict_records(train_classifier(TRAIN, small, 3 + MEMBER_SEEDS), TEST, small)


@pytest.mark.slow
def test_one_seed_gives_the_same_probabilities_and_another_does_not(small, probabilities, others):
    again = predict_records(train_classifier(TRAIN, small, 3), TEST, small)
    np.testing.assert_array_equal(again, probabilities)
    assert np.abs(others - probabilities).max() > 1e-3


@pytest.mark.slow
def test_ensemble_averages_models_of_different_seeds(small, probabilities, others, tmp_path):
    config = with_sections(small, training={"ensemble_size": 2})
    ensemble = train_classifier(TRAIN, config, 3)
    found = predict_records(ensemble, TEST, config)
    np.testing.assert_allclose(found, (probabilities + others) / 2, atol=1e-6)
    assert [(row["member"], row["epoch"]) for row in ensemble.history] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    ensemble.save(tmp_path)
    again = Classifier(load_model(tmp_path), ensemble.mean, ensemble.scale, [])
    np.testing.assert_allclose(predict_records(again, TEST, config), found, atol=1e-6)
    with ZipFile(tmp_path / "model.keras") as file, h5py.File(file.open("model.weights.h5")) as weights:
        names: list[str] = []
        weights.visit(names.append)
    assert names and not any("optimizer" in name for name in names)


def test_ensemble_members_cycle_through_models(small, monkeypatch):
    """Members are trained with their own seeds; the fake members predict constants 1, 2 and 3."""
    members = []

    def train(records, config, seed, mean, scale):
        members.append((config.model.name, config.model.options, seed))
        x = keras.Input((3,), name="x")
        constant = keras.layers.Dense(
            2, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(len(members))
        )
        return Classifier(keras.Model({"x": x}, constant(x)), mean, scale, [{"epoch": 1}])

    monkeypatch.setattr(training, "train_member", train)
    first, other = small.model.options, {"width": 12}
    others = [{"name": "attention_only", "options": other}]
    ensemble = train_classifier(
        TRAIN, with_sections(small, model={"ensemble_members": others}, training={"ensemble_size": 3}), 3
    )
    turns = ("cnn", first, 3), ("attention_only", other, 3 + MEMBER_SEEDS), ("cnn", first, 3 + 2 * MEMBER_SEEDS)
    assert tuple(members) == turns and [row["member"] for row in ensemble.history] == [0, 1, 2]
    np.testing.assert_allclose(ensemble.model({"x": np.ones((4, 3), "f4")}), 2.0)


@pytest.mark.slow
def test_ensemble_averages_two_architectures(small, probabilities):
    other = {"name": "cnn", "options": {"width": 12, "bottleneck": 4}}
    model = {"name": small.model.name, "options": small.model.options}
    config = with_sections(small, model={**model, "ensemble_members": [other]}, training={"ensemble_size": 3})
    found = predict_records(train_classifier(TRAIN, config, 3), TEST, config)
    alone = [(model, 3 + 2 * MEMBER_SEEDS), (other, 3 + MEMBER_SEEDS)]
    each = [predict_records(train_classifier(TRAIN, with_sections(small, model=m), s), TEST, small) for m, s in alone]
    np.testing.assert_allclose(found, (probabilities + each[0] + each[1]) / 3, atol=1e-6)


@pytest.mark.parametrize(("ensemble_members", "least"), [([], 1), ([{"name": "cnn"}], 2)])
def test_ensemble_smaller_than_number_of_models_is_rejected(small, ensemble_members, least):
    config = with_sections(small, model={"ensemble_members": ensemble_members}, training={"ensemble_size": least - 1})
    with pytest.raises(InputError, match=f"training.ensemble_size: found {least - 1}; expected at least {least}"):
        train_classifier(TRAIN, config, 0)


def test_non_finite_loss_ends_training(small):
    with pytest.raises(InputError, match="a loss that is not finite.*lower training.learning_rate"):
        train_classifier(TRAIN, with_sections(small, training={"learning_rate": 1e38, "epochs": 3}), 0)


class Counted(keras.layers.Layer):
    """Identity layer that counts its calls, which are traces in graph mode."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x


def test_the_training_step_is_traced_once():
    x, y = np.ones((8, 3), "f4"), np.eye(5, dtype="f4")[np.arange(8) % 5]
    counted, inputs = Counted(), keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(counted(inputs)))
    compile_supervised(model, Training(ema_momentum=0.9), 4, keras.losses.CategoricalCrossentropy(), ["accuracy"])
    counted.calls = 0
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert counted.calls == 1


def test_macro_f1_equals_scikit_learn():
    rng = np.random.default_rng(0)
    y, p = rng.choice(5, 400, p=[0.6, 0.2, 0.1, 0.05, 0.05]), rng.dirichlet(np.ones(5), 400)
    metric, metric_of_five = MacroF1(), MacroF1(classes=5)
    for start in range(0, 400, 150):
        part = slice(start, start + 150)
        for m in (metric, metric_of_five):
            m.update_state(np.eye(5)[y[part]], p[part], sample_weight=rng.uniform(size=len(y[part])))
    guess = p.argmax(1)
    expected = f1_score(y, guess, average=None, labels=range(5))
    np.testing.assert_allclose(float(metric.result()), expected[:4].mean(), rtol=1e-5)
    np.testing.assert_allclose(float(metric_of_five.result()), expected.mean(), rtol=1e-5)
    metric.reset_state()
    metric.update_state(np.eye(5)[[0, 0]], np.eye(5)[[0, 0]])
    np.testing.assert_allclose(float(metric.result()), 0.25)  # classes without beats have an F1 of 0
    assert MacroF1.from_config(metric_of_five.get_config()).classes == 5


def dense(training: Training, steps: int) -> keras.Model:
    """A linear classifier of four features, compiled like the real ones."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    y = keras.layers.LayerNormalization(name="norm")(x)
    model = keras.Model(x, keras.layers.Dense(5, activation="softmax", name="out", bias_initializer="ones")(y))
    compile_classifier(model, Config(training=training), steps)
    return model


def fitted(steps=40, **training) -> keras.Model:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    model = dense(Training(**training), steps)
    model.fit(x, np.eye(5)[x.argmax(1)], batch_size=10, epochs=1, shuffle=False, verbose=0)
    return model


def test_the_learning_rate_warms_up_and_decays():
    optimizer = dense(Training(learning_rate=0.02, warmup_fraction=0.2), 100).optimizer
    rates = np.array([float(optimizer._learning_rate(step)) for step in range(101)])
    np.testing.assert_allclose(rates[:21], np.linspace(0, 0.02, 21), atol=1e-7)
    assert (np.diff(rates[20:]) < 0).all()
    np.testing.assert_allclose([rates[60], rates[100]], [0.5 * (1.01) * 0.02, 0.01 * 0.02], rtol=1e-4)


def test_weight_averaging_lags_behind_last_weights():
    def kernel(model):
        return keras.ops.convert_to_numpy(model.get_layer("out").kernel)

    start, last, averaged = kernel(dense(Training(), 40)), kernel(fitted()), kernel(fitted(ema_momentum=0.9))
    assert 0 < np.abs(averaged - last).max() and np.abs(averaged - start).mean() < np.abs(last - start).mean()


def test_weight_decay_applies_to_kernels_only():
    plain, decayed = (fitted(learning_rate=0.0001, weight_decay=w).weights for w in (0.0, 50.0))
    moved = {a.path: float(np.abs(a.numpy() - b.numpy()).max()) for a, b in zip(plain, decayed, strict=True)}
    assert moved["out/kernel"] > 1e-3
    assert max(moved["norm/gamma"], moved["norm/beta"], moved["out/bias"]) < 0.05 * moved["out/kernel"]


def test_label_smoothing_and_clip_norm_change_the_training():
    first = fitted().weights
    for hyperparameter in (
        {"label_smoothing": 0.2},
        {"clip_norm": 1e-4},
        {"learning_rate": 0.1},
        {"warmup_fraction": 0.9},
    ):
        assert any(
            np.abs(a.numpy() - b.numpy()).max() > 1e-5
            for a, b in zip(first, fitted(**hyperparameter).weights, strict=True)
        )


def test_class_weights_favour_weighted_classes(small, probabilities):
    weighted = with_sections(small, training={"class_weights": [1, 1, 1, 40, 1]})
    found = predict_records(train_classifier(TRAIN, weighted, 3), TEST, weighted)
    assert found[:, 3].mean() > 2 * probabilities[:, 3].mean()
    with pytest.raises(InputError, match="class_weights: found 2 weights; expected 5"):
        train_classifier(TRAIN, with_sections(small, training={"class_weights": [1, 2]}), 0)


def test_epoch_length_equals_number_of_sequences(small):
    count = len(get_all_labels(list(TRAIN), small))
    assert sequences_per_epoch(TRAIN, small) == count and training_batch(TRAIN, small) == 128
    large = with_sections(small, loader={"batch_size": 5000})
    assert training_batch(TRAIN, large) == count // 2
    sizes = {len(y) for _, y in labelled_stream(TRAIN, large, True, None, None).take(5)}
    assert sizes == {count // 2}
    fewer = with_sections(small, augment={"normal_per_epoch": 100})
    rare = int((get_all_labels(list(TRAIN), small) != 0).sum())
    assert abs(sequences_per_epoch(TRAIN, fewer) - rare - 100) <= 1


def test_majority_class():
    assert majority_class(3).tolist() == [[1, 0, 0, 0, 0]] * 3


def test_gradient_boosting_uses_rr_features_only(packed):
    tables = []
    for side in (TRAIN, TEST):
        x, y = [], []
        for record in side:
            columns = read_columns(packed.database.hdf5_dir, record)
            series = rr_series(columns["rr_before"], columns["rr_after"], CONTEXT)
            x.append(rr_features(rr_windows(series, len(columns["label"]), CONTEXT)))
            y.append(columns["label"])
        tables.append((np.concatenate(x), np.concatenate(y)))
    (x, y), (x_test, _) = tables
    np.testing.assert_array_equal(rhythm_table(TRAIN, packed)[0], x)
    with threadpool_limits(1):  # faster for few beats
        expected = HistGradientBoostingClassifier(random_state=0, early_stopping=False).fit(x, y)
        found = boosting_on_rhythm(TRAIN, TEST, packed)
    np.testing.assert_allclose(found[:, expected.classes_], expected.predict_proba(x_test), atol=1e-6)
    assert not found[:, 4].any() and found.dtype == np.float32  # no Q beats in training


def test_hdf5_beats_that_differ_from_packed_beats_are_rejected(preprocessed, packed, tmp_path):
    import shutil

    folder = shutil.copytree(preprocessed.database.hdf5_dir, tmp_path / "hdf5")
    config = replace(packed, database=replace(packed.database, hdf5_dir=str(folder)))
    shutil.copy(hdf5_path(folder, "114"), hdf5_path(folder, "208"))
    with pytest.raises(InputError, match="208.h5: found beats that differ from the TFRecords"):
        rhythm_table(TRAIN, config)
    hdf5_path(folder, "208").unlink()
    with pytest.raises(InputError, match="208.h5: found no such file"):
        rhythm_table(TRAIN, config)


ON_JAX = """
import json, sys
import keras
from keras_ecg.config import load_config
from keras_ecg.training import predict_records, train_classifier
assert keras.backend.backend() == "jax"
config = load_config(sys.argv[1])
records = config.evaluation
classifier = train_classifier(records.train_records[:1], config, seed=0)
out = predict_records(classifier, records.train_records[:1], config)
print("RESULT", json.dumps([classifier.history, out.shape, float(out.sum())]))
"""


@pytest.mark.slow
def test_training_runs_unchanged_on_jax(small, tmp_path):
    import json

    import yaml

    pytest.importorskip("jax")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_dict(small)))
    printed = run_on_jax(ON_JAX, tmp_path / "config.yaml")
    history, shape, total = json.loads(printed.split("RESULT")[1])
    assert np.isfinite(history[0]["loss"]) and shape == [295, 5] and abs(total - 295) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_training_in_mixed_precision(small, precision):
    config = with_sections(small, training={"precision": precision, "epochs": 3})
    classifier = train_classifier(TRAIN, config, 0)
    assert classifier.model.get_layer("encoded").compute_dtype in precision
    assert classifier.history[-1]["loss"] < classifier.history[0]["loss"]
    assert np.isfinite(predict_records(classifier, TEST, config)).all()
