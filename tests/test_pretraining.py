"""Pretraining on the bundled excerpt: run folder, resuming, alarms, and the encoder's input specification."""

import csv
import json
import shutil
import sys
from argparse import Namespace
from dataclasses import replace

import keras
import numpy as np
import pytest
import wfdb
import yaml
from conftest import SAMPLE, with_sections

from keras_ecg import cli
from keras_ecg.baselines import interpolate_masked
from keras_ecg.commands import options
from keras_ecg.config import Config, Model, from_dict, merge, to_dict
from keras_ecg.contract import Contract
from keras_ecg.data.window_stream import split_subjects
from keras_ecg.data.windows import pack_windows, window_manifest
from keras_ecg.encoders import load_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.evaluation.pretraining import loss_ratio
from keras_ecg.experiments import pretrain
from keras_ecg.files import write_json
from keras_ecg.metrics import effective_rank
from keras_ecg.models.loading import load_model
from keras_ecg.models.objectives import OBJECTIVES, build_objective
from keras_ecg.predictions import read_npz, write_npz
from keras_ecg.presets import list_presets
from keras_ecg.resources import PRESETS
from keras_ecg.runs import RunFolder, find_or_create, verify_run
from keras_ecg.runs.release import records_of, release

TINY = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
CONTRASTIVE = {"objective": "cmsc", "encoder": "cnn", "encoder_options": {"width": 16}, "projection": 16}


def settings(folder, **sections) -> Config:
    plain = {
        "windows": {
            "sources": [{"database": "sample", "folder": str(SAMPLE), "records": ["114", "118", "124", "208"]}],
            "overlap": 0.0,
            "tfrecord_dir": str(folder / "windows"),
            "validation_fraction": 0.5,
        },
        "database": {"runs_dir": str(folder / "runs")},
        "model": {"name": "mae", "options": TINY},
        "loader": {"batch_size": 8, "seed": 1},
        "training": {"epochs": 2, "beta_2": 0.95},
        "evaluation": {"bootstrap": 20},
    }
    return from_dict(Config, merge(plain, sections))


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Config:
    config = settings(tmp_path_factory.mktemp("pretraining"))
    pack_windows(config, jobs=1, quiet=True)
    return config


@pytest.fixture(scope="module")
def run(packed):
    return pretrain.run_pretraining(packed)


def test_run_folder_is_complete(run, packed, capsys):
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "config.yaml", "environment.json", "history.csv", "metrics.json", "predictions.npz",
        "predictions_random_init.npz", "predictions_interpolation.npz",
        "pictures.npz", "encoder.keras", "contract.json", "report.html",
    }  # fmt: skip
    assert "parts" not in names and run.finished
    rows = list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))
    assert [(row["seed"], row["epoch"]) for row in rows] == [("1", "1"), ("1", "2")]
    assert {"val_relative_loss", "effective_rank"} <= set(rows[0])
    metrics = json.loads((run.path / "metrics.json").read_text())
    stored = read_npz(run.path / "predictions.npz")
    assert metrics["model"]["relative_loss"]["mean"] == pytest.approx(
        stored["error"].sum() / stored["mean_error"].sum()
    )
    assert metrics["model"]["windows"] == len(stored["error"]) and set(metrics["model"]["databases"]) == {"mitdb"}
    assert verify_run(run.path)[1] == []
    report = (run.path / "report.html").read_text()
    assert "Reconstructions" in report and "linear interpolation" in report
    assert pretrain.run_pretraining(packed).path == run.path  # nothing to do
    assert "finished before" in capsys.readouterr().out
    windows = shutil.copytree(packed.windows.tfrecord_dir, f"{packed.windows.tfrecord_dir}_moved")
    moved = with_sections(packed, windows={"tfrecord_dir": str(windows)})  # the folder does not change the result
    assert pretrain.run_pretraining(moved).path == run.path


RESUMED = {
    "mae": ({**TINY, "dropout": 0.1}, {"gradient_accumulation": 3, "ema_momentum": 0.9}),
    "contrastive": ({"encoder": "cnn", "encoder_options": {"width": 8}, "projection": 8}, {"ema_momentum": 0.9}),
    "vqvae": ({"encoder_options": {"width": 8}, "codes": 16, "code_width": 4, "decoder_width": 8, "decoder_depth": 1,
               "decoder_heads": 2}, {}),
    "st_mem": ({**TINY, "patch_samples": 50}, {}),
    "ecg_jepa": ({"width": 16, "depth": 1, "heads": 2, "predictor_width": 8, "predictor_depth": 1,
                  "predictor_heads": 2, "momentum": 0.5}, {"gradient_accumulation": 2}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("contrastive", [(1, 3)]),
        *(pytest.param(name, [(1, 3), (1, None)], marks=pytest.mark.slow) for name in OBJECTIVES),
    ],
)
def test_killed_training_resumes_to_the_same_result(packed, tmp_path, monkeypatch, name, moments):
    """Resumed after a kill within an epoch, or before the row of a finished epoch is written.

    A finished training is kept: a kill while it is scored loses none of it.
    """
    options, training = RESUMED[name]
    config = with_sections(packed, training={"epochs": 3, **training})
    whole = find_or_create(tmp_path, "pretrain", name, "", to_dict(config), "")
    killed, traced = [], []

    class Watched(pretrain.History):
        def kill(self, batch):
            if self.run is whole and (self.epoch, batch) in moments:
                killed.append(RunFolder(shutil.copytree(whole.path, tmp_path / f"killed_{len(killed)}")))

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            self.kill(batch)

        def on_epoch_end(self, epoch, logs=None):
            self.kill(None)
            super().on_epoch_end(epoch, logs)

    monkeypatch.setattr(pretrain, "History", Watched)

    def trained(run):
        keras.utils.set_random_seed(1)
        model = build_objective(name, (1000, 1), options, 1)
        step = model.train_step
        model.train_step = lambda *given: traced.append(run) or step(*given)
        pretrain.fit_objective(run, model, config, window_manifest(config), *split_subjects(config))
        return model.get_weights(), (run.path / "history.csv").read_text()

    weights, history = trained(whole)
    assert len(history.splitlines()) == 4 and len(killed) == len(moments)
    for run in (*killed, killed[-1]):
        found, rows = trained(run)
        assert rows == history
        for mine, theirs in zip(found, weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert traced == [whole, *killed]  # each training that takes a step traces it once


@pytest.mark.slow
def test_diverged_training_is_rejected_with_one_line_at_every_rerun(packed, tmp_path):
    config = with_sections(packed, database={"runs_dir": str(tmp_path)}, training={"learning_rate": 1e30})
    for _ in range(2):
        with pytest.raises(InputError, match="lower training.learning_rate"):
            pretrain.run_pretraining(config)


@pytest.mark.slow
def test_an_interrupted_training_resumes_where_it_stopped(packed, tmp_path, monkeypatch):
    config = with_sections(packed, database={"runs_dir": str(tmp_path)}, training={"epochs": 3})

    class Stop(pretrain.History):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain, "History", Stop)
        pretrain.run_pretraining(config)
    steps = []

    class Watch(pretrain.History):
        def on_epoch_begin(self, epoch, logs=None):
            steps.append((epoch, int(self.model.optimizer.iterations)))

    monkeypatch.setattr(pretrain, "History", Watch)
    run = pretrain.run_pretraining(config)
    rows = list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"] and run.environment["resumed"] == 1
    assert [epoch for epoch, _ in steps] == [1, 2] and steps[0][1] == steps[1][1] - steps[0][1] > 0


@pytest.mark.slow
def test_kill_during_scoring_keeps_the_training(packed, tmp_path, monkeypatch):
    config = with_sections(packed, database={"runs_dir": str(tmp_path)}, training={"epochs": 1})

    def stop(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain, "score", stop)
        pretrain.run_pretraining(config)
    (folder,) = tmp_path.glob("pretrain_mae_*")
    history = (folder / "history.csv").read_bytes()
    trained = keras.models.load_model(folder / "encoder.keras").get_weights()
    run = pretrain.run_pretraining(config)
    assert run.path == folder and run.finished and (folder / "history.csv").read_bytes() == history
    for mine, theirs in zip(load_encoder(folder).model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_windows_of_a_test_subject_are_rejected(tmp_path):
    config = settings(tmp_path)
    sources = [{"database": "sample", "folder": str(SAMPLE), "records": ["114", "200", "208"]}]
    config = with_sections(config, windows={"sources": sources})
    pack_windows(config, jobs=1, quiet=True)
    with pytest.raises(InputError, match="mitdb/200"):
        pretrain.run_pretraining(config)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "simclr"}, "one of mae, contrastive"),
        ({"options": {"depht": 2}}, "did you mean 'depth'"),
        ({"options": {**TINY, "patch_samples": 7}}, "that fit together"),
    ],
)
def test_bad_hyperparameters_are_rejected(packed, model, message):
    with pytest.raises(InputError, match=message):
        pretrain.run_pretraining(with_sections(packed, model=model))


def test_too_few_windows_for_a_batch(packed, tmp_path):
    config = with_sections(packed, loader={"batch_size": 4096}, database={"runs_dir": str(tmp_path)})
    with pytest.raises(InputError, match="at least one batch of 4096"):
        pretrain.run_pretraining(config)


def test_single_held_out_subject_is_rejected_for_contrastive_loss(packed):
    contrastive = {"name": "contrastive", "options": {"objective": "cmsc"}}
    config = with_sections(packed, windows={"validation_fraction": 0.1}, model=contrastive)
    with pytest.raises(InputError, match="the loss contrasts subjects"):
        pretrain.run_pretraining(config)


@pytest.mark.parametrize("objective", [pytest.param("nt_xent", marks=pytest.mark.slow), "cmsc"])
def test_contrastive(packed, tmp_path, objective):
    options = {**CONTRASTIVE, "objective": objective}
    if objective == "cmsc":
        options["augment"] = {"probability": 0.0}
    path = tmp_path / "config.yaml"
    model = {"name": "contrastive", "options": options}
    changed = with_sections(packed, database={"runs_dir": str(tmp_path)}, training={"epochs": 1}, model=model)
    path.write_text(yaml.safe_dump(to_dict(changed)))
    cli.run(["pretrain", "--config", str(path)])
    (folder,) = tmp_path.glob("pretrain_contrastive_*")
    metrics = json.loads((folder / "metrics.json").read_text())
    stored = read_npz(folder / "predictions.npz")
    assert metrics["kind"] == "contrastive"
    assert metrics["model"]["effective_rank"] == pytest.approx(effective_rank(stored["embeddings"]))
    assert metrics["model"]["contrastive_loss"] == pytest.approx(stored["loss"].mean())
    same = read_npz(folder / "predictions_random_init.npz")
    assert stored["subject"].tolist() == same["subject"].tolist()  # the same batches
    assert verify_run(folder)[1] == [] and "Augmented views" in (folder / "report.html").read_text()
    encoder = load_encoder(folder)
    seconds = 5 if objective == "cmsc" else 10
    assert encoder.contract.window_seconds == seconds and encoder.model.input_shape[1:] == (100 * seconds, 1)


def test_loss_ratio():
    error, chance = np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 2, 8])
    found = loss_ratio(np.array(["a", "a", "b", "c"]), error, chance, 400, 0)
    assert found["mean"] == pytest.approx(10 / 14) and found["low"] < 10 / 14 < found["high"]
    assert found["low"] >= 0.5 and found["high"] <= 1.5  # no resample leaves the subjects' own ratios
    assert loss_ratio(np.array(["a"] * 4), error, chance, 0, 0) == {"mean": 10 / 14, "low": None, "high": None}


def write_masked(folder, share, baseline=2.0):
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.5, 1.5, 300)
    subject = np.repeat([f"d/{k}" for k in range(30)], 10)
    write_npz(folder / "predictions.npz", subject=subject, error=share * chance, mean_error=chance)
    write_npz(folder / "predictions_random_init.npz", subject=subject, error=baseline * chance, mean_error=chance)
    return evaluate_run(folder, bootstrap=50, kind="masked")["alarms"]


def test_alarms_of_a_masked_autoencoder(tmp_path):
    assert write_masked(tmp_path, 0.6) == []
    (alarm,) = write_masked(tmp_path, 1.0)
    assert "no better than that of predicting each window's mean" in alarm
    (alarm,) = write_masked(tmp_path, 0.9, 0.8)
    assert 'not below that of the baseline "randomly initialised encoder"' in alarm
    stored = read_npz(tmp_path / "predictions.npz")
    write_npz(tmp_path / "predictions.npz", **{**stored, "error": np.full(300, np.nan)})
    with pytest.raises(InputError, match="non-finite"):
        evaluate_run(tmp_path, kind="masked")


def test_alarms_of_a_contrastive_encoder(tmp_path):
    rng = np.random.default_rng(0)
    spread, flat = rng.normal(size=(100, 8)), rng.normal(size=(100, 1)) * np.ones(8)
    arrays = {"log_n": np.full(5, 4.0), "subject": np.repeat("d/0", 100)}

    def alarms(loss, embeddings):
        write_npz(tmp_path / "predictions.npz", loss=np.full(5, loss), embeddings=embeddings, **arrays)
        return evaluate_run(tmp_path, kind="contrastive")["alarms"]

    assert alarms(1.0, spread) == []
    assert ["log N" in alarm for alarm in alarms(3.99, spread)] == [True]
    assert ["collapsed" in alarm for alarm in alarms(1.0, flat)] == [True]


def test_alarms_of_predicted_embeddings(tmp_path):
    rng = np.random.default_rng(0)
    spread, flat = rng.normal(size=(300, 8)), rng.normal(size=(300, 1)) * np.ones(8)
    subject, chance = np.repeat([f"d/{k}" for k in range(30)], 10), rng.uniform(0.5, 1.5, 300)

    def alarms(share, embeddings):
        own = {"subject": subject, "error": share * chance, "mean_error": chance, "embeddings": embeddings}
        write_npz(tmp_path / "predictions.npz", **own)
        write_npz(tmp_path / "predictions_random_init.npz", **{**own, "mean_error": 2 * chance})  # its own targets
        return evaluate_run(tmp_path, bootstrap=50, kind="predictive")["alarms"]

    assert alarms(0.5, spread) == []
    assert ["nothing was learned" in alarm for alarm in alarms(1.0, spread)] == [True]
    assert ["collapsed" in alarm for alarm in alarms(0.5, flat)] == [True]
    metrics = evaluate_run(tmp_path, bootstrap=50, kind="predictive")
    assert metrics["kind"] == "predictive" and metrics["model"]["jepa_loss"] == pytest.approx(0.5 * chance.mean())
    assert metrics["model"]["effective_rank"] == pytest.approx(effective_rank(flat))


def test_alarms_of_a_codebook(tmp_path):
    rng = np.random.default_rng(0)
    subject, chance = np.repeat([f"d/{k}" for k in range(30)], 10), rng.uniform(0.5, 1.5, 300)

    def evaluated(counts):
        own = {"subject": subject, "error": 0.1 * chance, "mean_error": chance}
        write_npz(tmp_path / "predictions.npz", **own, code_counts=counts)
        return evaluate_run(tmp_path, bootstrap=50, kind="quantized")

    found = evaluated(np.array([10, 10, 20, 0]))
    model, share = found["model"], np.array([0.25, 0.25, 0.5])
    assert found["kind"] == "quantized" and found["alarms"] == []
    assert model["r2"]["mean"] == pytest.approx(0.9) and model["r2"]["low"] <= 0.9 <= model["r2"]["high"]
    assert (model["codes"], model["usage"]) == (4, 0.75)
    assert model["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    (alarm,) = evaluated(np.eye(8)[0])["alarms"]
    assert "12% of its 8 codes are used, with a perplexity of 1.0" in alarm


TWELVE = {
    "st_mem": {**TINY, "patch_samples": 50},
    "ecg_jepa": {"width": 16, "depth": 1, "heads": 2, "predictor_width": 8, "predictor_depth": 1, "predictor_heads": 2},
    "vqvae": {"encoder_options": {"width": 8}, "codes": 16, "code_width": 4, "decoder_width": 8, "decoder_depth": 1,
              "decoder_heads": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", ["vqvae", *(pytest.param(n, marks=pytest.mark.slow) for n in ("st_mem", "ecg_jepa"))])
def test_the_objectives_of_twelve_leads(packed, tmp_path, name):
    model = {"name": name, "options": TWELVE[name]}
    training = {"epochs": 1, "gradient_accumulation": 2}
    config = with_sections(packed, database={"runs_dir": str(tmp_path)}, training=training, model=model)
    run = pretrain.run_pretraining(config)
    metrics = json.loads((run.path / "metrics.json").read_text())
    kind = {"st_mem": "masked", "ecg_jepa": "predictive", "vqvae": "quantized"}[name]
    assert metrics["kind"] == kind and set(metrics["baselines"]) == {"random_init"}
    assert verify_run(run.path)[1] == []
    report = (run.path / "report.html").read_text()
    assert ("Reconstructions" in report) == (name != "ecg_jepa")
    assert ("perplexity" in report) == (name == "vqvae")
    (row,) = csv.DictReader((run.path / "history.csv").read_text().splitlines())
    expected = {"relative_loss", "val_relative_loss", "effective_rank"}
    assert set(row) >= expected | ({"usage", "perplexity"} if name == "vqvae" else set())
    encoder = load_encoder(run.path)
    assert encoder.model.output_shape[2] == (8 if name == "vqvae" else 16)
    assert (run.path / "model.keras").is_file() == (name == "vqvae")
    if name == "vqvae":
        model, windows = load_model(run.path), read_npz(run.path / "pictures.npz")["signals"]
        codes = model.codes_of(windows)
        assert codes.shape == (len(windows), 100) and model.signals_of_codes(codes).shape == windows.shape


def test_linear_interpolation_of_masked_samples():
    signals = np.array([[0.0, 9, 9, 3, 9], [9, 2, 9, 9, 8]])[..., None]
    hidden = np.array([[0, 1, 1, 0, 1], [1, 0, 1, 1, 0]], bool)[..., None]
    expected = [[0, 1, 2, 3, 3], [2, 2, 4, 6, 8]]
    np.testing.assert_allclose(interpolate_masked(signals, hidden)[..., 0], expected)
    assert signals[0, 1, 0] == 9  # visible samples do not change


def test_encoder_resamples_and_filters_recordings(run, packed):
    stored = wfdb.rdrecord(str(SAMPLE / "114"))
    encoder = load_encoder(run.path)
    tokens = encoder(stored.p_signal, stored.fs, stored.sig_name)
    windows = encoder.contract.windows(stored.p_signal, stored.fs, stored.sig_name)
    assert tokens.shape == (30, 100, 16) and windows.shape == (30, 1000, 1)
    np.testing.assert_allclose(windows.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(encoder.embed(stored.p_signal, stored.fs, stored.sig_name), tokens.mean(1), atol=1e-6)
    assert not encoder.model.trainable_weights
    contract = json.loads((run.path / "contract.json").read_text())
    seen = contract["seen"]["sample"]
    assert contract["units"] == "mV" and seen["records"] == 4 and seen["named"] == ["114", "118", "124", "208"]
    from keras_ecg.data.window_stream import create_window_dataset

    # The encoder's windows equal those of the pretraining stream.
    trained_on = next(iter(create_window_dataset(packed, 30, False, ["mitdb/114"])))["signals"].numpy()
    np.testing.assert_allclose(windows, trained_on, atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": ["aVR"]}, "MLII or one of"),
        ({"leads": ["MLII", "V1"]}, "the names of its C leads"),
        ({"signal": np.full((3600, 1), np.nan)}, "NaN or infinite samples"),
        ({"signal": 1000 * np.random.default_rng(0).normal(size=(3600, 1))}, "mV"),
        ({"signal": np.zeros((360, 1))}, "at least 10 s"),
        ({"rate": 0.0}, "positive sampling rate"),
    ],
)
def test_input_specification_is_enforced(run, change, message):
    given = {"signal": np.random.default_rng(0).normal(size=(3600, 1)), "rate": 360.0, "leads": ["MLII"]} | change
    with pytest.raises(InputError, match=message):
        load_encoder(run.path)(given["signal"], given["rate"], given["leads"])


def test_missing_encoder_and_mismatched_contract_are_rejected(run, tmp_path):
    with pytest.raises(InputError, match="no pretrained encoder"):
        load_encoder("nothing")
    (tmp_path / "encoder.keras").write_bytes((run.path / "encoder.keras").read_bytes())
    contract = json.loads((run.path / "contract.json").read_text())
    (tmp_path / "contract.json").write_text(json.dumps({**contract, "window_seconds": 5.0}))
    with pytest.raises(InputError, match="the input shape of encoder.keras"):
        load_encoder(tmp_path)


def test_releasing_an_encoder(run, tmp_path):
    (tmp_path / "Research_Runs").symlink_to(run.path.parent)
    metrics = json.loads((run.path / "metrics.json").read_text())
    if metrics["alarms"]:
        with pytest.raises(InputError, match="alarms"):
            release(tmp_path, run.path.name, "tiny")
        good = json.dumps({**metrics, "alarms": []})
    else:
        good = json.dumps(metrics)
    copy = tmp_path / "copy" / "Research_Runs" / run.path.name
    shutil.copytree(run.path, copy)
    (copy / "metrics.json").write_text(good)
    target = release(tmp_path / "copy", run.path.name, "tiny")
    card = (target / "README.md").read_text()
    assert "| sample | 4 | 4 |" in card and "114 118 124 208" in card and 'ke.Encoder.from_preset("tiny")' in card
    assert json.loads((target / "preset.json").read_text())["metric"]["name"] == "normalized validation loss"
    assert load_encoder(target).contract == load_encoder(run.path).contract


def test_tracking(run, packed, monkeypatch):
    assert pretrain.trackers(run, packed) == []
    config = with_sections(packed, tracking={"tensorboard": True})
    (board,) = pretrain.trackers(run, config)
    assert isinstance(board, keras.callbacks.TensorBoard) and board.log_dir == str(run.path / "logs")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="pip install wandb"):
        pretrain.trackers(run, with_sections(config, tracking={"wandb_project": "ecg"}))

    class FakeRun:
        logged: list = []

        def log(self, values, step):
            self.logged.append((step, values))

    class Fake:
        @staticmethod
        def init(project, name, config):
            assert project == "ecg" and name == run.path.name and config["model"]["name"] == "mae"
            return FakeRun()

    monkeypatch.setitem(sys.modules, "wandb", Fake)
    *_, callback = pretrain.trackers(run, with_sections(config, tracking={"wandb_project": "ecg"}))
    callback.on_epoch_end(0, {"loss": 1.0})
    assert FakeRun.logged == [(0, {"loss": 1.0})]


def test_random_weights_equal_the_random_init_baseline(packed):
    keras.utils.set_random_seed(0)
    model = build_objective("mae", (1000, 1), TINY, 0)
    x = {"signals": np.random.default_rng(0).normal(size=(8, 1000, 1)).astype(np.float32), "subject": np.arange(8)}
    model.compile()
    logs = model.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    again = model.evaluate(x["signals"], batch_size=8, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "masked_loss", "relative_loss"} and logs["relative_loss"] > 0.9
    assert again["relative_loss"] == pytest.approx(logs["relative_loss"], rel=0.1)  # a dict or the signals alone


@pytest.mark.parametrize("name", [name for name, kind in list_presets().items() if kind == "Encoder"])
def test_released_encoders_embed_a_recording(name):
    stored = wfdb.rdrecord(str(SAMPLE / "114"), sampto=7200)
    folder, encoder = PRESETS / name, load_encoder(name)
    leads = encoder.contract.leads[: encoder.contract.leads_at_once]
    vectors = encoder.embed(np.repeat(stored.p_signal[:, :1], len(leads), axis=1), stored.fs, leads)
    assert len(vectors) == 20 // encoder.contract.window_seconds and np.isfinite(vectors).all()
    assert np.ptp(vectors, axis=0).max() > 0.01  # embeddings depend on the window
    assert (folder / "encoder.keras").stat().st_size <= 5_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"| {database} | {seen['records']:,} |" in card for database, seen in encoder.contract.seen.items())
    assert f'ke.Encoder.from_preset("{name}")' in card


def test_card_lists_pretraining_records():
    assert records_of({"records": ["101", "106"]}) == "101 106"
    assert records_of({"records": [], "folds": [1, 2]}) == "all records of folds 1 2"


@pytest.mark.parametrize(
    ("run", "model", "given", "expected"),
    [
        ("pretrain_contrastive_20260101T000000Z", "mae", None, "contrastive"),
        ("pretrain_ecg_jepa_20260101T000000Z", "mae", None, "ecg_jepa"),
        ("pretrain_contrastive_20260101T000000Z", "mae", "mae", "mae"),  # a stored name has precedence
        ("pretrain_contrastive_20260101T000000Z", "cnn", None, "cnn"),  # a classifier on an encoder
        ("renamed", "mae", None, "mae"),
    ],
)
def test_contract_gives_the_pretrained_model(tmp_path, run, model, given, expected):
    write_json(tmp_path / "contract.json", to_dict(Contract(run=run)))
    config = replace(Config(), model=Model(model))
    found = options.with_model(config, Namespace(model=given, weights=str(tmp_path), set=[])).model
    assert found.name == expected and found.options["weights"] == str(tmp_path)
