"""Beat classifiers on encoders of windows: frozen stages, random initialisation, and evaluation."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import SAMPLE, TEST, TRAIN, with_sections

from keras_ecg.config import Config, from_dict, to_dict
from keras_ecg.contract import Contract
from keras_ecg.data.preprocess import preprocess
from keras_ecg.data.tfrecords import pack
from keras_ecg.encoders import read_contract, save_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.experiments.common import check_contract, seen_unlabelled
from keras_ecg.experiments.final import run_final
from keras_ecg.experiments.finetune import run_few_labels
from keras_ecg.experiments.probe import run_probe
from keras_ecg.files import write_json
from keras_ecg.models import build_model, load_model
from keras_ecg.models.objectives import build_objective
from keras_ecg.models.window_classifier import BeatTokens, stages
from keras_ecg.runs import verify_run

TINY = {"width": 16, "depth": 2, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
SHAPES = {"context": (400, 1), "rr": (3, 40)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny encoder of four seconds, saved like a pretraining run."""
    folder = tmp_path_factory.mktemp("encoder")
    keras.utils.set_random_seed(1)
    contract = Contract(window_seconds=4.0, leads=("MLII",), fallback_leads=("V1",))
    save_encoder(folder, build_objective("mae", (400, 1), TINY).encoder, contract)
    return str(folder)


@pytest.fixture(scope="module")
def config(tmp_path_factory, weights) -> Config:
    folder = tmp_path_factory.mktemp("classifier")
    plain = {
        "database": {
            "data_dir": str(SAMPLE),
            "hdf5_dir": str(folder / "h5"),
            "tfrecord_dir": str(folder / "tfrecord"),
            "runs_dir": str(folder / "runs"),
            "records": list(TRAIN + TEST),
        },
        "beats": {"context": {"seconds": 4.0}},
        "sequences": {"storage": "samples", "chunk_size": 64},
        "loader": {"scalograms": False, "context": True, "rr_features": True, "batch_size": 64},
        "model": {"name": "mae", "options": {"weights": weights, "reach": 2}},
        "training": {"epochs": 1},
        "finetuning": {"labels": [10], "seeds": [0, 1], "normal_beats": 100},
        "evaluation": {
            "split": "records", "train_records": list(TRAIN), "test_records": list(TEST), "seeds": [0], "bootstrap": 20,
        },
    }  # fmt: skip
    config = from_dict(Config, plain)
    preprocess(config, jobs=1)
    pack(config, jobs=1, quiet=True)
    return config


def arrays(model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


def test_pretrained_random_and_frozen_stages(weights):
    encoder = load_model(f"{weights}/encoder.keras")
    pretrained = build_model("mae", SHAPES, {"weights": weights})
    inner = pretrained.get_layer("mae_encoder")
    for mine, theirs in zip(arrays(inner), arrays(encoder), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    twin = build_model("mae", SHAPES, {"weights": weights, "random": True}).get_layer("mae_encoder")
    assert [w.shape for w in twin.weights] == [w.shape for w in inner.weights]
    assert max(np.abs(a - b).max() for a, b in zip(arrays(twin), arrays(inner), strict=True)) > 0.1
    assert len(stages(encoder)) == 4  # patch embedding, two blocks, the last norm
    trained = {}
    for frozen in (0, 1, 2, -1):
        model = build_model("mae", SHAPES, {"weights": weights, "frozen_stages": frozen})
        trained[frozen] = len(model.get_layer("mae_encoder").trainable_weights)
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = arrays(model.get_layer("mae_encoder"))
        x = {k: np.random.default_rng(0).normal(size=(8, *s)).astype("f4") for k, s in SHAPES.items()}
        model.fit(x, np.arange(8) % 5, verbose=0)
        moved = [np.abs(a - b).max() > 0 for a, b in zip(before, arrays(model.get_layer("mae_encoder")), strict=True)]
        assert sum(moved) == trained[frozen]  # only unfrozen stages have changed
    assert trained[0] > trained[1] > trained[2] > trained[-1] == 0
    with pytest.raises(InputError, match="frozen_stages is 5, but the encoder has 4 stages"):
        build_model("mae", SHAPES, {"weights": weights, "frozen_stages": 5})


def test_classifier_depends_on_tokens_at_the_beat_and_rr_features(weights, tmp_path):
    model = build_model("mae", SHAPES, {"weights": weights})
    rng = np.random.default_rng(0)
    x = {k: rng.normal(size=(4, *s)).astype("f4") for k, s in SHAPES.items()}
    out = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(out.sum(1), 1, atol=1e-5)
    other = {**x, "rr": x["rr"].copy()}
    other["rr"][:, [0, 2]] += 5  # beats of the sequence that are not labelled
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(other)), out)
    other["rr"][:, 1] += 5
    assert np.abs(keras.ops.convert_to_numpy(model(other)) - out).max() > 1e-3
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(load_model(tmp_path / "model.keras")(x)), out)
    tokens = np.arange(24, dtype=np.float32).reshape(1, 8, 3)
    np.testing.assert_array_equal(BeatTokens(2)(tokens)[0], tokens[0, 2:6].ravel())
    for shapes, options, message in (
        ({"rr": (3, 40)}, {}, "set loader.context"),
        ({"context": (1000, 1)}, {"weights": weights}, r"windows of shape \(400, 1\), not \(1000, 1\)"),
        ({"context": (400, 1)}, {"weights": weights, "reach": 21}, "reach of 21 does not fit an encoder of 40 tokens"),
        ({"context": (400, 1)}, {"weights": "nothing"}, "no pretrained encoder"),
    ):
        with pytest.raises(InputError, match=message):
            build_model("mae", shapes, options, token=0)


def test_every_objective_gives_a_classifier():
    for name, encoder in (("mae", TINY), ("contrastive", {"encoder": "cnn_lstm", "encoder_options": {"width": 16}})):
        model = build_model(name, {"context": (400, 1)}, {"encoder": encoder}, token=0, classes=2)
        assert model({"context": np.zeros((2, 400, 1), np.float32)}).shape == (2, 2)


@pytest.mark.slow
def test_held_out_evaluation_of_a_window_classifier(config):
    run = run_final(config)
    metrics = evaluate_run(run.path, 20)
    assert metrics["model"]["beats"] > 500 and verify_run(run.path)[1] == []
    assert load_model(run.path).name == "mae_classifier"


def test_input_specification_of_the_weights_is_enforced(config, weights):
    check_contract(config)
    slow = replace(config, beats=replace(config.beats, context=replace(config.beats.context, sampling_rate_hz=250.0)))
    with pytest.raises(InputError, match="'sampling_rate_hz': 100.0"):
        check_contract(slow)
    with pytest.raises(InputError, match="MLII, V1"):
        check_contract(replace(config, beats=replace(config.beats, lead="aVF")))


def test_run_reports_scored_records_in_the_pretraining_set(config, weights, tmp_path):
    seen = {"mitdb": {"records": 2, "named": ["101", "106"]}, "cinc2017": {"records": 8528}}
    write_json(tmp_path / "contract.json", to_dict(replace(read_contract(weights), seen=seen)))

    def note(database: str, records: list[str], **options) -> str:
        database = replace(config.database, name=database)
        model = replace(config.model, options={"weights": str(tmp_path), **options})
        return seen_unlabelled(replace(config, database=database, model=model), records)

    assert f"{tmp_path} was pretrained on 1 of the scored records" in note("mitdb", ["101", "100"])
    assert "on 2 of the scored records" in note("cinc2017", ["A00001", "A00002"])
    assert note("mitdb", ["100", "103"]) == note("ptbxl", ["1"]) == note("mitdb", ["101"], random=True) == ""
    assert seen_unlabelled(replace(config, model=replace(config.model, options={})), ["101"]) == ""


def with_finetuning(config, **changes) -> Config:
    return with_sections(config, finetuning=changes)


@pytest.mark.slow
def test_few_labels_with_every_baseline(config):
    run = run_few_labels(with_finetuning(config, protocol="inter_patient"))
    names = {path.name for path in run.path.glob("predictions*.npz")}
    assert names == {f"predictions{c}.npz" for c in ("", "_random_init", "_raw_signal", "_rr_features", "_scratch")}
    assert verify_run(run.path)[1] == [] and "Few labels, inter-patient split" in (run.path / "report.html").read_text()
    assert evaluate_run(run.path, 20)["model"]["subjects"] == 2


@pytest.mark.slow
def test_few_labels_by_fine_tuning_with_subsampled_subjects(config):
    run = run_few_labels(
        with_finetuning(config, protocol="subsampling", objective="finetune", baselines=[], labels=[10, 0])
    )
    labels = evaluate_run(run.path, 0)["model"]["labels"]
    assert set(labels) == {"10", "0"} and len(labels["10"]["auroc"]["per_seed"]) == 2
    history = (run.path / "history.csv").read_text()
    assert "val_loss" in history.splitlines()[0]


def test_more_labels_than_beats_are_rejected(config):
    with pytest.raises(InputError, match="in the pool of seed 0"):
        run_few_labels(
            with_finetuning(
                config, protocol="intra_patient", baselines=["rr_features"], objective="finetune", labels=[100000]
            )
        )


def test_few_labels_intra_patient(config):
    run = run_few_labels(with_finetuning(config, protocol="intra_patient", baselines=["rr_features"]))
    assert set(evaluate_run(run.path, 0)["model"]["labels"]) == {"20"}  # ten of each class
    report = (run.path / "report.html").read_text()
    assert "logistic regression on the frozen encoder" in report and "transductive: features less the median" in report


def test_linear_probe_on_all_labels(config):
    run = run_probe(with_finetuning(config, baselines=["random_init"]))
    metrics = evaluate_run(run.path, 20)
    assert set(metrics["baselines"]) == {"random_init", "majority_class"} and verify_run(run.path)[1] == []
    with pytest.raises(InputError, match="give --weights"):
        run_probe(replace(config, model=replace(config.model, options={})))
