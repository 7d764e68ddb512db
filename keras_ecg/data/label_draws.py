"""Evaluation protocols with few labels: which beats may be labelled, and which are scored."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from keras_ecg.config import Config
from keras_ecg.databases.mitdb import DS1, DS2, SAME_MAN
from keras_ecg.errors import InputError

POOL = tuple(record for record in DS1 if record != SAME_MAN[0])  # the subject's other record, 202, is in DS2


@dataclass(frozen=True)
class Draw:
    """Indices of the beats of one seed: labelled pool, validation beats and test beats."""

    pool: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def protocol_records(config: Config, packed: list[str]) -> tuple[str, ...]:
    """Return the packed records that the configured protocol uses.

    Raises:
        InputError: for `inter_patient`, no record of DS1 or none of DS2 is packed.
    """
    if config.finetuning.protocol != "inter_patient":
        return tuple(packed)
    sides = [[record for record in side if record in packed] for side in (POOL, DS2)]
    if not all(sides):
        found = f"{len(sides[0])} records of DS1 and {len(sides[1])} of DS2"
        raise InputError("protocol inter_patient", found, "some of each", "preprocess and pack them")
    return tuple(sorted(sides[0] + sides[1]))


def draw_beats(config: Config, beats: dict[str, np.ndarray], seed: int) -> Draw:
    """Draw the labelled pool, validation beats and test beats of the configured protocol.

    inter_patient  pool: DS1 without 201; test: DS2
    intra_patient  test: a stratified fifth of all beats; pool: the others. The same subjects are on both sides, so that
                   scores are optimistic: for comparison only
    subsampling    subjects are split into pool, validation and test by seed

    Args:
        config: options `finetuning.protocol` and `finetuning.test_fraction`.
        beats: arrays record, subject and label, each (n,).
        seed: seed of the draw.

    Raises:
        InputError: too few subjects to split.
    """
    every, empty = np.arange(len(beats["label"])), np.empty(0, int)
    protocol = config.finetuning.protocol
    if protocol == "inter_patient":
        return Draw(
            np.flatnonzero(np.isin(beats["record"], POOL)), empty, np.flatnonzero(np.isin(beats["record"], DS2))
        )
    if protocol == "intra_patient":
        pool, test = train_test_split(every, test_size=0.2, stratify=beats["label"] > 0, random_state=seed)
        return Draw(np.sort(pool), empty, np.sort(test))
    subjects = np.unique(beats["subject"])
    count = round(config.finetuning.test_fraction * len(subjects))
    if not 0 < 2 * count < len(subjects):
        found = f"{len(subjects)} subjects, {count} of them to test and {count} to validate"
        raise InputError(
            "finetuning.test_fraction", found, "subjects left for training", "lower it, or pack more records"
        )
    order = np.random.default_rng(seed).permutation(subjects)
    sides = order[2 * count :], order[count : 2 * count], order[:count]
    return Draw(*(np.flatnonzero(np.isin(beats["subject"], side)) for side in sides))


def draw_normal(labels: np.ndarray, pool: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `pool` with `count` of its normal beats, drawn by seed; all of them if `count` is 0 or larger."""
    normal, others = pool[labels[pool] == 0], pool[labels[pool] > 0]
    if count and count < len(normal):
        normal = np.random.default_rng(seed).choice(normal, count, replace=False)
    return np.sort(np.concatenate([normal, others]))
