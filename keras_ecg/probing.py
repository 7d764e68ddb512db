"""Probing of frozen encoders: features of beats and windows, label sampling, and logistic regression."""

import re
from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from tqdm import tqdm

from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.fewer_leads import token_rows
from keras_ecg.models.window_classifier import BeatTokens

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the logistic regression, the inverse regularization strength
FOLDS = 5
BATCH = 64  # batch size of prediction
REACH_SECONDS = 0.3  # on each side of a beat, to cover P and T waves


def reach_of(encoder: keras.Model, sampling_rate_hz: float) -> int:
    """Return the number of an encoder's tokens within REACH_SECONDS, at least 1."""
    (samples, _), tokens = encoder.input_shape[1:], encoder.output_shape[1]
    return max(1, round(REACH_SECONDS * sampling_rate_hz * tokens / samples))


def predict_batches(model: keras.Model, inputs: dict[str, np.ndarray] | np.ndarray, title: str = "") -> np.ndarray:
    """Predict in batches of constant size, so that XLA compiles only once.

    Args:
        model: compiled model.
        inputs: (n, ...) of any float type, or a dict of such arrays.
        title: title of the progress bar; empty for none.
    """
    outputs, named = [], inputs if isinstance(inputs, dict) else {"": inputs}
    count = len(next(iter(named.values())))
    for start in tqdm(range(0, count, BATCH), title, unit="batch", disable=not title):
        parts = {k: v[start : start + BATCH].astype(np.float32) for k, v in named.items()}
        size = min(BATCH, count - start)
        whole = {k: np.resize(v, (BATCH, *v.shape[1:])) for k, v in parts.items()}  # repeats a smaller last batch
        outputs.append(model.predict_on_batch(whole if isinstance(inputs, dict) else whole[""])[:size])
    return np.concatenate(outputs)


def embed_beats(encoder: keras.Model, windows: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Compute the concatenated tokens around the beats at the centres of windows (n, T, 1): (n, K) float16."""
    tokens = BeatTokens(reach_of(encoder, sampling_rate_hz), dtype="float16")(encoder.output)
    model = keras.Model(encoder.input, tokens)
    model.compile(jit_compile=True)  # 1.5 times as fast
    return predict_batches(model, windows, "embed")


def embed_windows(encoder: keras.Model, windows: np.ndarray) -> np.ndarray:
    """Compute the mean tokens of windows (n, T, L): (n, D) float16, or (n, R D) if R leads have their own tokens."""
    model = keras.Model(encoder.input, RowMeans(token_rows(encoder))(encoder.output))
    model.compile(jit_compile=True)
    return predict_batches(model, windows, "embed").astype(np.float16)


def token_windows(encoder: keras.Model, windows: np.ndarray) -> np.ndarray:
    """Compute the tokens of windows (n, T, L): (n, N, D) float16."""
    model = keras.Model(encoder.input, keras.layers.Activation("linear", dtype="float16")(encoder.output))
    model.compile(jit_compile=True)
    return predict_batches(model, windows, "embed")


def standardized(blocks: list[np.ndarray], pool: np.ndarray) -> np.ndarray:
    """Standardize and concatenate blocks of features (n, K): mean 0 and total variance 1 per block over `pool`.

    Blocks have equal total variance whatever their number of features. `pool` are indices; labels are not used.
    """
    out = []
    for block in blocks:
        part = block[pool].astype(np.float32)
        spread = np.maximum(part.std(axis=0), 1e-6) * np.sqrt(block.shape[1])
        out.append((block - part.mean(axis=0)) / spread)
    return np.concatenate(out, axis=1)


def relative_to_record(features: np.ndarray, record: np.ndarray) -> np.ndarray:
    """Subtract from features (n, K) the median over all beats of the same record.

    This is transductive: all beats of a test record are used, without labels.
    """
    out = features.astype(np.float32)
    for name in np.unique(record):
        own = record == name
        out[own] -= np.median(out[own], axis=0)
    return out


def draw_labels(labels: np.ndarray, per_class: dict[int, int], seed: int) -> np.ndarray:
    """Draw beats uniformly from each class, and return their indices.

    Args:
        labels: (n,) classes of the pool.
        per_class: number of beats for each class.
        seed: seed of the draw.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(np.flatnonzero(labels == k), count, replace=False) for k, count in per_class.items()]
    return np.concatenate(drawn)


def balanced_counts(total: int) -> dict[int, int]:
    """Divide a number of labels between two classes; class 0 (normal) gets the extra one of an odd number."""
    return {0: total - total // 2, 1: total // 2}


def simplest(results: dict) -> int:
    """Select the strongest regularization whose mean score is within one standard error of the best (1-SE rule).

    Breiman L et al., Classification and Regression Trees, 1984. With few labels the best score is largely chance.

    Args:
        results: `cv_results_` of a grid search over increasing C.

    Returns:
        The index of the selected C.
    """
    folds = np.stack([v for k, v in results.items() if re.fullmatch(r"split\d+_test_score", k)])  # (folds, candidates)
    mean, error = folds.mean(0), folds.std(0, ddof=1) / np.sqrt(len(folds))
    return int(np.flatnonzero(mean >= (mean - error)[mean.argmax()])[0])


def fit_probe(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int, balanced: bool = True) -> Any:
    """Fit a logistic regression, with its regularization selected by cross-validation on the given labels.

    Args:
        features: (n, K).
        labels: (n,).
        groups: (n,) groups, such as records, that are not split between folds if there are enough of them.
        seed: seed of the folds.
        balanced: weight all classes equally.
    """
    folds = int(min(FOLDS, np.bincount(labels)[np.unique(labels)].min()))
    model = LogisticRegression(max_iter=300, class_weight="balanced" if balanced else None)
    if folds < 2:
        return model.set_params(C=STRENGTHS[0]).fit(features, labels)
    inner_folds = []
    if len(np.unique(groups)) >= folds:
        grouped = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        inner_folds = list(grouped.split(features, labels, groups))
    if not inner_folds or any(len(np.unique(labels[s])) < len(np.unique(labels)) for fold in inner_folds for s in fold):
        inner_folds = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels))
    search = GridSearchCV(model, {"C": STRENGTHS}, scoring="neg_log_loss", cv=inner_folds, refit=simplest)
    return search.fit(features, labels).best_estimator_
