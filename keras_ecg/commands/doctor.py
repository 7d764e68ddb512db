"""Subcommand that checks an installation: doctor."""

import argparse
import importlib.metadata
import os
import platform
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_ecg import __version__
from keras_ecg.commands.options import Command
from keras_ecg.config import load_config
from keras_ecg.errors import InputError
from keras_ecg.presets import list_presets
from keras_ecg.quiet import import_quietly
from keras_ecg.resources import PACKAGE, list_configs, list_sample_records, sample_record

OK, FAILED, ABSENT = "ok", "failed", "-"  # something absent is no failure
OPTIONAL = {"jax": "the JAX backend", "huggingface_hub": "presets hf://user/name"}

Line = tuple[str, str]  # state, and what was found


def add_doctor(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("checks")
    group.add_argument("--no-self-test", action="store_true", help="leave out the test of 30 seconds")


def requirements() -> tuple[str, list[str]]:
    """The versions of Python, and the packages with their versions, that the package requires."""
    project = PACKAGE.with_name("pyproject.toml")
    if project.is_file():
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        return table["requires-python"], table["dependencies"]
    found = importlib.metadata.metadata("keras_ecg")
    return found["Requires-Python"], [r for r in found.get_all("Requires-Dist", []) if "extra ==" not in r]


def check_versions() -> Iterator[Line]:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    python, packages = requirements()
    version = platform.python_version()
    yield OK, f"keras_ecg {__version__} in {PACKAGE}"
    yield OK if version in SpecifierSet(python) else FAILED, f"Python {version} (requires {python})"
    for text in packages:
        required = Requirement(text)
        try:
            version = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            yield FAILED, f"{required.name} is not installed (requires {required.specifier})"
            continue
        inside = required.specifier.contains(version, prereleases=True)
        yield OK if inside else FAILED, f"{required.name} {version} (requires {required.specifier})"
    for name, use in OPTIONAL.items():
        try:
            yield OK, f"{name} {importlib.metadata.version(name)}, optional: {use}"
        except importlib.metadata.PackageNotFoundError:
            yield ABSENT, f"{name} is not installed, optional: {use}"


def check_devices() -> Iterator[Line]:
    devices = import_quietly("keras_ecg.devices")
    yield OK, f"Keras backend {devices.backend()}"
    yield OK, f"{os.cpu_count()} CPU cores, {devices.memory()}"
    gpus = devices.list_gpus()
    yield (OK, f"{len(gpus)} GPU: {', '.join(gpus)}") if gpus else (ABSENT, "no GPU")


def check_data() -> Iterator[Line]:
    yield OK if list_configs() else FAILED, f"{len(list_configs())} shipped configurations"
    yield OK if list_presets() else FAILED, f"{len(list_presets())} presets"
    yield OK if list_sample_records() else FAILED, f"{len(list_sample_records())} bundled recordings"
    config = load_config("mitdb")
    folders = {
        config.database.data_dir: "recordings",
        config.database.hdf5_dir: "preprocessed beats",
        config.database.tfrecord_dir: "packed beats",
        config.windows.tfrecord_dir: "packed windows",
        config.rhythm.tfrecord_dir: "packed recordings",
        config.database.runs_dir: "run folders",
    }
    for folder, content in folders.items():
        there = Path(folder).is_dir()
        yield OK if there else ABSENT, f"{content}: {folder}" + ("" if there else " is not in this folder")


def classify() -> str:
    beats = import_quietly("keras_ecg.presets.beats").BeatClassifier.from_preset().predict(sample_record())
    if not len(beats):
        raise InputError("self-test", "no beat", "beats", "reinstall the package")
    return f"classified {len(beats)} beats of record {beats.record}"


def embed() -> str:
    vectors = import_quietly("keras_ecg.encoders").Encoder.from_preset("mae").embed(sample_record())
    return f"embedded {len(vectors)} windows in {vectors.shape[1]} dimensions"


def train() -> str:
    numpy = import_quietly("numpy")
    model = import_quietly("keras_ecg.models").build_model("cnn", {"scalograms": (3, 32, 187, 1)})
    model.compile("sgd", "sparse_categorical_crossentropy")
    rng = numpy.random.default_rng(0)
    scalograms = rng.normal(size=(8, 3, 32, 187, 1))
    loss = float(model.train_on_batch({"scalograms": scalograms}, rng.integers(0, 5, 8)))
    if not numpy.isfinite(loss):
        raise InputError("self-test", f"a loss of {loss}", "a finite loss", "try another Keras backend")
    return f"one training step, loss {loss:.2f}"


SELF_TEST: dict[str, Callable[[], str]] = {"classify": classify, "embed": embed, "train": train}


def self_test() -> Iterator[Line]:
    for name, check in SELF_TEST.items():
        began = time.monotonic()
        try:
            found = check()
        except Exception as error:  # whatever is wrong with an installation: it is reported as a line
            yield FAILED, f"self-test {name}: {' '.join(f'{type(error).__name__}: {error}'.split())[:200]}"
        else:
            yield OK, f"self-test: {found}, {time.monotonic() - began:.1f} s"


def doctor(args: argparse.Namespace) -> None:
    failed = 0
    for check in (check_versions, check_devices, check_data, *(() if args.no_self_test else (self_test,))):
        for state, found in check():
            print(f"{state:6s}  {found}", flush=True)
            failed += state == FAILED
    if failed:
        sys.exit(1)


COMMANDS = {
    "doctor": Command(
        "Check the installation: versions, devices, data, and a self-test of 30 seconds.",
        (
            "keras-ecg doctor",
            "keras-ecg doctor --no-self-test               # versions, devices and data only",
        ),
        add_doctor,
        doctor,
    ),
}
