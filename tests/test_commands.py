"""The configuration that each training command makes of its arguments; no experiment is run."""

from unittest.mock import MagicMock

import pytest
from conftest import SAMPLE

from keras_ecg import cli
from keras_ecg.commands import experiments, options, predict
from keras_ecg.errors import InputError


@pytest.fixture
def run(monkeypatch):
    """A function of a command line that gives the name of the experiment's module, and the calls of that module."""

    def started(*arguments: str):
        modules = MagicMock()
        monkeypatch.setattr(experiments, "experiment", modules)
        cli.run(arguments)
        return modules.call_args.args[0], modules.return_value

    return started


def test_kfold(run):
    name, module = run("kfold", "--folds", "10", "--seeds", "3", "4", "--jobs", "2", "--set", "training.epochs=7")
    (config,) = module.run_kfold.call_args.args
    found = config.evaluation
    assert (name, found.folds, found.kfold_seeds, found.jobs, config.training.epochs) == ("kfold", 10, (3, 4), 2, 7)
    name, module = run("kfold", "--config", str(SAMPLE.parent / "configs" / "cinc2017.yaml"))
    assert name == "rhythm" and module.run_rhythm_kfold.call_args.args[0].task == "rhythm"


def test_evaluate(run):
    name, module = run("evaluate", "--split", "seed", "--seeds", "5", "--model", "cnn")
    (config,) = module.run_final.call_args.args
    assert name == "final" and config.model.name == "cnn"
    assert (config.evaluation.split, config.evaluation.seeds, config.evaluation.jobs) == ("seed", (5,), 1)
    _, module = run("evaluate", "--train-records", "101", "106", "--test-records", "100")
    found = module.run_final.call_args.args[0].evaluation
    assert (found.split, found.train_records, found.test_records) == ("records", ("101", "106"), ("100",))
    name, module = run("evaluate", "--config", "cinc2017")
    assert name == "rhythm" and module.run_rhythm_final.called


def test_adapt(run):
    _, module = run("adapt", "--split", "seed", "--seeds", "1", "--set", "adaptation.seconds=120")
    (config,) = module.run_adaptation.call_args.args
    assert (config.evaluation.split, config.evaluation.seeds, config.adaptation.seconds) == ("seed", (1,), 120.0)


def test_tune(run):
    _, module = run("tune", "--algorithm", "bayesian", "--max-trials", "4")
    (config,) = module.run_tuning.call_args.args
    assert (config.tuning.algorithm, config.tuning.max_trials) == ("bayesian", 4)


def test_pretrain_and_finetune(run):
    _, module = run("pretrain", "--model", "vqvae")
    (config,) = module.run_pretraining.call_args.args
    assert config.model.name == "vqvae" and not config.model.options and config.windows.sources
    name, module = run("finetune", "--protocol", "intra_patient", "--labels", "10", "0", "--weights", "mae")
    (config,) = module.study_of.return_value.call_args.args
    assert name == "finetune" and config.model.options["weights"] == "mae"
    assert (config.finetuning.protocol, config.finetuning.labels) == ("intra_patient", (10, 0))


def test_encoders_to_compare_with_reach_the_configuration(run):
    _, module = run("finetune", "--compare-with", "mae", "st-mem", "--pretrained-seeds", "FOLDER")
    (config,) = module.study_of.return_value.call_args.args
    assert config.finetuning.compare_with == ("mae", "st-mem")
    assert config.finetuning.pretrained_seeds == ("FOLDER",)


@pytest.mark.parametrize(
    ("arguments", "new"),
    [
        (("--against", "mae"), "--compare-with"),
        (("--replicas", "mae"), "--pretrained-seeds"),
        (("--protocol", "disjoint"), "inter_patient"),
        (("--protocol", "random"), "intra_patient"),
    ],
)
def test_an_old_name_is_an_error_that_gives_the_new_one(run, arguments, new):
    with pytest.raises(InputError, match=f"found the old name .*; expected {new}; use"):
        run("finetune", *arguments)


def test_predict(monkeypatch):
    modules = {name: MagicMock() for name in ("keras_ecg.databases.recordings", "keras_ecg.experiments.predict")}
    monkeypatch.setattr(predict, "import_quietly", modules.__getitem__)
    module, record = modules["keras_ecg.experiments.predict"], str(SAMPLE / "213")
    cli.run(["predict", record, "--peaks", "detect"])
    assert module.classify_beats.call_args.args == (record, None, "detect", ".")
    cli.run(["predict", f"{record}.hea", "--task", "rhythm", "--run", "r", "--output-dir", "out"])
    assert module.classify_rhythm.call_args.args == (f"{record}.hea", "r", "out")
    with pytest.raises(InputError, match=r"nowhere/999\.hea: found no such file"):
        cli.run(["predict", "nowhere/999"])


def test_the_pipeline_runs_its_stages_in_order_and_says_what_comes_next(run, capsys):
    _, module = run("pipeline", "--stages", "final", "pack", "--jobs", "3")
    config, stages, jobs = module.run_pipeline.call_args.args
    assert (config.title, stages, jobs) == ("MIT-BIH excerpt", ("pack", "final"), 3)
    assert "next: keras-ecg pipeline --config mitdb" in capsys.readouterr().out
    run("pipeline", "--config", "mitdb")
    assert not capsys.readouterr().out


def test_choices_are_those_of_the_experiments():
    from keras_ecg.models.objectives import OBJECTIVES

    assert options.OBJECTIVES == tuple(OBJECTIVES)


def test_a_value_that_is_no_choice_is_rejected(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("pretrain", "--model", "cnn")
    assert ended.value.code == 2 and "choose from" in capsys.readouterr().err
    with pytest.raises(InputError, match="unknown key 'epoch'"):
        run("tune", "--set", "training.epoch=3")


def test_download_goes_to_the_folder_of_the_database_that_is_named(monkeypatch):
    from keras_ecg.databases import download as module

    calls = MagicMock()
    monkeypatch.setattr(module, "download", calls)
    script = {"db_name": "mitdb", "folders": {"mitdb": "here"}}  # as download_data.py gives them
    expected = {
        (): ("mitdb", "here"),
        ("--db-name", "nstdb"): ("nstdb", None),  # the library derives it from the name
        ("--save-directory", "there"): ("mitdb", "there"),
        ("--version", "1.1.0"): ("mitdb", None),
    }
    for arguments, (name, folder) in expected.items():
        cli.run(["download", *arguments], **script)
        assert calls.call_args.args[:2] == (name, folder)
