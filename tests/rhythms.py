"""Synthetic recordings of the four rhythm classes, which a small model can distinguish."""

from pathlib import Path

import numpy as np
from conftest import write_signals

from keras_ecg.config import Config, from_dict, merge

RATE = 300
KINDS = "NAO~"


def intervals(kind: str, count: int, rng) -> np.ndarray:
    """RR intervals in seconds: regular, irregular, or bigeminal."""
    if kind == "A":
        return rng.uniform(0.4, 1.1, count)
    if kind == "O":
        return np.tile([0.55, 1.05], count)[:count] + rng.normal(0, 0.01, count)
    return 0.8 + rng.normal(0, 0.01, count)


def recording(kind: str, seconds: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A recording (M,) in mV at RATE, and its R-peak times in seconds; none for noise."""
    rng = np.random.default_rng(seed)
    at = np.arange(round(seconds * RATE)) / RATE
    if kind == "~":
        return rng.normal(0, 1, len(at)), np.empty(0)
    beats = 0.4 + np.cumsum(intervals(kind, round(seconds * 3), rng))
    beats = beats[beats < seconds - 0.3]
    signal = sum(size * np.exp(-(((at[:, None] - beats - late) / width) ** 2) / 2).sum(1)
                 for size, late, width in ((1.0, 0, 0.012), (0.25, 0.25, 0.05)))  # fmt: skip
    return signal + rng.normal(0, 0.02, len(at)), beats


def write_challenge(folder: Path, counts: dict[str, int], seconds=(12, 20, 34)) -> list[str]:
    """Write a folder in the challenge's layout with a number of recordings per class, of three lengths."""
    names, labels = [], []
    for kind, count in counts.items():
        for k in range(count):
            names.append(f"A{len(names) + 1:05d}")
            labels.append(kind)
            write_signals(folder, names[-1], recording(kind, seconds[k % 3], len(names))[0], RATE, ("ECG",))
    (folder / "REFERENCE-v3.csv").write_text("".join(f"{n},{k}\n" for n, k in zip(names, labels, strict=True)))
    (folder / "RECORDS").write_text("\n".join(names) + "\n")
    return names


def config_of(folder: Path, **sections) -> Config:
    """A small configuration for recordings in `folder`/raw, with all outputs in `folder`."""
    plain = {
        "task": "rhythm",
        "database": {"name": "cinc2017", "data_dir": str(folder / "raw"), "runs_dir": str(folder / "runs")},
        "rhythm": {
            "tfrecord_dir": str(folder / "packed"),
            "chunk_size": 8,
            "crop_seconds": 10.24,
            "window_seconds": 20.48,
            "calibration_fraction": 0.25,
            "robustness": {
                "recordings": 6,
                "snr_db": [6.0],
                "rates_hz": [100.0],
                "occlusion_recordings": 4,
                "maps_drawn": 4,
            },
        },
        "model": {"name": "resnet1d", "options": {"width": 8, "stages": 1, "blocks": 1, "head": {"width": 8}}},
        "loader": {"batch_size": 8, "shuffle_chunks": 2},
        "training": {"epochs": 1, "learning_rate": 1e-2, "class_weights": [1, 1, 1, 1]},
        "evaluation": {"folds": 2, "kfold_seeds": [0, 1], "seeds": [0], "bootstrap": 20},
    }
    return from_dict(Config, merge(plain, sections))
