"""Who trains and who is tested: no subject on both sides, or there is no split."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from keras_ecg.config import Config, Evaluation
from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError


@dataclass(frozen=True)
class Split:
    """Training and test records."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


def reject_shared_subjects(
    name: str, train: dict[str, str], test: dict[str, str], allowed: tuple[str, ...] = ()
) -> None:
    """Rejects a split in which a subject stands on both sides.

    Args:
        name: of the split, for the message.
        train: record to subject.
        test: record to subject.
        allowed: subjects declared as exceptions.

    Raises:
        InputError: a record or a subject is on both sides, or a side is empty.
    """
    if not train or not test:
        raise InputError(
            f"split {name}", f"{len(train)} training and {len(test)} test records", "some of each", "name them"
        )
    shared = (set(train.values()) & set(test.values())) - set(allowed)
    shared |= set(train) & set(test)
    if shared:
        found = f"subject {', '.join(sorted(shared))} on both sides"
        raise InputError(
            f"split {name}", found, "subjects of one side only", "move all of a subject's records to one side"
        )


def named_records(evaluation: Evaluation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The configured split's training and test records, whether they are there or not."""
    if evaluation.split == "records":
        return evaluation.train_records, evaluation.test_records
    return mitdb.SPLITS[evaluation.split]


def resolve_split(config: Config, subjects: dict[str, str]) -> Split:
    """The configured split, cut to the records there are, and checked.

    Args:
        config: `evaluation.split` names it.
        subjects: record to subject, of every packed record.

    Raises:
        InputError: a subject on both sides (but for DS1 -> DS2's one man, 201 and 202), or a listed record is missing
            or listed twice.
    """
    wanted = config.evaluation
    train, test = named_records(wanted)
    if wanted.split == "records":
        missing = [r for r in (*train, *test) if r not in subjects]
        if missing:
            raise InputError("split records", f"no record {', '.join(missing)}", "packed records", "correct the lists")
        twice = [r for side in (train, test) for r in dict.fromkeys(side) if side.count(r) > 1]
        if twice:
            raise InputError("split records", f"{', '.join(twice)} twice", "each record once", "correct the lists")
    else:
        train, test = (tuple(r for r in side if r in subjects) for side in (train, test))
    allowed = (mitdb.subject_of("201"),) if wanted.split == "ds1_ds2" else ()
    reject_shared_subjects(wanted.split, {r: subjects[r] for r in train}, {r: subjects[r] for r in test}, allowed)
    return Split(wanted.split, train, test)


def patient_folds(
    records: np.ndarray, subjects: np.ndarray, labels: np.ndarray, folds: int, seed: int
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Training and test records of each fold: whole subjects, balanced by beats per class.

    Args:
        records: (n,) record of each beat.
        subjects: (n,) subject of each beat.
        labels: (n,) class of each beat.
        folds: how many.
        seed: of StratifiedGroupKFold's shuffle.

    Raises:
        InputError: fewer subjects than folds.
    """
    count = len(np.unique(subjects))
    if count < folds or folds < 2:
        raise InputError(
            "evaluation.folds", f"{folds} folds of {count} subjects", "2 to as many as subjects", "correct it"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    out = []
    for train, test in splitter.split(records, labels, subjects):
        sides = tuple(tuple(dict.fromkeys(records[side].tolist())) for side in (train, test))
        named = [dict(zip(records[side].tolist(), subjects[side].tolist(), strict=True)) for side in (train, test)]
        reject_shared_subjects("k-fold", *named)
        out.append(sides)
    return out
