"""Held-out evaluation: train once per seed, predict the test records once per seed, compare with baselines."""

import logging

import numpy as np

from keras_ecg.baselines import boosting_on_rhythm, rhythm_table
from keras_ecg.config import Config
from keras_ecg.data.pipeline import get_all_beats, get_all_labels
from keras_ecg.data.splits import resolve_split
from keras_ecg.experiments.common import (
    check_two_classes,
    fit_fold,
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
from keras_ecg.runs import RunFolder, load_predictions

logger = logging.getLogger(__name__)


def run_final(config: Config) -> RunFolder:
    """Train and score the configured model on the configured split.

    Returns:
        The finished run folder.

    Raises:
        InputError: a split with a shared subject, a missing record, damaged data, or an unknown hyperparameter.
    """
    split = resolve_split(config, packed_subjects(config))
    run = open_beat_run(config, f"final_{split.name}", (*split.train, *split.test), config.evaluation.seeds)
    if run.finished:
        return run
    check_two_classes(get_all_labels(split.train, config), "the training records")
    if config.evaluation.baselines:
        rhythm_table((*split.train, *split.test), config)  # fails before hours of training if the data is damaged
    logger.info("train %s\ntest  %s", " ".join(split.train), " ".join(split.test))
    seeds = config.evaluation.seeds
    tasks = [(run, f"seed_{seed}", split.train, split.test, config, seed, seed == seeds[0]) for seed in seeds]
    fit_folds(fit_fold, tasks, config.evaluation.jobs)
    beats = get_all_beats(split.test, config)
    probabilities = np.stack([run.load_part(f"seed_{seed}")["probabilities"] for seed in seeds])
    boosted = boosting_on_rhythm(split.train, split.test, config) if config.evaluation.baselines else None
    write_beats(run, beats, {"model": probabilities}, seeds, boosted)
    run.write_history([row for seed in seeds for row in part_history(run, f"seed_{seed}", seed)])
    run.write_strips(**error_strips(config, load_predictions(run.path / "predictions.npz")))
    details = {"selection": selection_note(config, split.test), "seen_unlabelled": seen_unlabelled(config, split.test)}
    print(headline(run, run.finish(train=list(split.train), test=list(split.test), **details)))
    return run
