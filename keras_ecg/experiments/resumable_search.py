"""Resumable KerasTuner searches: every trial is trained once, even if the search is killed and run again.

A search is determined by its seed and by the results of its trials. Each process therefore starts the search from the
beginning and reads the results of finished trials instead of training them, which gives the same trials as an
uninterrupted search. KerasTuner's own files (oracle.json, tuner0.json, trial.json) are not read: they are not written
atomically, so that a kill or a full disk leaves truncated files, and they lack part of the state, such as the random
state of the Bayesian search.
"""

import errno
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import keras_tuner
import tensorflow as tf

from keras_ecg.checkpoints import read_checkpoint, values_of, write_checkpoint
from keras_ecg.errors import InputError
from keras_ecg.files import read_json, sweep, write_text
from keras_ecg.predictions import read_npz

logger = logging.getLogger(__name__)

RESULT = "result.json"  # hyperparameter values of a trial, and its metrics per epoch
WEIGHTS = "weights.npz"  # weights after the best epoch, for Hyperband, which continues the best trials
KEYS = {"oracle.json": {"start_order"}, "trial.json": {"trial_id"}, RESULT: {"values", "history"}}


class BestWeights(keras.callbacks.Callback):
    """Callback that copies the state of a model after its best epoch to `values`."""

    def __init__(self, objective: keras_tuner.Objective):
        super().__init__()
        self.objective, self.best, self.values = objective, None, None

    def on_epoch_end(self, epoch, logs=None):
        score = logs[self.objective.name]
        if self.values is None or self.objective.better_than(score, self.best):
            self.best, self.values = score, values_of(self.model)


class Resumable:
    """Mixin for KerasTuner searches that trains a trial only if its result is not stored."""

    def run_trial(self, trial: keras_tuner.engine.trial.Trial, **kwargs) -> keras.callbacks.History:
        """Return the metrics of a trial per epoch, from its stored result or by training it.

        Raises:
            FatalRuntimeError: a file cannot be written. KerasTuner records any other error as a failed trial.
        """
        stored = self.read_result(trial.trial_id)
        found = keras.callbacks.History()
        try:
            known = stored is not None and stored["values"] == trial.hyperparameters.values
            found.history = stored["history"] if known else self.train(trial, **kwargs)
        except OSError as error:
            raise keras_tuner.errors.FatalRuntimeError(str(error)) from error
        return found

    def file(self, trial_id: str, name: str) -> Path:
        """Return the path of a trial's file."""
        return Path(self.get_trial_dir(trial_id)) / name

    def train(self, trial: keras_tuner.engine.trial.Trial, callbacks=(), **kwargs) -> dict[str, list[float]]:
        """Train a trial, store its result, and return its metrics per epoch."""
        values = trial.hyperparameters.values
        hyperband, continued = "tuner/epochs" in values, values.get("tuner/trial_id")
        options = dict(kwargs)
        if hyperband:
            options |= {"epochs": values["tuner/epochs"], "initial_epoch": values["tuner/initial_epoch"]}
        if continued is not None:
            self.need_weights(continued, callbacks=callbacks, **kwargs)
        keras.utils.clear_session()
        model = self.hypermodel.build(trial.hyperparameters)
        if continued is not None:
            read_checkpoint(self.file(continued, WEIGHTS), model)
        best = [BestWeights(self.oracle.objective)] if hyperband else []
        fitted = self.hypermodel.fit(trial.hyperparameters, model, callbacks=[*callbacks, *best], **options)
        history = {name: [float(value) for value in each] for name, each in fitted.history.items()}
        if hyperband:
            write_checkpoint(self.file(trial.trial_id, WEIGHTS), best[0].values)
        write_text(self.file(trial.trial_id, RESULT), json.dumps({"values": values, "history": history}) + "\n")
        return history

    def need_weights(self, trial_id: str, **kwargs) -> None:
        """Train a trial again if its weights cannot be read."""
        path = self.file(trial_id, WEIGHTS)
        try:
            read_npz(path)
        except InputError as error:
            path.unlink(missing_ok=True)
            text = "%s: found %s; trial %s, which is to be continued, is trained again"
            logger.warning(text, path, error.found, trial_id)
            self.train(self.oracle.get_trial(trial_id), **kwargs)

    def read_result(self, trial_id: str) -> dict | None:
        """Read the result stored by `train`; None if there is none, or if it is invalid and is discarded."""
        path, objective = self.file(trial_id, RESULT), self.oracle.objective.name
        if not path.is_file():
            return None
        result = read_json(path)
        if is_history(result["history"], objective):
            return result
        discard(path, f"no {objective} of each epoch")
        return None


class RandomSearch(Resumable, keras_tuner.RandomSearch):
    """Random search."""


class BayesianOptimization(Resumable, keras_tuner.BayesianOptimization):
    """Bayesian optimization."""


class Hyperband(Resumable, keras_tuner.Hyperband):
    """Hyperband."""


def is_history(value: object, objective: str) -> bool:
    """Return whether a value is a dict of lists of floats that includes the objective."""
    if not isinstance(value, dict) or not value.get(objective):
        return False
    return all(isinstance(each, list) and all(isinstance(score, float) for score in each) for each in value.values())


def discard(path: Path, found: str) -> None:
    """Delete a damaged file of a search, with a message."""
    path.unlink()
    result = "the trial is trained again" if path.name == RESULT else "written again from the results of the trials"
    logger.warning("%s: found %s; it is discarded, and %s", path, found, result)


def prepare_folder(folder: Path) -> None:
    """Prepare the folder of a search: discard damaged files with a message, and delete KerasTuner's own files."""
    for each in (folder, *folder.glob("trial_*")):
        sweep(each)
        for path in each.glob("*.json"):
            try:
                value = read_json(path)
            except InputError as error:
                discard(path, error.found)
                continue
            if not isinstance(value, dict) or not KEYS.get(path.name, set()) <= set(value):
                discard(path, "JSON of another form")
    for path in folder.glob("*.json"):
        path.unlink()  # KerasTuner would resume from it, see above


@contextmanager
def search_errors(folder: Path) -> Iterator[None]:
    """Unwrap the errors that KerasTuner and TensorFlow wrap.

    Raises:
        OSError: a file cannot be written.
        InputError: KerasTuner stopped the search after consecutive failed trials.
    """
    try:
        yield
    except keras_tuner.errors.FatalError as error:
        raise error.__cause__ or error from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, error.message) from error
    except RuntimeError as error:
        if "consecutive failures" not in str(error):
            raise
        last = str(error).strip().splitlines()[-1]
        raise InputError(
            folder, f"consecutive failed trials: {last}", "trials that can be trained", "correct the search space"
        ) from None
