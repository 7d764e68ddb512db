"""Presets from the Hugging Face Hub, from a cache that is made by hand; no network."""

import shutil
import subprocess
import sys

import pytest

import keras_ecg as ke
from keras_ecg.errors import InputError
from keras_ecg.presets import PRESETS, find_preset

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with a copy of the preset mae as user/ecg."""
    from huggingface_hub import constants

    repository = tmp_path / "models--user--ecg"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(PRESETS / "mae", repository / "snapshots" / COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository / "snapshots" / COMMIT


def test_a_cached_preset_is_loaded(cache):
    assert find_preset("hf://user/ecg", "Encoder") == find_preset(f"hf://user/ecg@{COMMIT}", "Encoder") == cache
    encoder = ke.Encoder.from_preset("hf://user/ecg")
    expected = ke.Encoder.from_preset("mae")
    assert encoder.contract == expected.contract
    assert (encoder.embed(ke.sample_record()) == expected.embed(ke.sample_record())).all()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hf://user/nothing", r"^hf://user/nothing: found no such preset, or no answer \(LocalEntryNotFoundError\)"),
        ("hf://ecg", "^hf://ecg: found a malformed name; expected hf://user/name"),
        ("hf://user/-ecg-", "^hf://user/-ecg-: found .*; expected hf://user/name"),
    ],
)
def test_a_preset_that_is_not_there_is_one_line(cache, name, found):
    with pytest.raises(InputError, match=found) as caught:
        ke.BeatClassifier.from_preset(name)
    assert "\n" not in str(caught.value)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"^hf://user/ecg: .*; pip install huggingface_hub$"):
        find_preset("hf://user/ecg", "Encoder")


def test_presets_of_the_package_do_not_import_it():
    script = "import sys, keras_ecg as ke; ke.list_presets(); assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
