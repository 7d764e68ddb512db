"""The search: its space, its trials after a kill, and the YAML that it hands on."""

import csv
import os
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
def test_an_odd_entry_of_a_space_is_named(entry):
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
def test_the_best_setting_is_taken_by_the_evaluations_and_other_settings_search_anew(packed, tmp_path):
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
