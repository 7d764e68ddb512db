"""Patient-specific fine-tuning: train on DS1, fine-tune on the first minutes of each test record, score the rest."""

import logging
import time

import numpy as np
from tqdm import tqdm

from keras_ecg.adaptation import Adapter, examples_of
from keras_ecg.baselines import boosting_on_rhythm
from keras_ecg.config import Config
from keras_ecg.data.hdf5 import original_rate_hz
from keras_ecg.data.pipeline import get_all_beats, get_all_labels
from keras_ecg.data.splits import resolve_split
from keras_ecg.errors import InputError
from keras_ecg.experiments.common import (
    check_two_classes,
    columns_of,
    headline,
    open_beat_run,
    packed_subjects,
    part_history,
    seen_unlabelled,
    selection_note,
    write_beats,
)
from keras_ecg.experiments.parts import fit_folds
from keras_ecg.experiments.strips import error_strips
from keras_ecg.metrics import confusion_matrix, summary_scores
from keras_ecg.quiet import bars_hidden
from keras_ecg.runs import RunFolder, load_predictions
from keras_ecg.training import predict_records, train_classifier

logger = logging.getLogger(__name__)


def early_beats(records: tuple[str, ...], config: Config) -> np.ndarray:
    """Return a mask (n,), in the order of `get_all_beats`, of the beats in the first `adaptation.seconds` of a record.

    Raises:
        InputError: missing HDF5 files, or no beats after the first `adaptation.seconds`.
    """
    beats = get_all_beats(list(records), config)
    rates = {r: original_rate_hz(config.database.hdf5_dir, r) for r in records}
    early = beats["sample"] < config.adaptation.seconds * np.array([rates[r] for r in beats["record"]])
    if early.all():
        found = f"{config.adaptation.seconds}"
        raise InputError("adaptation.seconds", found, "less than the duration of a record", "lower it")
    return early


def fit_adapted_fold(
    run: RunFolder,
    part: str,
    train: tuple[str, ...],
    test: tuple[str, ...],
    early: np.ndarray,
    config: Config,
    seed: int,
) -> None:
    """Train on `train`, fine-tune on the early beats of each test record, and store predictions of the later beats.

    Args:
        run: run folder.
        part: name of the fold's file in the run folder; a stored fold is skipped.
        train: training records.
        test: test records.
        early: mask (n,) of the test beats whose labels are used, see `early_beats`.
        config: configuration of model, training, stream and adaptation.
        seed: seed of training and fine-tuning.
    """
    if run.has_part(part):
        logger.info("%s: %s is done", run.path.name, part)
        return
    logger.info("%s: %s: training on %d records, adapting to %d", run.path.name, part, len(train), len(test))
    began = time.monotonic()
    classifier = train_classifier(train, config, seed)
    beats = get_all_beats(list(test), config)
    before = predict_records(classifier, test, config)
    adapter, found = Adapter(classifier, train, config, seed), np.empty_like(before)
    for record in tqdm(test, "adapt", unit="record", disable=bars_hidden() or None):
        own = beats["record"] == record
        examples, first = examples_of(record, config, classifier), early[own]
        adapter.fit(examples.take(np.flatnonzero(first)))
        found[own] = adapter.predict(examples)
    columns = columns_of(classifier.history)
    seconds = round(time.monotonic() - began, 1)
    stored = {"probabilities": found[~early].astype(np.float16), "before": before[~early].astype(np.float16)}
    run.save_part(part, **stored, seconds=np.array(seconds), **columns)
    scores = [
        summary_scores(confusion_matrix(beats["label"][~early], p[~early].argmax(1)))["macro_f1_nsvf"]
        for p in (before, found)
    ]
    logger.info("%s: macro-F1 (N S V F) %.4f, adapted %.4f, %.0f s", part, *scores, seconds)


def run_adaptation(config: Config) -> RunFolder:
    """Run patient-specific fine-tuning on the configured split, compared with the unadapted model on the same beats.

    Returns:
        The finished run folder.

    Raises:
        InputError: as in `run_final` and `early_beats`, or `training.data_parallel`.
    """
    if config.training.data_parallel:
        expected = "false: fine-tuning on a few minutes uses one device"
        raise InputError("training.data_parallel", "true", expected, "set it to false")
    split = resolve_split(config, packed_subjects(config))
    early = early_beats(split.test, config)
    records, seeds = (*split.train, *split.test), config.evaluation.seeds
    run = open_beat_run(config, f"adapted_{split.name}", records, seeds, own="adaptation")
    if run.finished:
        return run
    check_two_classes(get_all_labels(split.train, config), "the training records")
    parts = [f"seed_{seed}" for seed in seeds]
    tasks = [(run, part, split.train, split.test, early, config, seed) for part, seed in zip(parts, seeds, strict=True)]
    fit_folds(fit_adapted_fold, tasks, config.evaluation.jobs)
    stored = [run.load_part(part) for part in parts]
    beats = {name: values[~early] for name, values in get_all_beats(list(split.test), config).items()}
    names = {"model": "probabilities", "unadapted": "before"}
    models = {name: np.stack([part[key] for part in stored]) for name, key in names.items()}
    boosted = boosting_on_rhythm(split.train, split.test, config)[~early] if config.evaluation.baselines else None
    write_beats(run, beats, models, seeds, boosted)
    run.write_history([row for part, seed in zip(parts, seeds, strict=True) for row in part_history(run, part, seed)])
    run.write_strips(**error_strips(config, load_predictions(run.path / "predictions.npz")))
    details = {"selection": selection_note(config, split.test), "seen_unlabelled": seen_unlabelled(config, split.test)}
    details["adapted_seconds"] = config.adaptation.seconds
    print(headline(run, run.finish(train=list(split.train), test=list(split.test), **details)))
    return run
