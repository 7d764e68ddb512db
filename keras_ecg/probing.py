"""What a frozen encoder says of single beats, and a linear classifier on it: features, draws of labels, the probe."""

from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from tqdm import tqdm

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the logistic regression: the inverse of its regularization
FOLDS = 5
EMBED_BATCH = 64
REACH_SECONDS = 0.3  # of the tokens on each side of a beat: its P and T waves


def beat_tokens(tokens: np.ndarray, reach: int) -> np.ndarray:
    """The tokens on both sides of a window's middle: (n, N, D) to (n, 2 reach D)."""
    middle = tokens.shape[1] // 2
    return tokens[:, middle - reach : middle + reach].reshape(len(tokens), -1)


def reach_of(encoder: keras.Model, sampling_rate_hz: float) -> int:
    """How many of an encoder's tokens lie within REACH_SECONDS, at least one."""
    (samples, _), tokens = encoder.input_shape[1:], encoder.output_shape[1]
    return max(1, round(REACH_SECONDS * sampling_rate_hz * tokens / samples))


def embed_beats(encoder: keras.Model, windows: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """`beat_tokens` of windows (n, T, 1) as float16 (n, K): what a frozen encoder says of their beats."""
    encoder.compile(jit_compile=True)  # half as fast again, for batches of one size
    reach, found = reach_of(encoder, sampling_rate_hz), []
    for start in tqdm(range(0, len(windows), EMBED_BATCH), "embed", unit="batch"):
        part = windows[start : start + EMBED_BATCH].astype(np.float32)
        whole = np.resize(part, (EMBED_BATCH, *part.shape[1:]))  # repeats a smaller last batch
        found.append(beat_tokens(encoder.predict_on_batch(whole)[: len(part)], reach).astype(np.float16))
    return np.concatenate(found)


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
    search = GridSearchCV(model, {"C": STRENGTHS}, scoring="neg_log_loss", cv=parts)
    return search.fit(features, labels).best_estimator_
