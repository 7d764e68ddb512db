"""What the studies' command lines make of their arguments, without a study."""

import subprocess
import sys
from unittest.mock import MagicMock

import pytest
from conftest import SAMPLE

from keras_ecg import cli
from keras_ecg.errors import InputError
from keras_ecg.experiments import commands

STUDIES = ("tune", "kfold", "final", "adapt", "pretrain", "finetune", "predict", "pipeline")


@pytest.fixture
def run(monkeypatch):
    """A function of a command and its arguments that gives the name of its study, and the calls of that module."""

    def started(name: str, *arguments: str):
        studies = MagicMock()
        monkeypatch.setattr(commands, "study", studies)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        getattr(commands, name)()
        return studies.call_args.args[0], studies.return_value

    return started


def test_no_command_waits_for_keras_before_its_arguments_are_right():
    script = f"""
import sys
from keras_ecg.errors import InputError
from keras_ecg.experiments import commands
for name in {STUDIES}:
    for arguments in (["--help"], ["--set", "training.epoch=3"], ["--nothing"]):
        sys.argv = [name, *arguments]
        try:
            getattr(commands, name)()
        except (SystemExit, InputError):
            continue
        raise AssertionError(sys.argv)
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=SAMPLE.parent, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_kfold(run):
    name, study = run("kfold", "--folds", "10", "--seeds", "3", "4", "--jobs", "2", "--set", "training.epochs=7")
    (config,) = study.run_kfold.call_args.args
    wanted = config.evaluation
    assert (name, wanted.folds, wanted.kfold_seeds, wanted.jobs, config.training.epochs) == ("kfold", 10, (3, 4), 2, 7)
    name, study = run("kfold", "--config", str(SAMPLE.parent / "configs" / "cinc2017.yaml"))
    assert name == "rhythm" and study.run_rhythm_kfold.call_args.args[0].task == "rhythm"


def test_final(run):
    name, study = run("final", "--split", "seed", "--seeds", "5", "--model", "cnn")
    (config,) = study.run_final.call_args.args
    assert name == "final" and config.model.name == "cnn"
    assert (config.evaluation.split, config.evaluation.seeds, config.evaluation.jobs) == ("seed", (5,), 1)
    _, study = run("final", "--train-records", "101", "106", "--test-records", "100")
    wanted = study.run_final.call_args.args[0].evaluation
    assert (wanted.split, wanted.train_records, wanted.test_records) == ("records", ("101", "106"), ("100",))
    name, study = run("final", "--config", str(SAMPLE.parent / "configs" / "cinc2017.yaml"))
    assert name == "rhythm" and study.run_rhythm_final.called


def test_adapt(run):
    _, study = run("adapt", "--split", "seed", "--seeds", "1", "--set", "adaptation.seconds=120")
    (config,) = study.run_adaptation.call_args.args
    assert (config.evaluation.split, config.evaluation.seeds, config.adaptation.seconds) == ("seed", (1,), 120.0)


def test_tune(run):
    _, study = run("tune", "--algorithm", "bayesian", "--max-trials", "4")
    (config,) = study.run_tuning.call_args.args
    assert (config.tuning.algorithm, config.tuning.max_trials) == ("bayesian", 4)


def test_pretrain_and_finetune(run):
    _, study = run("pretrain", "--model", "vqvae")
    (config,) = study.run_pretraining.call_args.args
    assert config.model.name == "vqvae" and not config.model.options and config.windows.sources
    name, study = run("finetune", "--protocol", "random", "--labels", "10", "0", "--weights", "mae")
    (config,) = study.study_of.return_value.call_args.args
    assert name == "finetune" and config.model.options["weights"] == "mae"
    assert (config.finetuning.protocol, config.finetuning.labels) == ("random", (10, 0))


def test_predict(run):
    record = str(SAMPLE / "213")
    _, study = run("predict", record, "--peaks", "detect")
    assert study.classify_beats.call_args.args == (record, None, "detect", ".")
    _, study = run("predict", f"{record}.hea", "--task", "rhythm", "--run", "r", "--output-dir", "out")
    assert study.classify_rhythm.call_args.args == (f"{record}.hea", "r", "out")
    with pytest.raises(InputError, match=r"nowhere/999\.hea: found no such file"):
        run("predict", "nowhere/999")


def test_the_pipeline_takes_its_stages_in_order_and_tells_what_comes_next(run, capsys):
    _, study = run("pipeline", "--stages", "final", "pack", "--jobs", "3")
    config, stages, jobs = study.run_pipeline.call_args.args
    assert (config.title, stages, jobs) == ("MIT-BIH excerpt", ("pack", "final"), 3)
    assert "next: bash run_full_pipeline.sh" in capsys.readouterr().out
    run("pipeline", "--config", str(SAMPLE.parent / "configs" / "mitdb.yaml"))
    assert not capsys.readouterr().out


def test_choices_are_those_of_the_studies():
    from keras_ecg.models.objectives import OBJECTIVES

    assert cli.OBJECTIVES == tuple(OBJECTIVES)


def test_a_foreign_choice_is_rejected(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("pretrain", "--model", "cnn")
    assert ended.value.code == 2 and "choose from" in capsys.readouterr().err
    with pytest.raises(InputError, match="unknown key 'epoch'"):
        run("tune", "--set", "training.epoch=3")
