import dataclasses

import pytest
import yaml
from conftest import SAMPLE

from keras_ecg import cli
from keras_ecg.config import RENAMED, Config, as_config, from_dict, load_config, merge, to_dict
from keras_ecg.errors import InputError
from keras_ecg.experiments import commands
from keras_ecg.models import model_config
from keras_ecg.models.objectives import objective_config
from keras_ecg.models.recording_classifier import RecordingClassifierConfig
from keras_ecg.models.triplet import TripletConfig

CONFIGS = sorted((SAMPLE.parent / "configs").glob("*.yaml"))
EXPERIMENTS = [path for path in CONFIGS if not path.name.startswith("search_")]


@pytest.fixture
def write(tmp_path):
    def to_file(text: str, name: str = "a.yaml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return to_file


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("trainin: {}", r"unknown key 'trainin'.*did you mean 'training'\?"),
        ("training: {epoch: 3}", r"training: found unknown key 'epoch'.*did you mean 'epochs'\?"),
        ("augment: {Premature: 1}", "did you mean 'premature'"),
        ("beats: {lead: MLII, hz: 1}", "unknown key 'hz'; expected one of .*bandpass_hz"),
    ],
)
def test_an_unknown_key_names_the_nearest(write, text, found):
    path = write(text)
    with pytest.raises(InputError, match=found) as caught:
        load_config(path)
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("training: {epochs: three}", "training.epochs: found 'three'; expected a value of type int"),
        ("training: {epochs: 3.5}", "epochs: found 3.5"),
        ("training: {epochs: true}", "epochs: found True"),
        ("training: {learning_rate: fast}", "learning_rate: found 'fast'; expected a value of type float"),
        ("training: {jit_compile: 1}", "jit_compile: found 1; expected a value of type bool"),
        ("training: {precision: half}", "precision: found 'half'; expected one of 'float32'"),
        ("evaluation: {seeds: 3}", r"seeds: found 3; expected a value of type tuple\[int"),
        ("evaluation: {seeds: [0, x]}", r"seeds\[1\]: found 'x'"),
        ("model: {options: [1]}", r"options: found \[1\]; expected a value of type dict"),
        ("training: 3", "training: found 3; expected a mapping"),
        ("training:", "training: found None; expected a mapping"),
        ("title: null", "title: found None; expected a value of type str"),
        ("- a\n- b", "found list; expected a mapping"),
        ("a: [", "expected YAML"),
    ],
)
def test_a_value_of_another_type_says_where_and_what(write, text, found):
    path = write(text)
    with pytest.raises(InputError, match=found) as caught:
        load_config(path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match="nowhere.yaml: found no such file"):
        load_config("nowhere.yaml")


def test_later_files_lie_over_earlier_ones_and_settings_over_all(write):
    first = write("title: first\ntraining: {epochs: 2, learning_rate: 0.5}\nevaluation: {seeds: [1, 2]}", "1.yaml")
    second = write("training: {epochs: 4}\nevaluation: {seeds: [7]}", "2.yaml")
    config = load_config(
        [first, second], ["training.weight_decay=0", "model.options.width=16", "model.options.heads=2"]
    )
    assert (config.title, config.training.epochs, config.training.learning_rate) == ("first", 4, 0.5)
    assert config.evaluation.seeds == (7,)  # a list is replaced, not lengthened
    assert config.training.weight_decay == 0.0 and isinstance(config.training.weight_decay, float)
    assert config.model.options == {"width": 16, "heads": 2}
    assert config.beats == Config().beats


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("training.learning_rate=1e-3", lambda c: c.training.learning_rate == 0.001),  # a text to YAML 1.1
        ("database.records=[100, '0101']", lambda c: c.database.records == ("100", "0101")),
        ("beats.bandpass_hz=[0.5, 40]", lambda c: c.beats.bandpass_hz == (0.5, 40.0)),
        ("title=a=b", lambda c: c.title == "a=b"),
        ("loader.rr_features=false", lambda c: c.loader.rr_features is False),
    ],
)
def test_settings_of_the_command_line(setting, read):
    assert read(load_config([], [setting]))


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("training.epochs", "--set: found 'training.epochs'; expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("training.epoch=3", "--set.training: found unknown key 'epoch'.*'epochs'"),
        ("trainings.epochs=3", "did you mean 'training'"),
        ("training.epochs=[", "--set: found 'training.epochs=\\['; expected .*YAML"),
        ("training.epochs.more=3", "epochs: found {'more': 3}"),
    ],
)
def test_a_wrong_setting_is_one_line(setting, found):
    with pytest.raises(InputError, match=found) as caught:
        load_config([], [setting])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("model", "width"), [("cnn", {}), (None, {"width": 16})])
def test_another_model_keeps_the_options_of_the_command_line_alone(write, model, width):
    file = write("model: {name: resnet1d, options: {width: 16}}")
    arguments = ["--config", file, "--set", "model.options.dropout=0.5", *(["--model", model] if model else [])]
    reading = cli.parser("")
    cli.add_model(reading)
    args = reading.parse_args(arguments)
    found = cli.with_model(cli.config(args), args).model
    assert found.name == (model or "resnet1d") and found.options == {**width, "dropout": 0.5}


def test_a_configuration_survives_its_own_yaml():
    config = load_config([], ["evaluation.seeds=[3, 4]", "model.options={width: 8}", "beats.bandpass_hz=[1, 30]"])
    again = from_dict(Config, yaml.safe_load(yaml.safe_dump(to_dict(config))))
    assert again == config and from_dict(Config, to_dict(Config())) == Config()


def test_every_default_is_of_its_own_type():
    """What `to_dict` writes of each section is what `from_dict` accepts, value by value."""
    for section in dataclasses.fields(Config):
        value = getattr(Config(), section.name)
        if dataclasses.is_dataclass(value):
            for name, entry in to_dict(value).items():
                assert getattr(from_dict(type(value), {name: entry}), name) == getattr(value, name)


def test_nothing_can_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.epochs = 3


def test_a_dict_or_nothing_is_a_configuration_too():
    assert as_config(None) == as_config({}) == Config()
    assert as_config({"training": {"epochs": 9}}).training.epochs == 9
    config = Config(title="x")
    assert as_config(config) is config


def test_merging_leaves_its_arguments():
    base, extra = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(base, extra) == {"a": {"b": 1, "c": 2}}
    assert (base, extra) == ({"a": {"b": 1}}, {"a": {"c": 2}})


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.name)
def test_every_experiment_that_ships_loads(path):
    config = load_config(path)
    assert config != Config() and config.title
    on_encoders = {"recording_classifier": RecordingClassifierConfig, "triplet": TripletConfig}  # not built by name
    if config.model.name in on_encoders:
        from_dict(on_encoders[config.model.name], config.model.options)
    else:
        known = objective_config if path.name.startswith("pretrain") else model_config
        known(config.model.name, config.model.options)


OUT_OF_RANGE = {
    "training.label_smoothing=2": "0 to 0.999",
    "training.learning_rate=-1.0e-3": "at least 1e-12",
    "training.learning_rate=.nan": "at least 1e-12",
    "training.learning_rate=.inf": "at least 1e-12",
    "training.epochs=0": "at least 1",
    "evaluation.seeds=[0, 0]": "none of them twice",
    "evaluation.seeds=[]": "at least one seed",
    "evaluation.seeds=[-1]": "0 to 4.29497e\\+09",
    "evaluation.kfold_seeds=[3, 3]": "none of them twice",
    "finetuning.seeds=[1, 1]": "none of them twice",
    "sequences.chunk_size=-1": "at least 1",
    "windows.chunk_size=0": "at least 1",
    "rhythm.chunk_size=0": "at least 1",
    "loader.batch_size=-5": "at least 1",
    "tuning.max_trials=0": "at least 1",
    "tuning.max_epochs=0": "at least 1",
}


@pytest.mark.parametrize("setting", OUT_OF_RANGE)
def test_a_value_out_of_range_names_the_option_and_its_range(setting):
    name, value = setting.split("=")
    with pytest.raises(InputError, match=f"^{name}: found .*; expected .*{OUT_OF_RANGE[setting]}"):
        load_config((), [setting])


def test_ranges_hold_for_the_arguments_of_a_command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["run_hyperparameter_tuning.py", "--max-trials", "0"])
    with pytest.raises(InputError, match="tuning.max_trials: found 0; expected at least 1"):
        commands.tune()
    monkeypatch.setattr("sys.argv", ["run_final_evaluation.py", "--seeds", "0", "0"])
    with pytest.raises(InputError, match="evaluation.seeds: found .0, 0.; expected"):
        commands.final()


@pytest.mark.parametrize(("cls", "old", "new"), [(c, *pair) for c, keys in RENAMED.items() for pair in keys.items()])
def test_renamed_key_error_names_new_key(cls, old, new):
    assert new in {f.name for f in dataclasses.fields(cls)} and old not in {f.name for f in dataclasses.fields(cls)}
    with pytest.raises(InputError, match=f"section: found key '{old}' of version 0.1; expected '{new}'; rename it to"):
        from_dict(cls, {old: 1}, "section")
