"""The public API: presets by name, arrays, files, saving and loading."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import SAMPLE

import keras_ecg as ke
from keras_ecg.errors import InputError
from keras_ecg.presets import preset_card
from keras_ecg.resources import PRESETS


def test_importing_the_package_imports_no_heavy_library():
    code = "import sys, keras_ecg; print([m for m in ('tensorflow', 'keras', 'scipy', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_public_name_can_be_imported():
    assert sorted(ke._HOMES) == ke.__all__ and set(ke.__all__) <= set(dir(ke))
    for name in ke.__all__:
        assert getattr(ke, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ke.nothing


def test_presets_are_listed_with_the_class_that_loads_them():
    presets = ke.list_presets()
    assert presets["mitdb-beats"] == "BeatClassifier" and presets["cinc2017-rhythm"] == "RecordingClassifier"
    assert {name for name, kind in presets.items() if kind == "Encoder"} == {
        "cmsc", "cmsmlc", "ecg-jepa", "mae", "nt-xent", "nt-xent-resnet1d", "nt-xent-twelve", "st-mem", "vqvae"
    }  # fmt: skip
    assert sum(path.stat().st_size for path in PRESETS.rglob("*")) < 35e6
    with pytest.raises(InputError, match="found no preset of BeatClassifier; expected a folder, or one of mitdb-beats"):
        ke.BeatClassifier.from_preset("nothing")


def test_a_path_a_recording_and_arrays_give_the_same_beats():
    classifier = ke.BeatClassifier.from_preset()
    recording = ke.read_record(SAMPLE / "213")
    by_path = classifier.predict(SAMPLE / "213.hea", peaks="detect")
    by_recording = classifier.predict(recording, peaks="detect")
    by_arrays = classifier.predict(recording.signals, recording.sampling_rate_hz, recording.leads)
    alone = classifier.predict(recording.signals[:, 0].astype(float), sampling_rate_hz=360)
    for found in (by_recording, by_arrays, alone):
        np.testing.assert_array_equal(found.sample, by_path.sample)
        np.testing.assert_allclose(found.probabilities, by_path.probabilities, atol=1e-5)
    assert by_path.record == "213" and by_arrays.record == "recording" and len(by_path) == len(by_path.symbol)
    assert sum(by_path.counts.values()) == len(by_path) and by_path.counts["V"] > 20
    table = by_path.to_dataframe()
    assert list(table["class"]) == by_path.symbol.tolist()
    assert table["p_V"].tolist() == by_path.probabilities[:, 2].tolist()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"recording": np.zeros(3600)}, "sampling_rate_hz: found None"),
        ({"recording": np.zeros(3600), "sampling_rate_hz": -1}, "sampling_rate_hz: found -1"),
        ({"recording": np.zeros((3600, 2)), "sampling_rate_hz": 360}, r"a signal of shape \(3600, 2\) and 0 leads"),
        ({"recording": np.zeros((3600, 2)), "sampling_rate_hz": 360, "leads": ["II"]}, "and 1 leads"),
        ({"recording": np.zeros(3600), "sampling_rate_hz": 360}, "lead ECG flat"),
    ],
)
def test_invalid_arrays_are_rejected_with_one_line(arguments, found):
    with pytest.raises(InputError, match=found):
        ke.BeatClassifier.from_preset().predict(**arguments)


def test_saved_classifier_predicts_the_same(tmp_path):
    beats, rhythm = ke.BeatClassifier.from_preset(), ke.RecordingClassifier.from_preset()
    beats.save_to_preset(tmp_path / "beats")
    rhythm.save_to_preset(tmp_path / "rhythm")
    expected, found = (c.predict(SAMPLE / "208") for c in (beats, ke.BeatClassifier.from_preset(tmp_path / "beats")))
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    again = ke.RecordingClassifier.from_preset(tmp_path / "rhythm")
    expected, found = (c.predict(SAMPLE / "208") for c in (rhythm, again))
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_an_encoder_takes_a_path_and_is_saved(tmp_path):
    encoder, recording = ke.Encoder.from_preset("mae"), ke.read_record(SAMPLE / "100")
    vectors = encoder.embed(SAMPLE / "100")
    np.testing.assert_array_equal(encoder.embed(recording.signals, 360.0, recording.leads), vectors)
    encoder.save_to_preset(tmp_path)
    np.testing.assert_allclose(ke.Encoder.from_preset(tmp_path).embed(recording), vectors, atol=1e-6)
    assert vectors.shape == (30, encoder.model.output_shape[-1])


def test_a_rhythm_is_written_as_a_table(tmp_path):
    found = ke.RecordingClassifier.from_preset().predict(SAMPLE / "100")
    assert found.symbol == found.classes[found.label] and found.probabilities.sum() == pytest.approx(1)
    rows = found.to_csv(tmp_path / "100.csv").read_text().splitlines()
    assert rows[0] == "record,class,p_N,p_A,p_O,p_~" and rows[1].startswith(f"100,{found.symbol},")
    assert found.to_dataframe().shape == (1, 6)


def test_bundled_recordings_are_found_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ke.read_record("sample_data/213").signals.shape == (108000, 2)
    for path in ("", ".", "/"):
        with pytest.raises(ke.InputError, match="no name of a record"):
            ke.read_record(path)


def test_preset_of_another_class_is_rejected():
    with pytest.raises(ke.InputError, match="mae: found a preset of Encoder; expected a folder, or one of mitdb-beats"):
        ke.BeatClassifier.from_preset("mae")


def test_unknown_source_of_peaks_is_rejected():
    signal = ke.read_record("sample_data/213").signals[:3600]
    with pytest.raises(ke.InputError, match="peaks: found 'detected'; expected one of auto, annotations, detect"):
        ke.BeatClassifier.from_preset().predict(signal, 360.0, ["MLII", "V1"], peaks="detected")


def test_doors_export_nothing_that_the_package_lacks():
    import DataLoader
    import Evaluator
    import ModelBuilder

    for door in (DataLoader, Evaluator, ModelBuilder):
        for name in door.__all__:
            assert getattr(ke, name) == getattr(door, name)


def test_missing_samples_of_a_recording_are_noted_and_flat_signals_rejected():
    classifier, signal = (
        ke.RecordingClassifier.from_preset(),
        ke.read_record("sample_data/100").signals[:10800, 0].copy(),
    )
    assert classifier.predict(signal, 360.0).notes == ()
    signal[:1080] = np.nan
    assert classifier.predict(signal, 360.0).notes == ("10.0 % of the samples are missing and were interpolated",)
    for bad in (np.zeros(10800), np.where(np.arange(10800) % 3, np.nan, signal)):
        with pytest.raises(ke.InputError, match="a flat signal|samples missing"):
            classifier.predict(bad, 360.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ke.list_presets())
def test_python_block_of_a_card_runs_or_states_a_reason(name):
    reason, code = re.search(r"(<!-- not run: .+ -->\n)?```python\n(.*?)```", preset_card(name), re.S).groups()
    if not reason:
        exec(compile(code, name, "exec"), {})
