"""Metrics of rhythm classification, of its robustness to disturbances, and of the deletion test of occlusion maps."""

import numpy as np

from keras_ecg.databases.cinc2017 import CLASSES, RHYTHMS
from keras_ecg.metrics import class_scores, confusion_matrix, difference, kappa, resample_counts


def rhythm_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """All metrics of confusion matrices (..., 4, 4), each (...)."""
    each = class_scores(confusion)
    truth, guess = confusion.sum(-1), confusion.sum(-2)
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    f1 = 2 * hit / np.maximum(truth + guess, 1)
    out = {
        "score": f1[..., : len(RHYTHMS)].mean(-1),
        "accuracy": hit.sum(-1) / np.maximum(truth.sum(-1), 1),
        "macro_f1_four": f1.mean(-1),
        "kappa": kappa(confusion),
    }
    for k, c in enumerate(CLASSES):
        out |= {f"classes.{c}.{name}": values[..., k] for name, values in each.items()}
    return out


def evaluate_robustness(stored: dict[str, np.ndarray]) -> dict:
    """Metrics under every disturbance.

    Args:
        stored: y_true (m,), disturbance (c,), strength (c,), source, probabilities (c, m, 4).
    """
    rows = []
    for name, size, p in zip(stored["disturbance"], stored["strength"], stored["probabilities"], strict=True):
        found = rhythm_scores(confusion_matrix(stored["y_true"], p.argmax(1), len(CLASSES)))
        scores = {m: float(found[m]) for m in ("score", *(f"classes.{c}.f1" for c in CLASSES))}
        predicted = {f"predicted.{c}": float((p.argmax(1) == k).mean()) for k, c in enumerate(CLASSES)}
        rows.append({"disturbance": str(name), "strength": float(size), **scores, **predicted})
    return {"recordings": len(stored["y_true"]), "source": str(stored["source"]), "conditions": rows}


def evaluate_deletion(stored: dict[str, np.ndarray], bootstrap: int, seed: int) -> dict:
    """Drop of the predicted probability when the most important stretches are deleted, and when random ones are.

    Args:
        stored: base (m,), mapped (m, shares), random (m, shares, draws), shares.
        bootstrap: resamples over recordings for the CIs of the differences; 0 for none.
        seed: of the bootstrap.
    """
    mapped = stored["base"][:, None] - stored["mapped"]
    random = stored["base"][:, None] - stored["random"].mean(-1)
    counts = resample_counts(len(mapped), bootstrap, seed) if bootstrap else None
    rows = []
    for k, share in enumerate(stored["shares"]):
        gap = (mapped - random)[:, k]
        row = {"share": float(share), "mapped": mapped[:, k].mean(), "random": random[:, k].mean()}
        if counts is not None:
            row |= difference(gap.mean(), counts @ gap / len(gap))
        rows.append(row)
    return {"recordings": len(mapped), "shares": rows}
