"""Dotted names of metrics: nesting them into a dictionary, and converting that to plain JSON values."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_ecg import metrics

Named = Iterator[tuple[str, Any]]


def plain(value: Any) -> Any:
    """Convert a value for JSON: Python numbers, lists, and None for undefined values."""
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def nest(items: Named) -> dict:
    """{"a": {"b": 1}} from ("a.b", 1)."""
    out: dict = {}
    for name, value in items:
        *path, last = name.split(".")
        here = out
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    return out


def over_seeds(name: str, values: np.ndarray) -> Named:
    """Mean and standard deviation over seeds of values (K,)."""
    yield f"{name}.mean", metrics.seed_mean(values)
    yield f"{name}.sd", np.std(values) if len(values) > 1 else None


def interval_of(name: str, resampled: dict[str, np.ndarray]) -> Named:
    """The 95 % CI of a metric from its bootstrap values; None where nothing was resampled."""
    low, high = metrics.interval(resampled[name]) if resampled else (None, None)
    yield from ((f"{name}.low", low), (f"{name}.high", high))


def at(scores: dict, name: str) -> dict:
    """The entry at a dotted name of nested metrics; empty where there is none."""
    for part in name.split("."):
        scores = scores.get(part) or {}
    return scores
