import numpy as np
import pytest

from keras_ecg.config import Config, Evaluation, from_dict
from keras_ecg.data.splits import patient_folds, reject_shared_subjects, resolve_split
from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError

EVERY = {record: mitdb.subject_of(record) for record in mitdb.RECORDS}


def resolved(split="records", train=(), test=(), subjects=EVERY):
    return resolve_split(Config(evaluation=Evaluation(split=split, train_records=train, test_records=test)), subjects)


def test_split_of_listed_records_is_resolved():
    split = resolved(train=("101", "106"), test=("100",))
    assert (split.name, split.train, split.test) == ("records", ("101", "106"), ("100",))


@pytest.mark.parametrize(
    ("train", "test", "found"),
    [
        (("101", "201"), ("100", "202"), r"201\+202 on both sides"),
        (("101", "106"), ("106", "100"), "106 on both sides"),
        (("101",), (), "1 training and 0 test records"),
        ((), ("101",), "0 training and 1 test records"),
        (("101", "999"), ("100",), "no record 999"),
        (("101", "101"), ("100",), "101 twice"),
        (("101",), ("100", "100"), "100 twice"),
    ],
)
def test_split_with_shared_subject_or_bad_records_is_rejected(train, test, found):
    with pytest.raises(InputError, match=found):
        resolved(train=train, test=test)


def test_ds1_ds2_allows_only_its_declared_shared_subject():
    split = resolved("ds1_ds2")
    assert (split.train, split.test) == (mitdb.DS1, mitdb.DS2) and len(mitdb.DS1) == len(mitdb.DS2) == 22
    assert "201" in split.train and "202" in split.test
    moved = EVERY | {"100": "101"}  # any other shared subject is rejected
    with pytest.raises(InputError, match="subject 101 on both sides"):
        resolved("ds1_ds2", subjects=moved)


def test_shared_subject_is_rejected_in_other_splits():
    with pytest.raises(InputError, match=r"201\+202"):
        resolved(train=mitdb.DS1, test=mitdb.DS2)
    with pytest.raises(InputError, match="both sides"):
        reject_shared_subjects("any", {"201": "a"}, {"201": "a"}, allowed=("a",))  # a shared record is always rejected


def test_seed_split_has_no_shared_subject():
    split = resolved("seed")
    assert split.test == mitdb.SEED_TEST and len(split.train) == 38
    assert not {EVERY[r] for r in split.train} & {EVERY[r] for r in split.test}


def test_named_splits_are_restricted_to_packed_records():
    few = {r: EVERY[r] for r in ("101", "106", "100")}
    assert resolved("ds1_ds2", subjects=few).train == ("101", "106")
    with pytest.raises(InputError, match="2 training and 0 test records"):
        resolved("ds1_ds2", subjects={r: EVERY[r] for r in ("101", "106")})


@pytest.fixture(scope="module")
def beats():
    """Beats of 12 records of 11 subjects; some classes only in few records."""
    rng = np.random.default_rng(0)
    records = ["100", "101", "103", "105", "106", "108", "109", "201", "202", "203", "205", "208"]
    record = np.repeat(records, 60)
    label = rng.choice(4, len(record), p=[0.8, 0.1, 0.07, 0.03])
    return record, np.array([mitdb.subject_of(r) for r in record]), label


@pytest.mark.parametrize("folds", [2, 5, 11])
def test_folds_are_disjoint_by_subject(beats, folds):
    record, subject, label = beats
    out = patient_folds(record, subject, label, folds, seed=0)
    assert len(out) == folds
    assert sorted(r for _, test in out for r in test) == sorted(set(record.tolist()))
    for train, test in out:
        assert set(train) | set(test) == set(record.tolist())
        assert not {mitdb.subject_of(r) for r in train} & {mitdb.subject_of(r) for r in test}
        assert ("201" in test) == ("202" in test)


def test_folds_are_reproducible_by_seed(beats):
    assert patient_folds(*beats, 5, seed=3) == patient_folds(*beats, 5, seed=3)


def test_folds_are_balanced_by_class(beats):
    record, subject, label = beats
    for _, test in patient_folds(record, subject, label, 3, seed=0):
        share = (label[np.isin(record, test)] == 0).mean()
        assert abs(share - 0.8) < 0.08


@pytest.mark.parametrize(("folds", "found"), [(12, "12 folds of 11 subjects"), (1, "1 folds"), (0, "0 folds")])
def test_more_folds_than_subjects_is_rejected(beats, folds, found):
    with pytest.raises(InputError, match=found):
        patient_folds(*beats, folds, seed=0)


@pytest.mark.parametrize("split", ["ds1_ds2", "seed"])
def test_splits_of_mitdb_are_rejected_for_another_database(split):
    config = from_dict(Config, {"database": {"name": "own"}, "evaluation": {"split": split}})
    with pytest.raises(InputError, match="a split of MIT-BIH, for the database own; expected records"):
        resolve_split(config, {"100": "100", "106": "106"})
