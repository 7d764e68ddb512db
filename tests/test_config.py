import argparse
import dataclasses
import math
import typing

import pytest
import yaml
from conftest import SAMPLE

from keras_ecg import cli
from keras_ecg.commands import options
from keras_ecg.config import RENAMED, Baseline, Config, Section, as_config, from_dict, load_config, merge, to_dict
from keras_ecg.errors import InputError
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
def test_unknown_key_error_names_nearest_key(write, text, found):
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
def test_value_of_wrong_type_error_names_option_and_value(write, text, found):
    path = write(text)
    with pytest.raises(InputError, match=found) as caught:
        load_config(path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_error_names_file():
    with pytest.raises(InputError, match="nowhere.yaml: found no such file"):
        load_config("nowhere.yaml")


def test_later_files_override_earlier_files_and_settings_override_files(write):
    first = write("title: first\ntraining: {epochs: 2, learning_rate: 0.5}\nevaluation: {seeds: [1, 2]}", "1.yaml")
    second = write("training: {epochs: 4}\nevaluation: {seeds: [7]}", "2.yaml")
    config = load_config(
        [first, second], ["training.weight_decay=0", "model.options.width=16", "model.options.heads=2"]
    )
    assert (config.title, config.training.epochs, config.training.learning_rate) == ("first", 4, 0.5)
    assert config.evaluation.seeds == (7,)  # a list is replaced, not extended
    assert config.training.weight_decay == 0.0 and isinstance(config.training.weight_decay, float)
    assert config.model.options == {"width": 16, "heads": 2}
    assert config.beats == Config().beats


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("training.learning_rate=1e-3", lambda c: c.training.learning_rate == 0.001),  # YAML 1.1 reads 1e-3 as a string
        ("database.records=[100, '0101']", lambda c: c.database.records == ("100", "0101")),
        ("beats.bandpass_hz=[0.5, 40]", lambda c: c.beats.bandpass_hz == (0.5, 40.0)),
        ("title=a=b", lambda c: c.title == "a=b"),
        ("loader.rr_features=false", lambda c: c.loader.rr_features is False),
    ],
)
def test_command_line_setting_is_parsed_as_yaml(setting, read):
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
def test_invalid_setting_error_is_one_line(setting, found):
    with pytest.raises(InputError, match=found) as caught:
        load_config([], [setting])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("model", "width"), [("cnn", {}), (None, {"width": 16})])
def test_other_model_keeps_only_options_of_command_line(write, model, width):
    file = write("model: {name: resnet1d, options: {width: 16}}")
    arguments = ["--config", file, "--set", "model.options.dropout=0.5", *(["--model", model] if model else [])]
    parser = argparse.ArgumentParser()
    options.add_config(parser)
    options.add_model(parser)
    args = parser.parse_args(arguments)
    found = options.with_model(options.read_config(args), args).model
    assert found.name == (model or "resnet1d") and found.options == {**width, "dropout": 0.5}


def test_yaml_round_trip_preserves_configuration():
    config = load_config([], ["evaluation.seeds=[3, 4]", "model.options={width: 8}", "beats.bandpass_hz=[1, 30]"])
    again = from_dict(Config, yaml.safe_load(yaml.safe_dump(to_dict(config))))
    assert again == config and from_dict(Config, to_dict(Config())) == Config()


def test_every_default_has_declared_type():
    """`from_dict` accepts every value that `to_dict` returns."""
    for section in dataclasses.fields(Config):
        value = getattr(Config(), section.name)
        if dataclasses.is_dataclass(value):
            for name, entry in to_dict(value).items():
                assert getattr(from_dict(type(value), {name: entry}), name) == getattr(value, name)


def test_configuration_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.epochs = 3


def test_as_config_accepts_dict_and_none():
    assert as_config(None) == as_config({}) == Config()
    assert as_config({"training": {"epochs": 9}}).training.epochs == 9
    config = Config(title="x")
    assert as_config(config) is config


def test_merge_does_not_change_its_arguments():
    base, extra = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(base, extra) == {"a": {"b": 1, "c": 2}}
    assert (base, extra) == ({"a": {"b": 1}}, {"a": {"c": 2}})


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.name)
def test_every_shipped_experiment_loads(path):
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
    "tuning.validation_fraction=0": "0.01 to 0.5",
    "beats.scales=0": "at least 1",
    "beats.context.seconds=-1": "at least 0",
    "beats.context.bandpass_hz=[.nan, 40]": "at least 0",
    "augment.premature=1.5": "0 to 1",
    "augment.noise_mv=.inf": "0 to 100",
    "windows.validation_fraction=-0.1": "0 to 1",
    "rhythm.augment.invert=2": "0 to 1",
    "rhythm.robustness.deletion_fractions=[0.1, 1.1]": "0 to 1",
    "training.class_weights=[1, 1, -1, 1, 1]": "at least 0",
    "training.warmup_fraction=1.1": "0 to 1",
    "finetuning.test_fraction=2": "0 to 1",
    "finetuning.labels=[-10]": "at least 0",
    "evaluation.folds=1": "at least 2",
    "evaluation.jobs=0": "at least 1",
}


@pytest.mark.parametrize("setting", OUT_OF_RANGE)
def test_value_out_of_range_error_names_option_and_range(setting):
    name = setting.partition("=")[0]
    with pytest.raises(InputError, match=f"^{name}: found .*; expected .*{OUT_OF_RANGE[setting]}"):
        load_config((), [setting])


def test_ranges_apply_to_command_line_arguments():
    with pytest.raises(InputError, match="tuning.max_trials: found 0; expected at least 1"):
        cli.run(["tune", "--max-trials", "0"])
    with pytest.raises(InputError, match="evaluation.seeds: found .0, 0.; expected"):
        cli.run(["evaluate", "--seeds", "0", "0"])


def subclasses(cls: type) -> list[type]:
    return [found for child in cls.__subclasses__() for found in (child, *subclasses(child))]


SECTIONS = sorted(subclasses(Section), key=lambda cls: cls.path)
CHECKED_IN_TRAINING = {"training.ensemble_size", "training.gradient_accumulation"}  # their ranges depend on others


def test_every_part_of_configuration_is_section():
    assert Config in SECTIONS and len({cls.path for cls in SECTIONS}) == len(SECTIONS)
    for cls in SECTIONS:
        for name, kind in typing.get_type_hints(cls).items():
            parts = [kind, *typing.get_args(kind)]
            assert all(issubclass(part, Section) for part in parts if dataclasses.is_dataclass(part)), (cls.path, name)


@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: cls.path)
def test_every_option_has_description_and_valid_default(cls):
    default, kinds = cls(), typing.get_type_hints(cls)
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "the docstring that dataclass generates"
    for declared in dataclasses.fields(cls):
        where, value, kind = f"{cls.path}.{declared.name}", getattr(default, declared.name), kinds[declared.name]
        text = declared.metadata["help"]
        assert len(text.split()) >= 3 and text[0].isupper() | text.startswith(("probe:", "1:")), where
        assert text.endswith("."), where
        cls._check(where, value, declared.metadata)
        assert from_dict(cls, {declared.name: to_dict(default)[declared.name]}) == default, where
        numeric = {int, float} & {kind, *typing.get_args(kind)}
        assert bool(numeric) == ("limits" in declared.metadata) or where in CHECKED_IN_TRAINING, where


@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: cls.path)
def test_limits_of_every_option_are_enforced_on_construction(cls):
    for declared in dataclasses.fields(cls):
        if "limits" in declared.metadata:
            least, most = declared.metadata["limits"]
            many = isinstance(getattr(cls(), declared.name), tuple)
            for value in (least - 1, most + 1, math.nan, math.inf):
                with pytest.raises(InputError, match=f"^{cls.path}.{declared.name}: found"):
                    cls(**{declared.name: (value,) if many else value})


def test_unknown_baseline_error_lists_baselines():
    names = ", ".join(map(repr, typing.get_args(Baseline)))
    with pytest.raises(InputError, match=rf"finetuning.baselines\[1\]: found 'untrained'; expected one of {names}"):
        load_config((), ["finetuning.baselines=[scratch, untrained]"])


@pytest.mark.parametrize(("cls", "old", "new"), [(c, *pair) for c, keys in RENAMED.items() for pair in keys.items()])
def test_renamed_key_error_names_new_key(cls, old, new):
    assert new in {f.name for f in dataclasses.fields(cls)} and old not in {f.name for f in dataclasses.fields(cls)}
    with pytest.raises(InputError, match=f"section: found key '{old}' of version 0.1; expected '{new}'; rename it to"):
        from_dict(cls, {old: 1}, "section")
