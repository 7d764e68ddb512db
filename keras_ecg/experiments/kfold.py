"""Inter-patient k-fold cross-validation: every record is scored once, by a model trained on other subjects."""

import numpy as np

from keras_ecg.baselines import boosting_on_rhythm, rhythm_table
from keras_ecg.config import Config
from keras_ecg.data.pipeline import get_all_beats
from keras_ecg.data.splits import patient_folds
from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError
from keras_ecg.experiments.common import (
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


def run_kfold(config: Config) -> RunFolder:
    """Run inter-patient k-fold cross-validation, once per seed, and pool the test folds.

    Returns:
        The finished run folder.

    Raises:
        InputError: fewer subjects than folds, damaged data, or an unknown hyperparameter.
    """
    # The names of the default list are those of MIT-BIH: in another database they are other records.
    excluded = config.evaluation.exclude_records if config.database.name in mitdb.NAMES else ()
    records = tuple(r for r in packed_subjects(config) if r not in excluded)
    if not records:
        expected = "at least one record outside evaluation.exclude_records"
        raise InputError(config.database.tfrecord_dir, "no record to score", expected, "correct it, or pack records")
    run = open_beat_run(config, "kfold", records, config.evaluation.kfold_seeds)
    if run.finished:
        return run
    if config.evaluation.baselines:
        rhythm_table(records, config)  # fails before hours of training if the data is damaged
    beats = get_all_beats(records, config)
    settings = config.evaluation
    folds = patient_folds(beats["record"], beats["subject"], beats["label"], settings.folds, settings.fold_seed)
    fold = np.empty(len(beats["label"]), np.int64)
    probabilities = np.empty((len(settings.kfold_seeds), len(fold), 5), np.float16)
    boosted = np.empty((len(fold), 5), np.float16)
    history = []
    parts = {(k, seed): f"fold_{k}_seed_{seed}" for k in range(len(folds)) for seed in settings.kfold_seeds}
    tasks = [(run, part, *folds[k], config, seed, False) for (k, seed), part in parts.items()]
    fit_folds(fit_fold, tasks, settings.jobs)
    for k, (train, test) in enumerate(folds):
        scored = np.isin(beats["record"], test)
        fold[scored] = k
        for i, seed in enumerate(settings.kfold_seeds):
            part = parts[k, seed]
            probabilities[i, scored] = run.load_part(part)["probabilities"]
            history += part_history(run, part, seed, k)
        if settings.baselines:
            boosted[scored] = boosting_on_rhythm(train, test, config)
    models, seeds = {"model": probabilities}, settings.kfold_seeds
    write_beats(run, beats, models, seeds, boosted if settings.baselines else None, fold=fold)
    run.write_history(history)
    run.write_strips(**error_strips(config, load_predictions(run.path / "predictions.npz")))
    details = {"selection": selection_note(config, records), "seen_unlabelled": seen_unlabelled(config, records)}
    print(headline(run, run.finish(folds=[list(test) for _, test in folds], **details)))
    return run
