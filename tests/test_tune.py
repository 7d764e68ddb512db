"""Hyperparameter search: search space, resuming after a kill, and the best setting."""

import csv
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import keras_tuner
import pytest
import yaml
from conftest import with_sections

from keras_ecg.config import Config, load_config, to_dict
from keras_ecg.errors import InputError
from keras_ecg.experiments import tune
from keras_ecg.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]


def test_a_space_sets_dotted_names():
    hp = keras_tuner.HyperParameters()
    space = {
        "model.options.width": {"choice": [8, 16]},
        "training.learning_rate": {"float": {"min": 1e-4, "max": 1e-2, "log": True}},
        "training.epochs": {"int": {"min": 1, "max": 3}},
    }
    drawn = tune.create_search_space(hp, space)
    assert drawn == {"model": {"options": {"width": 8}}, "training": {"learning_rate": 1e-4, "epochs": 1}}
    assert {p.name for p in hp.space} == set(space)


@pytest.mark.parametrize("entry", [3, {"choice": 3}, {"float": {"min": 1}}, {"among": [1]}, {"choice": [1], "int": {}}])
def test_invalid_search_space_entry_is_rejected(entry):
    with pytest.raises(InputError, match=r"training\.epochs"):
        tune.create_search_space(keras_tuner.HyperParameters(), {"training.epochs": entry})


def test_shipped_spaces_draw_valid_configurations():
    for path in sorted((ROOT / "configs").glob("search_*.yaml")):
        space = yaml.safe_load(path.read_text())
        drawn = tune.create_search_space(keras_tuner.HyperParameters(), space)
        assert with_sections(Config(), **drawn)


def search_config(packed, folder: Path) -> Config:
    (folder / "space.yaml").write_text("training.learning_rate: {float: {min: 1.0e-3, max: 1.0e-2, log: true}}\n")
    tuning = {
        "algorithm": "random",
        "max_trials": 3,
        "max_epochs": 1,
        "validation_fraction": 0.5,
        "space": str(folder / "space.yaml"),
        "directory": str(folder / "searches"),
        "output": str(folder / "best.yaml"),
    }
    return with_sections(packed, tuning=tuning)


class Drawn(keras_tuner.HyperModel):
    """A model that is not trained, of a rate that is drawn."""

    objective = "val_macro_f1"

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        tune.create_search_space(hp, {"training.learning_rate": {"float": {"min": 1e-4, "max": 1e-2, "log": True}}})
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_a_search_draws_the_same_trials_under_the_same_seed(tmp_path, algorithm):
    def draws(seed: int, folder: str) -> list[float]:
        config = with_sections(Config(), tuning={"algorithm": algorithm, "seed": seed, "max_trials": 5})
        oracle = tune.make_tuner(Drawn(), config, tmp_path / folder).oracle
        return [oracle.create_trial(str(k)).hyperparameters.get("training.learning_rate") for k in range(2)]

    assert draws(0, "once") == draws(0, "again") != draws(1, "other")


class Trained(Drawn):
    """The same, of which an epoch moves a weight, the score; `stop` is called as each training ends."""

    def __init__(self, config: Config, stop=lambda trained: None):
        super().__init__("trained")
        self.config, self.stop, self.trained = config, stop, []

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        keras.utils.set_random_seed(0)
        model = super().build(hp)
        model.compile("sgd", "mse")
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, callbacks, epochs, initial_epoch=0, **kwargs):
        rate, history, weight = hp.get("training.learning_rate"), keras.callbacks.History(), model.weights[0]
        for epoch in range(initial_epoch, epochs):
            weight.assign_add([[rate]])
            history.history.setdefault(self.objective, []).append(float(weight[0, 0]))
            for callback in callbacks:
                callback.set_model(model)
                callback.on_epoch_end(epoch, {self.objective: float(weight[0, 0])})
        self.trained.append(rate)
        self.stop(self.trained)
        return history


class Killed(BaseException):
    """Exception that no code catches, so that the search ends as if its process were killed."""


def search(algorithm: str, folder: Path, stop=lambda trained: None) -> tuple[list[float], list[dict]]:
    """The rates that a search trains, and its rows."""
    config = with_sections(Config(), tuning={"algorithm": algorithm, "max_trials": 6, "max_epochs": 3})
    hypermodel = Trained(config, stop)
    with tune.search_errors(folder):
        tuner = tune.make_tuner(hypermodel, config, folder)
        tuner.search(verbose=0, **tune.search_epochs(config))
    return hypermodel.trained, tune.trial_rows(tuner)


ALGORITHMS = ("random", "bayesian", "hyperband")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """By algorithm the folder of a finished search, the rates that it trained, and its rows."""
    found = {}
    gc.freeze()  # KerasTuner collects garbage twice a trial, which takes longer than all the rest
    for algorithm in ALGORITHMS:
        folder = tmp_path_factory.mktemp("search") / algorithm
        found[algorithm] = (folder, *search(algorithm, folder))
    yield found
    gc.unfreeze()


@pytest.fixture
def copied(searched, tmp_path):
    """A function that copies the finished search of an algorithm: its new folder, rates and rows."""

    def copy(algorithm: str) -> tuple[Path, list[float], list[dict]]:
        folder, rates, rows = searched[algorithm]
        return shutil.copytree(folder, tmp_path / algorithm), rates, rows

    return copy


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_killed_search_resumes_to_the_same_result(searched, tmp_path, algorithm):
    """Killed in the fourth training, of which KerasTuner has stored the beginning alone."""

    def kill(trained):
        if len(trained) == 4:
            raise Killed

    folder, rates, rows = searched[algorithm]
    with pytest.raises(Killed):
        search(algorithm, tmp_path / "killed", kill)
    trained, found = search(algorithm, tmp_path / "killed")
    assert trained == rates[3:] and found == rows
    assert search(algorithm, tmp_path / "killed") == ([], rows)


@pytest.mark.parametrize("content", ["", "half", "[]", "{}"])
@pytest.mark.parametrize("name", ["oracle.json", "tuner0.json", "trial_3/trial.json", "trial_3/result.json"])
def test_a_damaged_file_of_a_search_is_discarded(copied, capsys, name, content):
    """KerasTuner's own files cost nothing; a trial without a result is trained again."""
    folder, rates, rows = copied("random")
    path = folder / name
    path.write_text(path.read_text()[: path.stat().st_size // 2] if content == "half" else content)
    again = [rates[3]] if path.name == "result.json" else []
    assert search("random", folder) == (again, rows)
    harmless = (name, content) == ("tuner0.json", "{}")  # as KerasTuner writes it
    lines = [line for line in capsys.readouterr().out.splitlines() if "discarded" in line]
    assert [line.partition(":")[0] for line in lines] == ([] if harmless else [str(path)])
    assert search("random", folder) == ([], rows) and "discarded" not in capsys.readouterr().out


def test_a_result_without_scores_is_discarded(copied, capsys):
    folder, rates, rows = copied("random")
    path = folder / "trial_2" / "result.json"
    whole = read_json(path)
    for history in ({}, [1.0], {"val_macro_f1": 1.0}, {"val_macro_f1": ["a"]}, {"loss": [1.0]}):
        write_json(path, {**whole, "history": history})
        assert search("random", folder) == ([rates[2]], rows)
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "discarded" in line]
        assert line.startswith(f"{path}: found ")


def test_deleted_trial_is_trained_again(copied):
    folder, rates, rows = copied("random")
    shutil.rmtree(folder / "trial_3")
    assert search("random", folder) == ([rates[3]], rows)


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_damaged_weights_of_a_continued_trial_are_trained_again(copied, capsys, damage):
    folder, _, rows = copied("hyperband")
    results = [folder / f"trial_{row['trial']}" / "result.json" for row in rows]
    continued = {path: read_json(path)["values"] for path in results if "tuner/trial_id" in path.read_text()}
    (result, values), *_ = continued.items()
    weights = folder / f"trial_{values['tuner/trial_id']}" / "weights.npz"
    if damage == "missing":
        weights.unlink()
    else:
        os.truncate(weights, weights.stat().st_size // 2 if damage == "truncated" else 0)
    assert search("hyperband", folder) == ([], rows)  # nothing needs them
    result.unlink()
    rate = values["training.learning_rate"]
    assert search("hyperband", folder) == ([rate, rate], rows)
    assert f"{weights}: found" in capsys.readouterr().out


def test_a_search_on_a_full_disk_ends_and_a_rerun_finishes_it(searched, tmp_path):
    """The error of the third trial is no result of it."""

    def full(trained):
        if len(trained) == 3:
            raise OSError(28, "No space left on device", "checkpoint.weights.h5")

    _, rates, rows = searched["random"]
    with pytest.raises(OSError, match="No space left"):
        search("random", tmp_path / "full", full)
    assert search("random", tmp_path / "full") == (rates[2:], rows)


def test_failing_trials_are_rejected_with_one_line_at_every_rerun(tmp_path):
    def fail(trained):
        raise ValueError("no such layer")

    for _ in range(2):
        with pytest.raises(InputError, match="consecutive failed trials: ValueError: no such layer"):
            search("random", tmp_path / "failing", fail)
    assert len(search("random", tmp_path / "failing")[0]) == 6  # a failed trial is tried again


def trials(folder: Path) -> list[dict]:
    (path,) = folder.glob("searches/*/trials.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


def run(config: Config, folder: Path, kill_when=None) -> int:
    (folder / "config.yaml").write_text(yaml.safe_dump(to_dict(config)))
    command = [sys.executable, str(ROOT / "run_hyperparameter_tuning.py"), "--config", str(folder / "config.yaml")]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if kill_when is not None and kill_when():
                process.send_signal(signal.SIGKILL)
            time.sleep(0.05)
        return process.returncode


@pytest.mark.slow
def test_a_killed_search_resumes_with_the_same_trials(packed, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert run(search_config(packed, whole), whole) == 0
    config = search_config(packed, broken)
    # Killed while the second trial runs: its folder is there, its result is not.
    code = run(config, broken, lambda: len(list(broken.glob("searches/*/trial_*/trial.json"))) >= 2)
    assert code == -signal.SIGKILL
    assert run(config, broken) == 0
    assert sorted(map(str, trials(broken))) == sorted(map(str, trials(whole)))
    assert (broken / "best.yaml").read_text() == (whole / "best.yaml").read_text()


@pytest.mark.slow
def test_evaluations_accept_the_best_setting_and_new_settings_start_a_new_search(packed, tmp_path):
    config = search_config(packed, tmp_path)
    best = tune.run_tuning(config)
    rows = trials(tmp_path)
    assert len(rows) == 3 and all(float(row["val_macro_f1"]) >= 0 for row in rows)
    top = max(rows, key=lambda row: float(row["val_macro_f1"]))
    assert best["training"]["learning_rate"] == float(top["training.learning_rate"])
    assert load_config(tmp_path / "best.yaml").training.learning_rate == best["training"]["learning_rate"]
    (picture,) = tmp_path.glob("searches/*/trials.png")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    other = with_sections(config, training={"weight_decay": 0.5})
    tune.run_tuning(other)
    assert len(list((tmp_path / "searches").iterdir())) == 2
