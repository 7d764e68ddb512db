"""Metrics have dotted names: how they become a tree, and a tree becomes JSON."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_ecg import metrics

Named = Iterator[tuple[str, Any]]


def plain(value: Any) -> Any:
    """A value for JSON: Python numbers, lists, and None for what is undefined."""
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
    """Mean and standard deviation of a score that each seed has (K,)."""
    yield f"{name}.mean", metrics.seed_mean(values)
    yield f"{name}.sd", np.std(values) if len(values) > 1 else None


def interval_of(name: str, resampled: dict[str, np.ndarray]) -> Named:
    """The 95 % interval of a score from its bootstrap values; None where nothing was resampled."""
    low, high = metrics.interval(resampled[name]) if resampled else (None, None)
    yield from ((f"{name}.low", low), (f"{name}.high", high))


def at(scores: dict, name: str) -> dict:
    """What stands at a dotted name of nested scores; empty where nothing does."""
    for part in name.split("."):
        scores = scores.get(part) or {}
    return scores
