"""The built wheel, unpacked and used away from the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import SAMPLE

import keras_ecg as ke

ROOT = SAMPLE.parent
PARTS = ("pyproject.toml", "README.md", "LICENSE", "keras_ecg", "configs", "sample_data")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy: a build leaves folders in its source."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    script = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-W", "ignore", "-c", script, str(target)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder that the wheel is unpacked in."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def away(installed, tmp_path):
    """A function that runs Python on the unpacked wheel in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONWARNINGS": "ignore"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


def test_every_package_is_listed():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    there = {str(path.parent.relative_to(ROOT)).replace(os.sep, ".") for path in ROOT.glob("keras_ecg/**/__init__.py")}
    assert set(table["packages"]) == there | set(table["package-dir"])


def test_the_wheel_has_everything_and_is_small(wheel, installed):
    assert wheel.stat().st_size < 40e6
    for shipped, here in (("configs", ROOT / "configs"), ("sample_data", SAMPLE)):
        names = {path.name for path in (installed / "keras_ecg" / shipped).iterdir()}
        assert names == {path.name for path in here.iterdir()} - {"__pycache__", "__init__.py"}
    weights = Path("keras_ecg") / "presets" / "weights"
    for path in (ROOT / weights).glob("*/*"):
        assert (installed / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "keras-ecg = keras_ecg.cli:main" in entry.read_text()
    modules = {path.relative_to(ROOT) for path in (ROOT / "keras_ecg").rglob("*.py")}
    assert modules <= {path.relative_to(installed) for path in installed.rglob("*.py")}


def test_the_installed_package_finds_its_files(away, installed):
    script = """
import keras_ecg as ke
from keras_ecg.resources import find_config
print(ke.__file__)
print(ke.sample_record("100"))
print(ke.load_config("sample").database.data_dir)
print(find_config(ke.load_config("cinc2017").tuning.space))
print(len(ke.list_presets()))
"""
    done = away("-c", script)
    assert done.returncode == 0, done.stderr
    package = installed / "keras_ecg"
    assert done.stdout.splitlines() == [
        str(package / "__init__.py"),
        str(package / "sample_data" / "100"),
        str(package / "sample_data"),
        str(package / "configs" / "search_resnet1d.yaml"),
        str(len(ke.list_presets())),
    ]


def test_the_installed_command_lists_presets_and_preprocesses_the_excerpt(away, tmp_path):
    done = away("-m", "keras_ecg", "presets")
    assert done.returncode == 0 and "mitdb-beats" in done.stdout
    done = away("-m", "keras_ecg", "preprocess", "--config", "sample", "--set", "database.records=[100]", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "preprocessed_data_h5_raw" / "sample" / "100.h5").is_file()


def test_the_installed_command_classifies_a_bundled_record(away, tmp_path):
    done = away("-m", "keras_ecg", "predict", "sample_data/213")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("213: ") and done.stdout.splitlines()[-1] == "wrote 213.aami and 213.csv"
    assert {path.name for path in tmp_path.iterdir()} == {"213.aami", "213.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_python_blocks_run_with_the_installed_package(away, page):
    blocks = re.findall(r"(?<!-->\n)^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) > 1
    done = away("-c", "\n".join(blocks))
    assert done.returncode == 0, done.stderr
