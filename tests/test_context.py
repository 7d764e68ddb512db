"""Context windows, compared with SciPy on the recording."""

from dataclasses import replace

import numpy as np
import pytest
import scipy
import wfdb
from conftest import SAMPLE

from keras_ecg.config import Config, from_dict
from keras_ecg.data.pipeline import create_dataset, get_all_beats
from keras_ecg.data.preprocess import clean_context, preprocess
from keras_ecg.data.tfrecords import pack
from keras_ecg.errors import InputError


def settings(tmp_path, **loader) -> Config:
    return from_dict(
        Config,
        {
            "database": {
                "data_dir": str(SAMPLE),
                "hdf5_dir": str(tmp_path / "h5"),
                "tfrecord_dir": str(tmp_path / "tf"),
                "records": ["213", "100"],
            },
            "beats": {"context": {"seconds": 4.0, "sampling_rate_hz": 100.0, "bandpass_hz": [0.5, 40.0]}},
            "sequences": {"storage": "samples", "chunk_size": 32},
            "loader": {"scalograms": False, "context": True, **loader},
        },
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Config:
    config = settings(tmp_path_factory.mktemp("context"))
    preprocess(config)
    pack(config)
    return config


def expected_windows(record: str, samples: np.ndarray) -> np.ndarray:
    """Return 4 s around each beat of the recording, by SciPy: filtered, reflected at the ends, z-scored."""
    stored = wfdb.rdrecord(str(SAMPLE / record))
    signal = stored.p_signal[:, stored.sig_name.index("MLII")]
    level = np.median(signal)
    signal = scipy.signal.resample_poly(signal - level, 5, 18) + level
    sections = scipy.signal.butter(3, (0.5, 40), "bandpass", fs=100, output="sos")
    signal = np.pad(scipy.signal.sosfiltfilt(sections, signal), 200, mode="reflect")
    at = np.rint(samples / 3.6).astype(int)
    windows = signal[at[:, None] + np.arange(400)]
    return (windows - windows.mean(1, keepdims=True)) / windows.std(1, keepdims=True)


def test_context_windows_equal_recording(packed):
    beats = get_all_beats(["213", "100"], packed)
    windows, labels = [], []
    for inputs, label in create_dataset(["213", "100"], packed, 50, is_training=False):
        assert set(inputs) == {"context"}
        windows.append(inputs["context"].numpy())
        labels.append(label.numpy())
    windows = np.concatenate(windows)
    assert windows.shape == (len(beats["label"]), 400, 1) and windows.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(labels), beats["label"])
    for record in ("213", "100"):
        own = beats["record"] == record
        expected = expected_windows(record, beats["sample"][own])
        np.testing.assert_allclose(windows[own, :, 0], expected, atol=0.02)  # stored as float16
    height = np.abs(windows[beats["label"] == 0, :, 0])
    assert (height[:, 190:210].max(1) > 0.5 * height.max(1)).mean() > 0.9  # the R peak is in the middle


def test_training_yields_same_windows_in_other_order(packed):
    together = replace(packed, loader=replace(packed.loader, rr_features=True, waveforms=True, shuffle_chunks=3))
    plain = np.concatenate([x["context"].numpy() for x, _ in create_dataset(["213"], packed, 64, False)])
    mixed = [(x["context"].numpy(), x["rr"].numpy()) for x, _ in create_dataset(["213"], together, 64, True)]
    windows, rhythm = (np.concatenate(part) for part in zip(*mixed, strict=True))
    assert len(rhythm) == len(windows) == len(plain) and np.abs(windows - plain).max() > 1
    order = [np.lexsort(w[:, 150:250, 0].T) for w in (plain, windows)]
    np.testing.assert_array_equal(plain[order[0]], windows[order[1]])


def test_recording_shorter_than_half_window_is_reflected_repeatedly():
    signal = np.random.default_rng(0).normal(size=360).astype(np.float32)
    context = from_dict(Config, {"beats": {"context": {"seconds": 10.0, "bandpass_hz": []}}}).beats.context
    found = clean_context(signal, 360.0, np.array([0, 180]), context)
    assert found["context"].shape == (100 + 1000,) and found["context_start"].tolist() == [0, 50]
    assert np.isfinite(found["context"]).all()


def test_context_input_without_stored_windows_is_rejected(packed, tmp_path):
    without = replace(packed, beats=replace(packed.beats, context=Config().beats.context))
    without = replace(
        without, database=replace(without.database, hdf5_dir=str(tmp_path / "h"), tfrecord_dir=str(tmp_path / "t"))
    )
    preprocess(without)
    pack(without)
    with pytest.raises(InputError, match="beats.context.seconds"):
        create_dataset(["213"], without, 8, False)
    with pytest.raises(InputError, match="no input"):
        create_dataset(["213"], replace(without, loader=replace(without.loader, context=False)), 8, False)
