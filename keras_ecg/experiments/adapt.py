"""Patient adaptation: train on other patients, adapt to the first minutes of each test record, score the rest of it."""

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
from keras_ecg.experiments.parts import fit_parts
from keras_ecg.experiments.strips import error_strips
from keras_ecg.experiments.study import (
    columns_of,
    headline,
    need_labels,
    open_study,
    packed_subjects,
    part_history,
    seen_unlabelled,
    selection_note,
    write_beats,
)
from keras_ecg.metrics import confusion_matrix, summary_scores
from keras_ecg.quiet import bars_hidden
from keras_ecg.runs import RunFolder, load_predictions
from keras_ecg.training import predict_records, train_classifier

logger = logging.getLogger(__name__)


def early_beats(records: tuple[str, ...], config: Config) -> np.ndarray:
    """Which beats (n,) of the records, in the order of `get_all_beats`, lie in a record's first `adaptation.seconds`.

    Raises:
        InputError: no HDF5 files of these records, or none with a beat after that.
    """
    beats = get_all_beats(list(records), config)
    rates = {r: original_rate_hz(config.database.hdf5_dir, r) for r in records}
    early = beats["sample"] < config.adaptation.seconds * np.array([rates[r] for r in beats["record"]])
    if early.all():
        raise InputError("adaptation.seconds", f"{config.adaptation.seconds}", "less than a record lasts", "lower it")
    return early


def fit_adapted_part(
    run: RunFolder,
    part: str,
    train: tuple[str, ...],
    test: tuple[str, ...],
    early: np.ndarray,
    config: Config,
    seed: int,
) -> None:
    """Trains on `train` with `seed`, adapts to each of `test`, predicts what is left of it, and stores the part.

    Args:
        run: the run folder.
        part: its name in it; nothing is done if it is stored already.
        train: training records.
        test: test records.
        early: which of their beats (n,) give away their labels: `early_beats`.
        config: of model, training, stream and adaptation.
        seed: of everything random.
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
    """Adapts a model of the configured split to the first minutes of each test record, and scores the rest.

    Beside it stands the same model as it was, on the same beats.

    Returns:
        The finished run folder.

    Raises:
        InputError: as `run_final`, of `training.data_parallel`, or of as many minutes as the records have.
    """
    if config.training.data_parallel:
        raise InputError("training.data_parallel", "true", "false: a few minutes fit on one device", "leave it out")
    split = resolve_split(config, packed_subjects(config))
    early = early_beats(split.test, config)
    records, seeds = (*split.train, *split.test), config.evaluation.seeds
    run = open_study(config, f"adapted_{split.name}", records, seeds, own="adaptation")
    if run.finished:
        return run
    need_labels(get_all_labels(split.train, config), "the training records")
    parts = [f"seed_{seed}" for seed in seeds]
    tasks = [(run, part, split.train, split.test, early, config, seed) for part, seed in zip(parts, seeds, strict=True)]
    fit_parts(fit_adapted_part, tasks, config.evaluation.jobs)
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
