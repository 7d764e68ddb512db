"""In-memory inputs, compared with those of the TFRecord stream."""

import numpy as np
import pytest
from conftest import SAMPLE, batches, with_sections

from keras_ecg.data.beat_inputs import BeatInputs
from keras_ecg.data.pipeline import create_dataset, get_all_beats
from keras_ecg.databases.recordings import read_recording

EVERYTHING = {"rr_features": True, "waveforms": True, "difference_quantiles": True}


@pytest.mark.parametrize(
    ("sequences", "loader"),
    [({}, EVERYTHING), ({}, {**EVERYTHING, "center": True}), ({"length": 5, "label_beat": "last"}, EVERYTHING)],
    ids=["stored scalograms", "centred beats", "five beats, the last labelled"],
)
@pytest.mark.parametrize("record", ["208", "114"])
def test_in_memory_inputs_equal_those_of_stream(packed_as, sequences, loader, record):
    config = with_sections(packed_as(**sequences), loader=loader)
    mean, scale = np.full((32, 1, 1), 0.1, np.float32), np.linspace(0.5, 2, 32, dtype=np.float32).reshape(32, 1, 1)
    expected, _ = batches(create_dataset([record], config, 64, False, mean, scale))
    inputs = BeatInputs(read_recording(SAMPLE, record), config, mean, scale, record)
    parts = list(inputs.batches(64))
    assert {len(value) for part in parts for value in part.values()} == {64}
    found = {name: np.concatenate([part[name] for part in parts])[: len(inputs)] for name in parts[0]}
    np.testing.assert_array_equal(inputs.sample, get_all_beats([record], config)["sample"])
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype == np.float32
        np.testing.assert_allclose(found[name], values, atol=2e-5, err_msg=name)
