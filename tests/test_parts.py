"""Parallel folds: output and failures. test_faults.py kills and resumes them."""

from pathlib import Path

import pytest
from conftest import with_sections

from keras_ecg.errors import InputError
from keras_ecg.experiments.parts import fit_folds
from keras_ecg.files import read_json, write_json


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_fold_is_fitted_and_its_output_shown(jobs, tmp_path, capsys):
    fit_folds(print, [("one", 1), ("two", 2), ("three", 3)], jobs)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[-3:]) == ["one 1", "three 3", "two 2"] and len(lines) == 3 + (jobs > 1)
    fit_folds(write_json, [(tmp_path / "a.json", [1]), (tmp_path / "b.json", [2])], jobs)
    assert (read_json(tmp_path / "a.json"), read_json(tmp_path / "b.json")) == ([1], [2])


def test_outputs_of_parallel_folds_are_not_mixed(capsys):
    fit_folds(print, [tuple(name * 1000) for name in "ab"], 2)
    _, *lines = capsys.readouterr().out.splitlines()
    assert sorted(line.replace(" ", "") for line in lines) == ["a" * 1000, "b" * 1000]


@pytest.mark.parametrize("jobs", [1, 2])
def test_failing_fold_raises_its_error(jobs, tmp_path):
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(InputError, match=r"torn\.json: found .*; expected"):
        fit_folds(read_json, [(tmp_path / "torn.json",)], jobs)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"evaluation": {"jobs": 0}}, r"evaluation\.jobs: found 0; expected at least 1"),
        ({"training": {"class_weights": [1, 2]}}, "class_weights: found 2 weights; expected 5"),
        ({"model": {"ensemble_members": [{"name": "cnn"}]}}, r"training\.ensemble_size: found 1; expected at least 2"),
    ],
)
@pytest.mark.parametrize("experiment", ["final", "kfold"])
def test_invalid_settings_are_rejected_before_a_run_folder_exists(packed, tmp_path, experiment, invalid, message):
    from keras_ecg.experiments.final import run_final
    from keras_ecg.experiments.kfold import run_kfold

    config = with_sections(packed, database={"runs_dir": str(tmp_path / "runs")}, evaluation={"folds": 2})
    with pytest.raises(InputError, match=message):
        {"final": run_final, "kfold": run_kfold}[experiment](with_sections(config, **invalid))
    assert not Path(config.database.runs_dir).exists()
