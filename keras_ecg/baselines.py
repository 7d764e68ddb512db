"""What every table holds beside a model: a predictor that never looks, and one that looks at the rhythm alone."""

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
    """Rhythm features (n, R) and labels (n,) of every beat of the records, from their HDF5 files.

    Raises:
        InputError: no HDF5 file, a damaged one, or one of other beats than were packed.
    """
    features, labels = [], []
    packed = read_manifest(config.database.tfrecord_dir)["records"]
    for record in records:
        columns = read_columns(config.database.hdf5_dir, record)
        if any(columns[k].tolist() != packed[record][k] for k in ("sample", "label")):
            path = hdf5_path(config.database.hdf5_dir, record)
            raise InputError(path, "other beats", "those that were packed", "run create_batched_tfrecords.py")
        series = rr_series(columns["rr_before"], columns["rr_after"], CONTEXT)
        features.append(rr_features(rr_windows(series, len(columns["label"]), CONTEXT)))
        labels.append(columns["label"])
    return np.concatenate(features), np.concatenate(labels)


def majority_class(count: int, classes: int = len(CLASSES)) -> np.ndarray:
    """Probabilities (count, classes) of the predictor that calls everything N."""
    out = np.zeros((count, classes), np.float32)
    out[:, 0] = 1
    return out


def predict_classes(model: ClassifierMixin, features: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (n, classes) float32 of a fitted scikit-learn classifier: 0 for a class that it never saw."""
    out = np.zeros((len(features), classes), np.float32)
    out[:, model.classes_] = model.predict_proba(features)
    return out


def boosting_on_rhythm(train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int = 0) -> np.ndarray:
    """Probabilities (n, 5) of scikit-learn's gradient boosting on the rhythm features of single beats."""
    x, y = rhythm_table(train, config)
    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=False).fit(x, y)
    return predict_classes(model, rhythm_table(test, config)[0], len(CLASSES))


def recording_table(records: tuple[str, ...], config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Rhythm features (n, R) and labels (n,) of whole recordings, from their packed beats."""
    features, labels = [], []
    config = replace(config, rhythm=replace(config.rhythm, crops=1))
    for inputs, label in create_rhythm_dataset(config, 256, False, records).as_numpy_iterator():
        seconds = inputs["length"].astype(np.float32) / np.float32(config.rhythm.sampling_rate_hz)
        features.append(recording_rhythm(inputs["beats"], seconds))
        labels.append(label)
    return np.concatenate(features), np.concatenate(labels)


def boosting_on_recordings(train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int = 0) -> np.ndarray:
    """Probabilities (n, 4) of gradient boosting on the rhythm features of recordings: no waveform."""
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
    """Windows (n, T, L) with straight lines through hidden samples (n, T, L); level beyond the outermost visible one.

    The baseline of a masked autoencoder: what it takes to fill the gaps of a signal without knowing what an ECG is.
    """
    out, time = signals.copy(), np.arange(signals.shape[1])
    for window, gaps in zip(out, hidden, strict=True):
        for lead, gap in zip(window.T, gaps.T, strict=True):
            lead[gap] = np.interp(time[gap], time[~gap], lead[~gap])
    return out
