"""Training and test records. A split with a subject on both sides is rejected."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from keras_ecg.config import Config, Evaluation
from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError


@dataclass(frozen=True)
class Split:
    """Names of a split and of its training and test records."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


def reject_shared_subjects(
    name: str, train: dict[str, str], test: dict[str, str], allowed: tuple[str, ...] = ()
) -> None:
    """Check that no subject is in both training and test set.

    Args:
        name: name of the split, for the message.
        train: subject of each training record.
        test: subject of each test record.
        allowed: subjects that are declared exceptions.

    Raises:
        InputError: a record or a subject is on both sides, or a side is empty.
    """
    if not train or not test:
        raise InputError(
            f"split {name}",
            f"{len(train)} training and {len(test)} test records",
            "at least one of each",
            "add records",
        )
    shared = (set(train.values()) & set(test.values())) - set(allowed)
    shared |= set(train) & set(test)
    if shared:
        found = f"subject {', '.join(sorted(shared))} on both sides"
        raise InputError(
            f"split {name}", found, "each subject on one side", "move all records of a subject to one side"
        )


def named_records(evaluation: Evaluation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return training and test records of the configured split, including records that are not packed."""
    if evaluation.split == "records":
        return evaluation.train_records, evaluation.test_records
    return mitdb.SPLITS[evaluation.split]


def resolve_split(config: Config, subjects: dict[str, str]) -> Split:
    """Return the configured split, restricted to packed records and checked for shared subjects.

    Args:
        config: `evaluation.split` selects the split.
        subjects: subject of each packed record.

    Raises:
        InputError: a subject is on both sides (except for the subject of 201 and 202 in DS1 -> DS2), or a listed record
            is missing or listed twice.
    """
    split = config.evaluation.split
    if split != "records" and config.database.name not in mitdb.NAMES:
        found = f"{split}, a split of MIT-BIH, for the database {config.database.name}"
        do = "set evaluation.split=records and its lists (--train-records and --test-records)"
        raise InputError("evaluation.split", found, "records", do)
    train, test = named_records(config.evaluation)
    if split == "records":
        missing = [r for r in (*train, *test) if r not in subjects]
        if missing:
            raise InputError("split records", f"no record {', '.join(missing)}", "packed records", "correct the lists")
        twice = [r for side in (train, test) for r in dict.fromkeys(side) if side.count(r) > 1]
        if twice:
            raise InputError("split records", f"{', '.join(twice)} twice", "each record once", "correct the lists")
    else:
        train, test = (tuple(r for r in side if r in subjects) for side in (train, test))
    allowed = (mitdb.subject_of("201"),) if split == "ds1_ds2" else ()
    reject_shared_subjects(split, {r: subjects[r] for r in train}, {r: subjects[r] for r in test}, allowed)
    return Split(split, train, test)


def patient_folds(
    records: np.ndarray, subjects: np.ndarray, labels: np.ndarray, folds: int, seed: int
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return training and test records of each fold, without shared subjects, balanced by beats per class.

    Args:
        records: (n,) record of each beat.
        subjects: (n,) subject of each beat.
        labels: (n,) class of each beat.
        folds: number of folds.
        seed: seed of the shuffle in StratifiedGroupKFold.

    Raises:
        InputError: fewer subjects than folds.
    """
    count = len(np.unique(subjects))
    if count < folds or folds < 2:
        raise InputError(
            "evaluation.folds", f"{folds} folds of {count} subjects", "2 to the number of subjects", "correct it"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    out = []
    for train, test in splitter.split(records, labels, subjects):
        sides = tuple(tuple(dict.fromkeys(records[side].tolist())) for side in (train, test))
        named = [dict(zip(records[side].tolist(), subjects[side].tolist(), strict=True)) for side in (train, test)]
        reject_shared_subjects("k-fold", *named)
        out.append(sides)
    return out
