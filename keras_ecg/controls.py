"""What every table holds beside a model: a predictor that never looks, and one that looks at the rhythm alone."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from keras_ecg.config import Config
from keras_ecg.data.hdf5 import hdf5_path, read_columns
from keras_ecg.data.tfrecords import read_manifest
from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.errors import InputError
from keras_ecg.signals.rhythm import CONTEXT, rr_features, rr_series, rr_windows


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


def always_n(count: int) -> np.ndarray:
    """Probabilities (count, 5) of the predictor that calls every beat N."""
    out = np.zeros((count, len(CLASSES)), np.float32)
    out[:, 0] = 1
    return out


def boosting_on_rhythm(train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int = 0) -> np.ndarray:
    """Probabilities (n, 5) of scikit-learn's gradient boosting on the rhythm features of single beats."""
    x, y = rhythm_table(train, config)
    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=False).fit(x, y)
    features, _ = rhythm_table(test, config)
    out = np.zeros((len(features), len(CLASSES)), np.float32)
    out[:, model.classes_] = model.predict_proba(features)
    return out


def interpolate_masked(signals: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Windows (n, T, L) with straight lines through hidden samples (n, T, L); level beyond the outermost visible one.

    The control of a masked autoencoder: what it takes to fill the gaps of a signal without knowing what an ECG is.
    """
    out, time = signals.copy(), np.arange(signals.shape[1])
    for window, gaps in zip(out, hidden, strict=True):
        for lead, gap in zip(window.T, gaps.T, strict=True):
            lead[gap] = np.interp(time[gap], time[~gap], lead[~gap])
    return out
