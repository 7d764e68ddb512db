"""Rhythm experiments end to end: folds, baselines, temperature, recomputed scores, and prediction."""

import csv
import io
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from rhythms import RATE, config_of, recording, write_challenge
from sklearn.metrics import f1_score

from keras_ecg import cli
from keras_ecg.baselines import recording_table
from keras_ecg.calibration import scale_temperature
from keras_ecg.config import Config, from_dict, merge, to_dict
from keras_ecg.data.rhythm_records import pack_rhythm
from keras_ecg.data.rhythm_stream import get_all_recordings
from keras_ecg.errors import InputError
from keras_ecg.evaluation.rhythm import load_rhythm
from keras_ecg.experiments.rhythm import hold_out, rhythm_folds, run_rhythm_final, run_rhythm_kfold
from keras_ecg.experiments.tune import held_out_subjects, run_tuning
from keras_ecg.files import read_json
from keras_ecg.presets.recordings import RecordingClassifier
from keras_ecg.rhythm_training import class_weights, predict_rhythm, train_stages
from keras_ecg.runs import verify_run

COUNTS = {"N": 16, "A": 10, "O": 10, "~": 8}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Config:
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder / "raw", COUNTS)
    config = config_of(folder)
    pack_rhythm(config, jobs=1, quiet=True)
    return config


def changed(config: Config, **sections) -> Config:
    return from_dict(Config, merge(to_dict(config), sections))


@pytest.fixture(scope="module")
def kfold(packed):
    """Cross-validation run in eager mode, as tracing would take longer than training two steps."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Even though the `tf.config.experimental_run_functions_eagerly`")
        tf.config.run_functions_eagerly(True)
        try:
            return run_rhythm_kfold(packed)
        finally:
            tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def final(packed):
    return run_rhythm_final(packed)


def test_folds_are_stratified_and_keep_duplicates_together(packed, tmp_path):
    known, folds = rhythm_folds(packed)
    assert sorted(r for _, test in folds for r in test) == sorted(known["record"])
    for train, test in folds:
        assert not set(train) & set(test)
        share = known["label"][np.isin(known["record"], test)]
        assert (np.abs(np.bincount(share, minlength=4) - np.array(list(COUNTS.values())) / 2) <= 1).all()
    fitted, held = hold_out(known, folds[0][0], 0.25, 0)
    assert not set(fitted) & set(held) and sorted((*fitted, *held)) == sorted(folds[0][0])
    twins = {**known, "subject": known["subject"].copy()}
    twins["subject"][1] = twins["subject"][0]
    for seed in range(5):
        fitted, held = hold_out(twins, tuple(known["record"]), 0.5, seed)
        assert len({known["record"][0], known["record"][1]} & set(held)) in (0, 2)
    with pytest.raises(InputError, match="calibration_fraction"):
        hold_out(known, folds[0][0], 0.0, 0)


def test_every_recording_is_predicted_once_out_of_fold(kfold, packed):
    stored, known = load_rhythm(kfold.path / "predictions.npz"), get_all_recordings(packed)
    assert stored["record"].tolist() == known["record"].tolist()
    assert stored["y_true"].tolist() == known["label"].tolist()
    assert stored["probabilities"].shape == (2, 44, 4) and stored["temperature"].shape == (2, 2)
    assert not np.array_equal(*stored["probabilities"])
    np.testing.assert_allclose(stored["probabilities"].sum(-1), 1, atol=0.01)
    for k, (_, test) in enumerate(rhythm_folds(packed)[1]):
        assert (stored["fold"][np.isin(stored["record"], test)] == k).all()


def test_the_scores_are_those_of_the_predictions(kfold):
    stored, metrics = load_rhythm(kfold.path / "predictions.npz"), read_json(kfold.path / "metrics.json")
    scores = [
        f1_score(stored["y_true"], p.argmax(1), labels=[0, 1, 2], average="macro", zero_division=0)
        for p in stored["probabilities"]
    ]
    assert metrics["kind"] == "rhythm"
    assert metrics["model"]["score"]["mean"] == pytest.approx(np.mean(scores))
    assert metrics["model"]["score"]["low"] <= np.mean(scores) <= metrics["model"]["score"]["high"]
    assert set(metrics["baselines"]) == {"majority_class", "gradient_boosting_rr", "first_30_seconds"}
    majority = metrics["baselines"]["majority_class"]
    assert majority["accuracy"]["mean"] == pytest.approx(16 / 44) and majority["collapse"]["collapsed"]
    gap = metrics["differences"]["majority_class"]["score"]
    assert gap["difference"] == pytest.approx(np.mean(scores) - majority["score"]["mean"])
    assert len(metrics["folds"]) == 2
    numbers, wrong = verify_run(kfold.path)
    assert numbers > 500 and not wrong


def test_the_report_shows_labels_matrices_and_baselines(kfold):
    page = (kfold.path / "report.html").read_text()
    for text in ("<strong>v3</strong>", "the first 30 s", "gradient boosting on RR", "Before temperature scaling"):
        assert text in page, text
    assert ">recordings</text>" in page and ">beats</text>" not in page  # of the calibration's bins
    assert "http" not in page.split("</style>")[1].split("<script>")[0].replace("http://www.w3.org", "")
    assert (kfold.path / "history.csv").read_text().startswith("seed,fold,epoch")


def test_finished_run_is_reused_and_other_settings_start_a_new_run(kfold, packed, capsys):
    assert run_rhythm_kfold(packed).path == kfold.path
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.slow
def test_interrupted_run_resumes(packed, tmp_path, monkeypatch):
    import keras_ecg.experiments.rhythm as experiment

    config = changed(packed, database={"runs_dir": str(tmp_path)}, evaluation={"kfold_seeds": [0], "baselines": False})
    trained = []

    def train(records, config, seed):
        if len(trained) == 1:
            trained.append("interrupted")
            raise KeyboardInterrupt
        trained.append(seed)
        return train_stages(records, config, seed)

    monkeypatch.setattr(experiment, "train_stages", train)
    with pytest.raises(KeyboardInterrupt):
        run_rhythm_kfold(config)
    run = run_rhythm_kfold(config)
    assert trained == [0, "interrupted", 0] and run.finished and run.environment["resumed"] == 1
    assert not (run.path / "predictions_gradient_boosting_rr.npz").exists()


def test_saved_classifier_predicts_as_the_evaluation_did(final, packed):
    stored = load_rhythm(final.path / "predictions.npz")
    with zipfile.ZipFile(final.path / "model.keras") as saved, saved.open("model.weights.h5") as weights:
        assert "optimizer" not in h5py.File(io.BytesIO(weights.read()))
    temperature = float(final.environment["temperature"])
    assert stored["temperature"].tolist() == [[temperature]]
    classifier = RecordingClassifier.from_preset(final.path)
    for record in stored["record"][:2]:
        found = classifier.predict(Path(packed.database.data_dir) / f"{record}.dat").probabilities
        raw = stored["probabilities"][0, stored["record"] == record]
        np.testing.assert_allclose(found, scale_temperature(raw, temperature)[0], atol=2e-3)
    assert classifier(recording("A", 70, 5)[0], RATE).sum() == pytest.approx(1)


def test_held_out_evaluation_includes_robustness_and_occlusion(final):
    metrics = read_json(final.path / "metrics.json")
    rows = metrics["robustness"]["conditions"]
    assert {r["disturbance"] for r in rows} == {
        "none", "muscle noise", "baseline wander", "sampling rate", "inverted"
    }  # fmt: skip
    assert metrics["robustness"]["source"] == "synthetic"
    assert [row["share"] for row in metrics["deletion"]["shares"]] == [0.1, 0.2, 0.3]
    page = (final.path / "report.html").read_text()
    assert "Robustness to disturbances" in page and "Occlusion maps" in page
    assert not verify_run(final.path)[1]


@pytest.mark.slow
def test_command_classifies_a_rhythm(final, packed, tmp_path):
    command = [sys.executable, "predict.py", str(Path(packed.database.data_dir) / "A00001"), "--task", "rhythm"]
    done = subprocess.run(
        [*command, "--run", str(final.path), "--output-dir", str(tmp_path)],
        cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "A00001: " in done.stdout
    head, row = (tmp_path / "A00001_rhythm.csv").read_text().splitlines()
    assert head == "record,class,p_N,p_A,p_O,p_~" and sum(map(float, row.split(",")[2:])) == pytest.approx(1, abs=2e-4)


@pytest.mark.slow
def test_variants_are_compared_on_common_recordings(kfold, packed, tmp_path):
    root, variant = tmp_path, changed(packed, evaluation={"first_folds": 1, "kfold_seeds": [5], "baselines": False})
    other = run_rhythm_kfold(variant)
    for run in (kfold, other):
        shutil.copytree(run.path, root / "Research_Runs" / run.path.name)
    cli.run(["runs", "--root", str(root), "attach", kfold.path.name, f"one_fold={other.path.name}"])
    folder = root / "Research_Runs" / kfold.path.name
    metrics, stored = read_json(folder / "metrics.json"), load_rhythm(folder / "predictions.npz")
    own = np.isin(stored["record"], load_rhythm(other.path / "predictions.npz")["record"])
    assert metrics["baselines"]["one_fold"]["recordings"] == own.sum() < len(own)
    scores = [
        f1_score(stored["y_true"][own], p[own].argmax(1), labels=[0, 1, 2], average="macro", zero_division=0)
        for p in stored["probabilities"]
    ]
    gap = np.mean(scores) - metrics["baselines"]["one_fold"]["score"]["mean"]
    assert metrics["differences"]["one_fold"]["score"]["difference"] == pytest.approx(gap)
    page = (folder / "report.html").read_text()
    assert not verify_run(folder)[1] and f"one fold, {own.sum()} recordings" in page
    assert "Rhythm classification, k-fold cross-validation" in page and "Heartbeat" not in page
    cli.run(["runs", "--root", str(root), "publish", "cinc2017-kfold", kfold.path.name])
    rows = (root / "Research_Runs" / "README.md").read_text().splitlines()
    (model,) = (row for row in rows if row.startswith("| **ResNet1D**, 2 seeds |"))
    scores = metrics["model"]
    assert f"{scores['ece_before']['mean']:.3f}" in model and model.endswith(f"{scores['ece']['sd']:.3f} |")
    assert sum(row.startswith(f"| baseline: one fold, {own.sum()} recordings |") for row in rows) == 1
    assert sum(row.startswith("| ResNet1D, ensemble of the seeds |") for row in rows) == 1
    with pytest.raises(InputError, match="no finished rhythm classification"):
        (folder / "environment.json").write_text("{}")
        cli.run(["runs", "--root", str(root), "attach", kfold.path.name, f"one_fold={other.path.name}"])


@pytest.mark.slow
def test_search_objective_is_the_cinc2017_score(packed, tmp_path):
    (tmp_path / "space.yaml").write_text("model.options.width: {choice: [4, 8]}\n")
    folders = {k: str(tmp_path / v) for k, v in (("space", "space.yaml"), ("directory", "t"), ("output", "best.yaml"))}
    tuning = {"algorithm": "random", "max_trials": 2, "max_epochs": 1, "validation_fraction": 0.25, **folders}
    best = run_tuning(changed(packed, tuning=tuning))
    rows = list(csv.DictReader(next(tmp_path.glob("t/*/trials.csv")).read_text().splitlines()))
    assert {row["model.options.width"] for row in rows} == {"4", "8"}
    top = max(rows, key=lambda row: float(row["val_score"]))
    assert best["model"]["options"]["width"] == int(top["model.options.width"])
    train, held_out = held_out_subjects(changed(packed, tuning=tuning))
    tested = rhythm_folds(packed)[1][0][1]
    assert not {*train, *held_out} & set(tested) and not set(train) & set(held_out)


def test_run_without_temperature_is_rejected_as_classifier(kfold):
    with pytest.raises(InputError, match="found no temperature"):
        RecordingClassifier.from_preset(kfold.path)


@pytest.mark.slow
def test_plain_rhythms_are_learned(packed):
    config = changed(packed, training={"epochs": 50}, model={"options": {"stages": 2, "head": {"dropout": 0.0}}})
    known, folds = rhythm_folds(config)
    for stages in (1, 2):
        own = changed(config, rhythm={"stages": stages})
        model, history = train_stages(folds[0][0], own, 0)
        found = predict_rhythm(model, own, folds[0][1]).argmax(1)
        truth = known["label"][np.isin(known["record"], folds[0][1])]
        assert (found == truth).mean() > 0.85, stages
        assert len(history) == 50 * stages


def test_class_weights_of_each_stage(packed):
    config = changed(packed, training={"class_weights": [1, 2, 3, 4]})
    assert class_weights(config) == {0: 1, 1: 2, 2: 3, 3: 4}
    assert class_weights(config, "noise") == {0: 1, 1: 4} and class_weights(config, "rhythm") == {0: 1, 1: 2, 2: 3}
    with pytest.raises(InputError, match="class_weights"):
        class_weights(changed(packed, training={"class_weights": [1, 1, 1, 1, 1]}))


def test_baseline_depends_on_rr_intervals_only(packed):
    features, labels = recording_table(tuple(get_all_recordings(packed)["record"]), packed)
    assert features.shape == (44, 40) and np.isfinite(features).all()
    irregular = features[:, 18]  # standard deviation of the RR intervals
    assert irregular[labels == 1].min() > irregular[labels == 0].max()
