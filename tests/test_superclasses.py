"""Superclass experiments on a synthetic database in PTB-XL's format."""

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import write_signals
from sklearn.metrics import roc_auc_score

from keras_ecg.config import Config, from_dict, merge, to_dict
from keras_ecg.contract import Contract
from keras_ecg.data.windows import pack_windows, reject_subjects, window_records
from keras_ecg.databases import ptbxl
from keras_ecg.encoders import load_encoder, save_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.evaluation.embeddings import neighbour_probabilities
from keras_ecg.experiments.compared import components
from keras_ecg.experiments.diagnoses import read_folds, read_windows
from keras_ecg.experiments.embed import run_embed
from keras_ecg.experiments.finetune import study_of
from keras_ecg.experiments.finetune_superclasses import (
    labelled,
    run_finetune_superclasses,
    scaled_intervals,
)
from keras_ecg.experiments.pretrain import test_subjects as forbidden_subjects
from keras_ecg.experiments.superclasses import embed_recordings, run_superclasses
from keras_ecg.experiments.triplet import stack_leads
from keras_ecg.files import read_json
from keras_ecg.metrics import resampled_auroc
from keras_ecg.models.loading import load_model
from keras_ecg.models.objectives import build_objective
from keras_ecg.predictions import read_npz, write_npz
from keras_ecg.report import read_history
from keras_ecg.runs import verify_run

HAS = np.array([[0, 0, 0, 1, 1], [0, 1, 1, 1, 0], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0]])  # of the four of each fold
RATE, LEADS = 100.0, tuple(lead.upper() for lead in ptbxl.LEADS)  # as its headers write them


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """Forty patients with one recording each; the classes determine the frequency of each lead."""
    folder, rng = tmp_path_factory.mktemp("ptbxl"), np.random.default_rng(0)
    codes = dict(zip(("NORM", "IMI", "NDT", "LAFB", "LVH"), ptbxl.SUPERCLASSES, strict=True))
    with open(folder / ptbxl.STATEMENTS, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["", "diagnostic", "diagnostic_class"])
        writer.writerows([[code, 1.0, name] for code, name in codes.items()] + [["SR", "", ""]])
    rows, at = [], np.arange(round(4 * RATE)) / RATE
    for k in range(40):
        has = HAS[k // 10]
        signals = rng.normal(0, 0.1, (len(at), 12)) + np.sin(2 * np.pi * 2 * at)[:, None]
        signals[:, :5] += has * np.sin(2 * np.pi * 9 * at)[:, None]
        name = f"records500/0/{k:05d}_hr"
        write_signals(folder / "records500" / "0", f"{k:05d}_hr", signals, RATE, LEADS)
        held = {code: 0.0 for code, there in zip(codes, has, strict=True) if there} | {"SR": 100.0}
        rows.append([k, f"{100 + k}.0", str(held), k % 10 + 1, name.replace("500", "100"), name])
    with open(folder / ptbxl.TABLE, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr"])
        writer.writerows(rows[::-1])
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A single-lead encoder with twelve leads in its contract, and one with a lead of another name."""
    folder = tmp_path_factory.mktemp("encoders")
    options = {"objective": "cmlc", "encoder": "cnn", "encoder_options": {"width": 8, "dropout": 0.0}}
    keras.utils.set_random_seed(0)
    encoder = build_objective("contrastive", (200, 12), options).encoder
    for name, leads in (("twelve", ptbxl.LEADS), ("one", ("MLII",))):
        (folder / name).mkdir()
        save_encoder(folder / name, encoder, Contract(2.0, RATE, leads))
    return folder


def config_of(database, weights, tmp_path, **finetuning) -> Config:
    plain = {
        "database": {"name": "ptbxl", "data_dir": str(database), "runs_dir": str(tmp_path / "runs")},
        "model": {"name": "contrastive", "options": {"weights": str(weights / "twelve")}},
        "finetuning": {"protocol": "superclasses", "compare_with": [str(weights / "one")], **finetuning},
        "evaluation": {"bootstrap": 20},
    }
    return from_dict(Config, plain)


def test_the_tables_are_read(database):
    found = ptbxl.read_diagnoses(database)
    assert found.ecg_id.tolist() == list(range(40)) and found.subject[3] == "103"
    assert found.record[7] == "records500/0/00007_hr" and found.fold[7] == 8
    np.testing.assert_array_equal(found.superclasses, np.repeat(HAS, 10, axis=0))  # a likelihood of 0 counts
    assert found.names == ("NORM", "IMI", "NDT", "LAFB", "LVH", "SR")
    np.testing.assert_array_equal(found.statements, np.c_[found.superclasses, np.ones(40)])  # a rhythm is no diagnosis


def test_folder_with_100_hz_records_only(database, tmp_path):
    for name in (ptbxl.TABLE, ptbxl.STATEMENTS):
        shutil.copy(database / name, tmp_path)
    write_signals(tmp_path / "records100" / "0", "00003_hr", np.zeros((400, 12)), 100.0, LEADS)
    found = ptbxl.read_diagnoses(tmp_path)
    assert found.record == ("records100/0/00003_hr",) == tuple(ptbxl.list_records(tmp_path))
    (tmp_path / "records100" / "0" / "00003_hr.hea").unlink()
    with pytest.raises(InputError, match="found no recording"):
        ptbxl.read_diagnoses(tmp_path)


def test_published_counts():
    if not os.environ.get("PTBXL_DIR"):
        pytest.skip("PTBXL_DIR does not name the database")
    found = ptbxl.read_diagnoses(os.environ["PTBXL_DIR"])
    if len(found.record) == 2992:
        assert found.superclasses.sum(0).tolist() == [1433, 665, 703, 602, 346]
        assert (found.superclasses.sum(1) == 0).sum() == 61 and len(np.unique(found.subject)) == 2900
        assert found.statements.shape == (2992, 71) and (found.statements.sum(1) > 0).all()
        assert (np.isin(found.fold, ptbxl.TRAIN_FOLDS).sum(), (found.fold == 9).sum()) == (2331, 333)
    on_one_side = {s: set(found.fold[found.subject == s]) for s in np.unique(found.subject)}
    assert all(len(folds) == 1 for folds in on_one_side.values())


def test_pretraining_uses_training_folds_only(database, tmp_path):
    source = {"database": "ptbxl", "folder": str(database)}
    plain = {"length_seconds": 4.0, "leads": list(ptbxl.LEADS), "tfrecord_dir": str(tmp_path / "packed")}
    config = from_dict(Config, {"windows": {**plain, "sources": [{**source, "folds": [1, 2]}]}})
    manifest = pack_windows(config, 1, quiet=True)
    assert {e["subject"] for e in window_records(manifest).values()} == {
        f"ptbxl/{100 + k}" for k in range(40) if k % 10 < 2
    }
    reject_subjects(manifest, forbidden_subjects(config))
    everyone = from_dict(Config, {"windows": {**plain, "sources": [source]}})
    with pytest.raises(InputError, match="test subjects"):
        reject_subjects(pack_windows(everyone, 1, quiet=True), forbidden_subjects(everyone))
    odd = from_dict(Config, {"windows": {**plain, "sources": [{"database": "own", "folder": "x", "folds": [1]}]}})
    with pytest.raises(InputError, match="PTB-XL alone has folds"):
        pack_windows(odd, 1, quiet=True)


def test_weighted_auroc_equals_auroc_of_repeated_examples():
    rng = np.random.default_rng(0)
    positive, score = rng.random(60) < 0.4, rng.integers(0, 12, 60) / 12  # with ties
    counts = rng.integers(0, 4, (5, 60))
    expected = [roc_auc_score(np.repeat(positive, c), np.repeat(score, c)) for c in counts]
    np.testing.assert_allclose(resampled_auroc(positive, score, counts), expected)
    assert np.isnan(resampled_auroc(positive, score, positive[np.newaxis])).all()


def test_a_probe_of_two_encoders(database, weights, tmp_path, capsys):
    run = run_superclasses(config_of(database, weights, tmp_path))
    stored = {path.stem: read_npz(path) for path in run.path.glob("predictions*.npz")}
    assert {name.removeprefix("predictions_") for name in stored} == {
        "predictions", "lead_ii", "random_init", "raw_signal", "one", "one_lead_ii",
    }  # fmt: skip
    for arrays in stored.values():
        assert arrays["ecg_id"].tolist() == [9, 19, 29, 39] and arrays["probabilities"].shape == (1, 4, 5)
    # The same encoder under a contract that names other leads.
    np.testing.assert_array_equal(stored["predictions"]["probabilities"], stored["predictions_one"]["probabilities"])
    metrics = evaluate_run(run.path, bootstrap=20)
    expected = [roc_auc_score(y, p) for y, p in zip(stored["predictions"]["y_true"].T,
                stored["predictions"]["probabilities"][0].T.astype("f8"), strict=True)]  # fmt: skip
    assert metrics["model"]["macro_auroc"]["mean"] == pytest.approx(np.mean(expected))
    assert metrics["differences"]["one"]["macro_auroc"]["difference"] == 0
    assert any("randomly initialised encoder" in alarm for alarm in metrics["alarms"])  # it has learned nothing
    assert verify_run(run.path)[1] == []
    page = (run.path / "report.html").read_text()
    assert "fold 10" in page and "AUROC STTC" in page
    assert "logistic regression" in page and 'id="training"' not in page
    assert "ALARM" in capsys.readouterr().out
    assert run_superclasses(config_of(database, weights, tmp_path)).path == run.path


@pytest.mark.slow
def test_pretrained_seeds_are_seeds_of_the_probe(database, weights, tmp_path):
    keras.utils.set_random_seed(1)
    again, found = tmp_path / "again", load_encoder(weights / "twelve")
    again.mkdir()
    save_encoder(again, keras.models.clone_model(found.model), replace(found.contract, run="another"))
    config = config_of(database, weights, tmp_path, compare_with=[], baselines=["random_init"])
    alone = run_superclasses(config)
    both = run_superclasses(with_finetuning(config, pretrained_seeds=(str(again),)))
    other = run_superclasses(replace(config, model=replace(config.model, options={"weights": str(again)})))
    stored = read_npz(both.path / "predictions.npz")
    assert "<dt>same encoder, other seeds</dt><dd>again</dd>" in (both.path / "report.html").read_text()
    assert stored["seeds"].tolist() == [0, 1]
    for row, run in zip(stored["probabilities"], (alone, other), strict=True):
        np.testing.assert_array_equal(row, read_npz(run.path / "predictions.npz")["probabilities"][0])
    np.testing.assert_array_equal(
        *(read_npz(run.path / "predictions_random_init.npz")["probabilities"] for run in (alone, both))
    )
    with pytest.raises(InputError, match="encoders with the input specification of"):
        run_superclasses(with_finetuning(config, pretrained_seeds=(str(weights / "one"),)))
    with pytest.raises(InputError, match="pretrained_seeds: found .*twelve twice; expected each seed once"):
        run_superclasses(with_finetuning(config, pretrained_seeds=(str(weights / "twelve"),)))
    with pytest.raises(InputError, match="none, except with objective probe"):
        run_embed(with_finetuning(config, pretrained_seeds=(str(again),), objective="embed"))


def with_finetuning(config: Config, **changes) -> Config:
    return replace(config, finetuning=replace(config.finetuning, **changes))


def test_bad_input(database, weights, tmp_path):
    config = config_of(database, weights, tmp_path)
    with pytest.raises(InputError, match="a pretrained encoder"):
        run_superclasses(replace(config, model=replace(config.model, options={})))
    with pytest.raises(InputError, match=ptbxl.TABLE):
        run_superclasses(replace(config, database=replace(config.database, data_dir=str(tmp_path))))
    bad = tmp_path / "bad"
    bad.mkdir()
    write_npz(bad / "predictions.npz", ecg_id=np.arange(3))
    with pytest.raises(InputError, match="no array"):
        evaluate_run(bad, kind="superclasses")


def studied(database, weights, tmp_path, objective, **sections) -> Config:
    """Configuration of a small run of an objective, overridden by `sections`."""
    plain = to_dict(config_of(database, weights, tmp_path, compare_with=[], objective=objective, patience=2))
    plain["training"] |= {"epochs": 3, "learning_rate": 1e-2}
    plain["loader"] |= {"batch_size": 16}
    return from_dict(Config, merge(plain, sections))


def test_embeddings_of_an_encoder_and_its_baselines(database, weights, tmp_path, capsys):
    run = run_embed(studied(database, weights, tmp_path, "embed", evaluation={"selected_on": ["fold 9", "a < b"]}))
    metrics = read_json(run.path / "metrics.json")
    assert metrics["kind"] == "embeddings" and set(metrics["baselines"]) == {"random_init", "raw_signal", "lead_ii"}
    stored = read_npz(run.path / "predictions.npz")
    assert stored["embeddings"].shape[0] == 4 and len(stored["repeated_subject"]) == 0
    for probe in ("linear", "attentive", "neighbours"):
        areas = [roc_auc_score(y, p) for y, p in zip(stored["y_true"].T, stored[probe].T.astype("f8"), strict=True)]
        assert metrics["model"][f"{probe}_auroc"]["mean"] == pytest.approx(np.mean(areas))
    assert "attentive_auroc" not in metrics["baselines"]["raw_signal"]  # it has no tokens
    assert verify_run(run.path)[1] == []
    assert "macro AUROC linear" in capsys.readouterr().out
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Davies-Bouldin" in page and "20 neighbours" in page and "fold 9; a &lt; b" in page
    assert 'id="training"' not in page


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 6])
def test_triplet_training_saves_a_changed_encoder(database, weights, tmp_path, size):
    hyperparameters = {"options": {"projection_epochs": 2}}
    settings = {"projection": size, "patience": 9}
    run = run_embed(studied(database, weights, tmp_path, "triplet", model=hyperparameters, finetuning=settings))
    metrics = read_json(run.path / "metrics.json")
    assert set(metrics["baselines"]) == {
        "random_init",
        "raw_signal",
        "lead_ii",
        "before",
        *(["whitened"] if size else []),
    }
    assert "before" in metrics["differences"]
    after, before = load_encoder(run.path), load_encoder(weights / "twelve")
    changes = [np.abs(a - b).max() for a, b in zip(after.model.get_weights(), before.model.get_weights(), strict=True)]
    assert after.contract.run == run.path.name
    with open(run.path / "history.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["probe"] == "triplet"]
    scores = [float(row["selection_auroc"]) for row in rows]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3] if size else [1, 2, 3]
    assert (max(changes) > 1e-3) == (size == 0 or np.argmax(scores) > 0)  # epoch 0 leaves the encoder unchanged
    folds = read_folds(str(database))
    windows = read_windows(str(database), folds.diagnosed.record, after.contract, ptbxl.LEADS, per_lead=True)
    x = embed_recordings(after.model, windows, 12)
    stored = read_npz(run.path / "predictions.npz")["embeddings"].astype("f4")
    if size:
        x = load_model(run.path / "projection.keras").predict(x, verbose=0)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        np.testing.assert_allclose(stored @ stored.T, x[folds.test] @ x[folds.test].T, atol=1e-2)
    else:
        x = components(x, folds.train)
        np.testing.assert_allclose(stored, x[folds.test], atol=1e-2)
    known, asked = (folds.labels[part] for part in (folds.train, folds.select))
    kept = roc_auc_score(asked, neighbour_probabilities(x[folds.train], known, x[folds.select]))
    assert kept == pytest.approx(max(scores))
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "on fold 9" in page and 'id="training"' in page
    assert ("after a projection of its mean tokens" in page) == bool(size)


@pytest.mark.slow
def test_frozen_encoder_trains_the_projection_only(database, weights, tmp_path):
    hyperparameters = {"options": {"projection_epochs": 3, "frozen_stages": -1}}
    run = run_embed(
        studied(database, weights, tmp_path, "triplet", model=hyperparameters, finetuning={"projection": 6})
    )
    after, before = load_encoder(run.path), load_encoder(weights / "twelve")
    for a, b in zip(after.model.get_weights(), before.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with open(run.path / "history.csv", newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream) if row["probe"] == "triplet"] == ["0"]


def test_single_lead_windows_are_stacked():
    signals = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # recordings, windows, samples, leads
    apart = signals.transpose(0, 3, 1, 2).reshape(2, 15, 4, 1)
    np.testing.assert_array_equal(stack_leads(apart, 5), signals)


@pytest.mark.slow
def test_fine_tuning_with_variants(database, weights, tmp_path):
    names = ["resnet1d", "scratch", "labels_10", "lead_ii"]
    small = {"options": {"encoder": {"width": 4, "stages": 2, "blocks": 1}, "augment": {"probability": 0.0}}}
    chosen = {"baselines": names, "seeds": [3, 4]}
    config = studied(database, weights, tmp_path, "finetune", model=small, finetuning=chosen)
    run = run_finetune_superclasses(config)
    metrics = read_json(run.path / "metrics.json")
    assert metrics["kind"] == "superclasses" and set(metrics["baselines"]) == set(names)
    assert metrics["model"]["seeds"] == [3, 4]
    assert all(baseline["seeds"] == [3] for baseline in metrics["baselines"].values())
    assert verify_run(run.path)[1] == [] and load_model(run.path).output_shape == (None, 5)
    page = (run.path / "report.html").read_text()
    assert "encoder and classifier together" in page and "logistic regression" not in page
    assert "the epoch, by macro AUROC on fold 9" in page and 'id="training"' in page
    assert (read_history(run.path / "history.csv")["epoch"] == 1).sum() == 2  # the model's, of two seeds
    with pytest.raises(
        InputError, match="finetuning.baselines.*found 'boosting'; expected one of .*'scratch', 'waveform', 'hybrid'"
    ):
        run_finetune_superclasses(
            studied(database, weights, tmp_path, "finetune", finetuning={"baselines": ["boosting"]})
        )


def test_label_fraction_selects_training_recordings(database):
    folds = read_folds(str(database))
    own = labelled(folds, 0.7, 1)
    assert len(own) == round(0.7 * 32) and set(own) < set(folds.train) and len(set(own)) == len(own)
    np.testing.assert_array_equal(own, labelled(folds, 0.7, 1))
    assert set(own) != set(labelled(folds, 0.7, 2)) and len(labelled(folds, 0.01, 0)) == 20
    assert not set(folds.train) & {*folds.select, *folds.test}


def test_intervals_are_standardized_on_training_recordings():
    x = np.array([[1.0, 5.0], [3.0, np.nan], [2.0, 7.0], [1000.0, np.nan]])
    scaled = scaled_intervals(x, np.array([0, 1, 2]))
    np.testing.assert_allclose(scaled[:3, 0].std(), 1)
    assert scaled[3].tolist() == [5, 0, 1] and scaled[1].tolist()[1:] == [0, 1] and scaled[2].tolist()[1:] == [1, 0]


@pytest.mark.parametrize(("protocol", "objective"), [("inter_patient", "triplet"), ("split", "finetune")])
def test_unsupported_objective_names_the_protocol_that_supports_it(protocol, objective):
    config = from_dict(Config, {"finetuning": {"protocol": protocol, "objective": objective}})
    with pytest.raises(InputError, match=f"finetuning.objective: found {objective} with protocol {protocol}"):
        study_of(config)
