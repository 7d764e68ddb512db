"""Hyperparameter search with KerasTuner, scored on held-out training subjects; test subjects are not used."""

import csv
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import yaml

from keras_ecg import __version__
from keras_ecg.config import Config, from_dict, merge, read_yaml, to_dict
from keras_ecg.data.pipeline import get_all_beats
from keras_ecg.data.splits import patient_folds, resolve_split
from keras_ecg.data.statistics import training_statistics
from keras_ecg.data.tfrecords import data_fingerprint, read_manifest
from keras_ecg.devices import WholeEvaluation, over_devices
from keras_ecg.errors import InputError
from keras_ecg.experiments.common import ALONE, check_contract, packed_subjects, relevant_settings
from keras_ecg.experiments.resumable_search import (
    WEIGHTS,
    BayesianOptimization,
    Hyperband,
    RandomSearch,
    prepare_folder,
    search_errors,
)
from keras_ecg.experiments.rhythm import check_rhythm_contract, hold_out, rhythm_data, rhythm_folds
from keras_ecg.files import atomic, fingerprint, write_text
from keras_ecg.quiet import bars_hidden
from keras_ecg.rhythm_training import build_rhythm, class_weights, compile_rhythm, scoring_stream, training_stream
from keras_ecg.rhythm_training import training_batch as rhythm_batch
from keras_ecg.training import (
    build_for,
    compile_classifier,
    labelled_stream,
    prepare_backend,
    sequences_per_epoch,
    training_batch,
    with_seed,
)

logger = logging.getLogger(__name__)


def create_search_space(hp: keras_tuner.HyperParameters, space: dict[str, dict]) -> dict:
    """Draw a setting from a search space: dotted configuration keys with `choice`, `float` or `int` entries.

    Returns:
        A nested dict of the drawn values, to be merged into a configuration.

    Raises:
        InputError: an invalid entry.
    """
    values: dict = {}
    for name, entry in space.items():
        kind, limits = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (None, None)
        if kind == "choice" and isinstance(limits, list):
            drawn: Any = hp.Choice(name, limits)
        elif kind in ("float", "int") and isinstance(limits, dict) and {"min", "max"} <= set(limits):
            more = {"step": limits["step"]} if "step" in limits else {}
            more |= {"sampling": "log"} if limits.get("log") else {}
            drawn = (hp.Float if kind == "float" else hp.Int)(name, limits["min"], limits["max"], **more)
        else:
            raise InputError(
                name, repr(entry), "choice: [...], or float/int: {min, max, step, log}", "correct the space"
            )
        for part in reversed(name.split(".")):
            drawn = {part: drawn}
        values = merge(values, drawn)
    return values


class ClassifierHyperModel(keras_tuner.HyperModel):
    """KerasTuner hypermodel of a beat classifier: trained on some subjects, scored by macro-F1 on held-out subjects."""

    objective = "val_macro_f1"

    def __init__(self, config: Config, space: dict, train: tuple[str, ...], held_out: tuple[str, ...]):
        super().__init__("keras_ecg")
        self.config, self.space, self.train, self.held_out = config, space, train, held_out

    @cached_property
    def statistics(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Mean and scale of the training subjects, for normalization."""
        return training_statistics(list(self.train), self.config)

    def settle(self, hp: keras_tuner.HyperParameters) -> Config:
        """Return the configuration of a trial."""
        return from_dict(Config, merge(to_dict(self.config), create_search_space(hp, self.space)), "search space")

    def streams(self, config: Config):
        return tuple(
            labelled_stream(records, config, training, *self.statistics)
            for records, training in ((self.train, True), (self.held_out, False))
        )

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        config = self.settle(hp)
        keras.utils.set_random_seed(config.tuning.seed)
        model = build_for(self.streams(config)[1], config)
        compile_classifier(model, config, self.steps(config) * config.tuning.max_epochs)
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, **kwargs):
        config = self.settle(hp)
        train, held_out = self.streams(config)
        kwargs |= {"validation_data": held_out, "steps_per_epoch": self.steps(config), "shuffle": False, "verbose": 0}
        kwargs["class_weight"] = dict(enumerate(config.training.class_weights))
        kwargs["callbacks"] = [WholeEvaluation(), *kwargs.get("callbacks", ())]
        return model.fit(train, **kwargs)

    def batch(self, config: Config) -> int:
        return training_batch(self.train, config)

    def steps(self, config: Config) -> int:
        return max(1, sequences_per_epoch(self.train, config) // self.batch(config))


class RhythmHyperModel(ClassifierHyperModel):
    """KerasTuner hypermodel of a rhythm classifier, scored by the CinC 2017 score on held-out recordings."""

    objective = "val_score"

    def batch(self, config: Config) -> int:
        return rhythm_batch(self.train, config)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        config = self.settle(hp)
        keras.utils.set_random_seed(config.tuning.seed)
        model = build_rhythm(config)
        compile_rhythm(model, config, training_stream(self.train, config)[1] * config.tuning.max_epochs)
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, **kwargs):
        config = self.settle(hp)
        train, steps = training_stream(self.train, config)
        kwargs |= {"validation_data": scoring_stream(self.held_out, config), "steps_per_epoch": steps}
        kwargs["callbacks"] = [WholeEvaluation(), *kwargs.get("callbacks", ())]
        return model.fit(train, class_weight=class_weights(config), shuffle=False, **(kwargs | {"verbose": 0}))


def listed(records: tuple[str, ...]) -> str:
    """Format records as a list, or as their number if there are more than 60."""
    return " ".join(records) if len(records) <= 60 else f"{len(records)} recordings"


def make_tuner(hypermodel: ClassifierHyperModel, config: Config, folder: Path) -> keras_tuner.Tuner:
    """Create the configured KerasTuner search in `folder`, which does not train stored trials again."""
    prepare_folder(folder)
    tuning = config.tuning
    shared = {
        "hypermodel": hypermodel,
        "objective": keras_tuner.Objective(hypermodel.objective, "max"),
        "seed": tuning.seed + 1,  # KerasTuner treats seed 0 as no seed
        "directory": str(folder.parent),
        "project_name": folder.name,
        "overwrite": False,
    }
    if tuning.algorithm == "hyperband":
        return Hyperband(max_epochs=tuning.max_epochs, factor=3, hyperband_iterations=1, **shared)
    kind = {"bayesian": BayesianOptimization, "random": RandomSearch}[tuning.algorithm]
    return kind(max_trials=tuning.max_trials, **shared)


def held_out_subjects(config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the training records of the configured split, by subject, into records to train on and records to score."""
    if config.task == "rhythm":
        known, folds = rhythm_folds(config)
        return hold_out(known, folds[0][0], config.tuning.validation_fraction, config.tuning.seed)
    records = resolve_split(config, packed_subjects(config)).train
    beats = get_all_beats(records, config)
    folds = max(2, round(1 / config.tuning.validation_fraction))
    return patient_folds(beats["record"], beats["subject"], beats["label"], folds, config.tuning.seed)[0]


def trial_rows(tuner: keras_tuner.Tuner) -> list[dict]:
    """Return one row per trial, best first: trial, status, score, epochs and hyperparameters."""
    rows, objective = [], tuner.hypermodel.objective
    for trial in tuner.oracle.trials.values():
        values = {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}
        epochs = trial.hyperparameters.values.get("tuner/epochs", tuner_epochs(tuner))
        rows.append(
            {"trial": trial.trial_id, "status": trial.status, objective: trial.score, "epochs": epochs, **values}
        )
    return sorted(rows, key=lambda row: (row[objective] is None, -(row[objective] or 0)))


def tuner_epochs(tuner: keras_tuner.Tuner) -> int:
    return tuner.hypermodel.config.tuning.max_epochs


def write_trials(folder: Path, rows: list[dict], objective: str) -> None:
    """Write trials.csv, and trials.png: the objective against each hyperparameter."""
    from keras_ecg.report.trials import draw_trials

    with atomic(folder / "trials.csv") as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw_trials(folder / "trials.png", rows, objective)


def run_tuning(config: Config) -> dict:
    """Run or resume the hyperparameter search, and write the best setting to `tuning.output`.

    Returns:
        The best setting, a nested dict, to be given to the evaluations as a further --config.

    Raises:
        InputError: an invalid search space, a split with a shared subject, no finished trial, or as in `check_devices`.
    """
    rhythm = config.task == "rhythm"
    (check_rhythm_contract if rhythm else check_contract)(config)
    prepare_backend(config)
    space = read_yaml(config.tuning.space)
    train, held_out = held_out_subjects(config)
    settings = relevant_settings({k: v for k, v in to_dict(config).items() if k not in ("database", "title", *ALONE)})
    settings["tuning"] = {k: v for k, v in settings["tuning"].items() if k not in ("directory", "output")}
    if rhythm:
        data = rhythm_data(config)
    else:
        data = data_fingerprint(read_manifest(config.database.tfrecord_dir), sorted((*train, *held_out)))
    key = fingerprint([settings, space, data, __version__])
    folder = Path(config.tuning.directory) / f"{config.tuning.algorithm}_{config.model.name}_{key}"
    logger.info("%s: train %s; score %s", folder, listed(train), listed(held_out))
    kind = RhythmHyperModel if rhythm else ClassifierHyperModel
    hypermodel = kind(with_seed(config, config.tuning.seed), space, train, held_out)
    with search_errors(folder), over_devices(config.training, hypermodel.batch(config)):
        tuner = make_tuner(hypermodel, config, folder)
        verbose = 0 if bars_hidden() else 1  # of the table of trials
        tuner.search(callbacks=[keras.callbacks.TerminateOnNaN()], verbose=verbose, **search_epochs(config))
    rows, objective = trial_rows(tuner), kind.objective
    if not rows or rows[0][objective] is None or not np.isfinite(rows[0][objective]):
        raise InputError(folder, "no finished trial", "at least one", "see the errors above")
    write_trials(folder, rows, objective)
    best = create_search_space(tuner.get_best_hyperparameters(1)[0], space)
    head = (
        f"# Best of {len(rows)} {config.tuning.algorithm} trials: {objective} {rows[0][objective]:.4f} on held-out\n"
        f"# training subjects ({listed(held_out)}). Give this file as a further --config to kfold and evaluate.\n"
    )
    write_text(config.tuning.output, head + yaml.safe_dump(best, sort_keys=False))
    for weights in folder.glob(f"trial_*/{WEIGHTS}"):
        weights.unlink()
    print(f"best {objective} {rows[0][objective]:.4f} of {len(rows)} trials: {config.tuning.output}")
    print(f"table: {folder / 'trials.csv'}, figure: {folder / 'trials.png'}")
    return best


def search_epochs(config: Config) -> dict:
    """Return the `epochs` argument of the search: `tuning.max_epochs`; none for Hyperband, which sets its own."""
    return {} if config.tuning.algorithm == "hyperband" else {"epochs": config.tuning.max_epochs}
