"""Held-out evaluation: train on one side of a split, once per seed; predict the other once; compare with baselines."""

import logging

import numpy as np

from keras_ecg.baselines import boosting_on_rhythm, rhythm_table
from keras_ecg.config import Config
from keras_ecg.data.pipeline import get_all_beats, get_all_labels
from keras_ecg.data.splits import resolve_split
from keras_ecg.experiments.parts import fit_parts
from keras_ecg.experiments.strips import error_strips
from keras_ecg.experiments.study import (
    fit_part,
    headline,
    need_labels,
    open_study,
    packed_subjects,
    part_history,
    seen_unlabelled,
    selection_note,
    write_beats,
)
from keras_ecg.runs import RunFolder, load_predictions

logger = logging.getLogger(__name__)


def run_final(config: Config) -> RunFolder:
    """Trains and scores the configured model on the configured split.

    Returns:
        The finished run folder.

    Raises:
        InputError: a split that shares a subject, a missing record, damaged data, a misspelt hyperparameter.
    """
    split = resolve_split(config, packed_subjects(config))
    run = open_study(config, f"final_{split.name}", (*split.train, *split.test), config.evaluation.seeds)
    if run.finished:
        return run
    need_labels(get_all_labels(split.train, config), "the training records")
    if config.evaluation.baselines:
        rhythm_table((*split.train, *split.test), config)  # what is wrong with it is told before hours of training
    logger.info("train %s\ntest  %s", " ".join(split.train), " ".join(split.test))
    seeds = config.evaluation.seeds
    tasks = [(run, f"seed_{seed}", split.train, split.test, config, seed, seed == seeds[0]) for seed in seeds]
    fit_parts(fit_part, tasks, config.evaluation.jobs)
    beats = get_all_beats(split.test, config)
    probabilities = np.stack([run.load_part(f"seed_{seed}")["probabilities"] for seed in seeds])
    boosted = boosting_on_rhythm(split.train, split.test, config) if config.evaluation.baselines else None
    write_beats(run, beats, {"model": probabilities}, seeds, boosted)
    run.write_history([row for seed in seeds for row in part_history(run, f"seed_{seed}", seed)])
    run.write_strips(**error_strips(config, load_predictions(run.path / "predictions.npz")))
    details = {"selection": selection_note(config, split.test), "seen_unlabelled": seen_unlabelled(config, split.test)}
    print(headline(run, run.finish(train=list(split.train), test=list(split.test), **details)))
    return run
