"""Baselines: majority class, gradient boosting on RR features, and linear interpolation of masked samples."""

from dataclasses import replace

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier

from keras_ecg.config import Config
from keras_ecg.data.hdf5 import hdf5_path, read_columns
from keras_ecg.data.rhythm_stream import create_rhythm_dataset
from keras_ecg.data.tfrecords import read_manifest
from keras_ecg.databases import cinc2017
from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.errors import InputError
from keras_ecg.signals.rhythm import CONTEXT, recording_rhythm, rr_features, rr_series, rr_windows


def rhythm_table(records: tuple[str, ...], config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Read RR features (n, R) and labels (n,) of every beat of the records from their HDF5 files.

    Raises:
        InputError: a missing or damaged HDF5 file, or one whose beats differ from the packed ones.
    """
    features, labels = [], []
    packed = read_manifest(config.database.tfrecord_dir)["records"]
    for record in records:
        columns = read_columns(config.database.hdf5_dir, record)
        if any(columns[k].tolist() != packed[record][k] for k in ("sample", "label")):
            path = hdf5_path(config.database.hdf5_dir, record)
            raise InputError(path, "beats that differ from the TFRecords", "the packed beats", "run keras-ecg pack")
        series = rr_series(columns["rr_before"], columns["rr_after"], CONTEXT)
        features.append(rr_features(rr_windows(series, len(columns["label"]), CONTEXT)))
        labels.append(columns["label"])
    return np.concatenate(features), np.concatenate(labels)


def majority_class(count: int, classes: int = len(CLASSES)) -> np.ndarray:
    """Return probabilities (count, classes) of the majority-class baseline, which predicts N (class 0) always."""
    out = np.zeros((count, classes), np.float32)
    out[:, 0] = 1
    return out


def predict_classes(model: ClassifierMixin, features: np.ndarray, classes: int) -> np.ndarray:
    """Predict probabilities (n, classes) float32 with a fitted scikit-learn classifier; 0 for untrained classes."""
    out = np.zeros((len(features), classes), np.float32)
    out[:, model.classes_] = model.predict_proba(features)
    return out


def boosting_on_rhythm(train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int = 0) -> np.ndarray:
    """Predict probabilities (n, 5) of the test beats by gradient boosting on the RR features of the training beats."""
    x, y = rhythm_table(train, config)
    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=False).fit(x, y)
    return predict_classes(model, rhythm_table(test, config)[0], len(CLASSES))


def recording_table(records: tuple[str, ...], config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Read RR features (n, R) and labels (n,) of whole recordings from the TFRecords."""
    features, labels = [], []
    config = replace(config, rhythm=replace(config.rhythm, crops=1))
    for inputs, label in create_rhythm_dataset(config, 256, False, records).as_numpy_iterator():
        seconds = inputs["length"].astype(np.float32) / np.float32(config.rhythm.sampling_rate_hz)
        features.append(recording_rhythm(inputs["beats"], seconds))
        labels.append(label)
    return np.concatenate(features), np.concatenate(labels)


def boosting_on_recordings(train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int = 0) -> np.ndarray:
    """Predict probabilities (n, 4) of the test recordings by gradient boosting on RR features, without waveforms."""
    x, y = recording_table(train, config)
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=250,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        random_state=seed,
        early_stopping=False,
    ).fit(x, y)
    return predict_classes(model, recording_table(test, config)[0], len(cinc2017.CLASSES))


def interpolate_masked(signals: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Fill masked samples (n, T, L) bool of windows (n, T, L) by linear interpolation between visible samples.

    Constant extrapolation is used at the ends. This is the baseline of masked autoencoders.
    """
    out, time = signals.copy(), np.arange(signals.shape[1])
    for window, gaps in zip(out, hidden, strict=True):
        for lead, gap in zip(window.T, gaps.T, strict=True):
            lead[gap] = np.interp(time[gap], time[~gap], lead[~gap])
    return out
