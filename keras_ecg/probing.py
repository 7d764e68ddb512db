"""What a frozen encoder says of single beats, and a linear classifier on it: features, draws of labels, the probe."""

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

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the logistic regression: the inverse of its regularization
FOLDS = 5
BATCH = 64  # of what is only predicted
REACH_SECONDS = 0.3  # of the tokens on each side of a beat: its P and T waves


def reach_of(encoder: keras.Model, sampling_rate_hz: float) -> int:
    """How many of an encoder's tokens lie within REACH_SECONDS, at least one."""
    (samples, _), tokens = encoder.input_shape[1:], encoder.output_shape[1]
    return max(1, round(REACH_SECONDS * sampling_rate_hz * tokens / samples))


def predict_batches(model: keras.Model, inputs: dict[str, np.ndarray] | np.ndarray, title: str = "") -> np.ndarray:
    """A compiled model's outputs for many examples, in batches of one size, for which XLA compiles once.

    Args:
        model: compiled.
        inputs: (n, ...) of any float type, or a dict of such.
        title: of the progress bar; empty for none.
    """
    found, named = [], inputs if isinstance(inputs, dict) else {"": inputs}
    count = len(next(iter(named.values())))
    for start in tqdm(range(0, count, BATCH), title, unit="batch", disable=not title):
        parts = {k: v[start : start + BATCH].astype(np.float32) for k, v in named.items()}
        wanted = min(BATCH, count - start)
        whole = {k: np.resize(v, (BATCH, *v.shape[1:])) for k, v in parts.items()}  # repeats a smaller last batch
        found.append(model.predict_on_batch(whole if isinstance(inputs, dict) else whole[""])[:wanted])
    return np.concatenate(found)


def embed_beats(encoder: keras.Model, windows: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """The tokens on both sides of the beats in the middle of windows (n, T, 1), side by side: (n, K) float16."""
    tokens = BeatTokens(reach_of(encoder, sampling_rate_hz), dtype="float16")(encoder.output)
    model = keras.Model(encoder.input, tokens)
    model.compile(jit_compile=True)  # half as fast again
    return predict_batches(model, windows, "embed")


def embed_windows(encoder: keras.Model, windows: np.ndarray) -> np.ndarray:
    """The mean of the tokens of windows (n, T, L): (n, D) float16; of R leads' tokens those of each, (n, R D)."""
    model = keras.Model(encoder.input, RowMeans(token_rows(encoder))(encoder.output))
    model.compile(jit_compile=True)
    return predict_batches(model, windows, "embed").astype(np.float16)


def token_windows(encoder: keras.Model, windows: np.ndarray) -> np.ndarray:
    """The tokens of windows (n, T, L): (n, N, D) float16."""
    model = keras.Model(encoder.input, keras.layers.Activation("linear", dtype="float16")(encoder.output))
    model.compile(jit_compile=True)
    return predict_batches(model, windows, "embed")


def standardized(blocks: list[np.ndarray], pool: np.ndarray) -> np.ndarray:
    """Blocks of features (n, K) side by side, each with a mean of 0 and a total variance of 1 over the beats at `pool`.

    A block counts as much as another, however many features it has. The pool may be labelled; no label is used.
    """
    out = []
    for block in blocks:
        part = block[pool].astype(np.float32)
        spread = np.maximum(part.std(axis=0), 1e-6) * np.sqrt(block.shape[1])
        out.append((block - part.mean(axis=0)) / spread)
    return np.concatenate(out, axis=1)


def relative_to_record(features: np.ndarray, record: np.ndarray) -> np.ndarray:
    """Features (n, K) less the median over the beats of their record: what is unlike the record's usual beat.

    Transductive: of a test record all beats are seen, and no label.
    """
    out = features.astype(np.float32)
    for name in np.unique(record):
        own = record == name
        out[own] -= np.median(out[own], axis=0)
    return out


def draw_labels(labels: np.ndarray, per_class: dict[int, int], seed: int) -> np.ndarray:
    """Indices of beats drawn uniformly from each class, by seed.

    Args:
        labels: (n,) classes of the pool.
        per_class: how many of each class.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(np.flatnonzero(labels == k), count, replace=False) for k, count in per_class.items()]
    return np.concatenate(drawn)


def halves(total: int) -> dict[int, int]:
    """A balanced draw of two classes: half of the labels each; an odd one is normal."""
    return {0: total - total // 2, 1: total // 2}


def simplest(results: dict) -> int:
    """The strongest regularization whose mean score lies within one standard error of the best one's.

    Breiman L et al., Classification and Regression Trees, 1984: with few labels the best score is the luckiest.

    Args:
        results: of a grid search over rising C.

    Returns:
        Its index.
    """
    folds = np.stack([v for k, v in results.items() if re.fullmatch(r"split\d+_test_score", k)])  # (folds, candidates)
    mean, error = folds.mean(0), folds.std(0, ddof=1) / np.sqrt(len(folds))
    return int(np.flatnonzero(mean >= (mean - error)[mean.argmax()])[0])


def fit_probe(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int, balanced: bool = True) -> Any:
    """Logistic regression, its regularization chosen by cross-validation inside the given labels.

    Args:
        features: (n, K).
        labels: (n,).
        groups: (n,): records, which the folds keep whole where there are enough of them.
        seed: of the folds.
        balanced: whether rare classes weigh as much as common ones.
    """
    folds = int(min(FOLDS, np.bincount(labels)[np.unique(labels)].min()))
    model = LogisticRegression(max_iter=300, class_weight="balanced" if balanced else None)
    if folds < 2:
        return model.set_params(C=STRENGTHS[0]).fit(features, labels)
    parts = []
    if len(np.unique(groups)) >= folds:
        grouped = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        parts = list(grouped.split(features, labels, groups))
    if not parts or any(len(np.unique(labels[part])) < len(np.unique(labels)) for pair in parts for part in pair):
        parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels))
    search = GridSearchCV(model, {"C": STRENGTHS}, scoring="neg_log_loss", cv=parts, refit=simplest)
    return search.fit(features, labels).best_estimator_
