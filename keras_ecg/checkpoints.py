"""Checkpoints of a training: the complete state after each epoch in a single file."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_ecg.errors import InputError
from keras_ecg.predictions import read_npz, write_npz

logger = logging.getLogger(__name__)

NAME = "variable_{}"  # of an array in the file
KEPT = 2  # files that are kept: if the last one is damaged, the previous one is used


class Checkpoint(keras.callbacks.Callback):
    """Write a checkpoint after each epoch, from which an interrupted training resumes with identical results.

    A checkpoint contains all variables of the model and of its optimizer, and the logs of all epochs so far. Unlike the
    weights that `keras.callbacks.BackupAndRestore` writes, the variables include the states of random generators, on
    which masks, augmentations and dropout of the following epochs depend.

    A data stream that depends on the epoch must start with the epoch that `restore` returns.

    Args:
        folder: folder of the files `checkpoint_<epochs>.npz`.
    """

    def __init__(self, folder: Path | str):
        super().__init__()
        self.folder = Path(folder)
        self.logs: list[dict[str, float]] = []  # metrics of each finished epoch

    def files(self) -> list[Path]:
        """List the stored checkpoints, newest first."""
        return sorted(self.folder.glob("checkpoint_*.npz"), reverse=True)

    def restore(self, model: keras.Model) -> int:
        """Restore a compiled model and its optimizer from the newest readable checkpoint.

        Checkpoints that cannot be read are deleted, with a message.

        Returns:
            The number of finished epochs; 0 without a checkpoint, in which case the model is unchanged.
        """
        damaged = []
        for path in self.files():
            try:
                self.logs = read_checkpoint(path, model)
                break
            except InputError as error:
                damaged.append(error)
                path.unlink()
        epochs = len(self.logs)
        following = f"resumes with epoch {epochs + 1}" if epochs else "starts again from epoch 1"
        for error in damaged:
            logger.warning("%s: found %s; it is discarded, and training %s", error.where, error.found, following)
        return epochs

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append({name: float(value) for name, value in logs.items()})
        if not np.isfinite(logs["loss"]):  # resuming from diverged weights is useless
            return
        write_checkpoint(self.folder / f"checkpoint_{len(self.logs):06d}.npz", values_of(self.model), self.logs)
        for old in self.files()[KEPT:]:
            old.unlink()


def variables_of(model: keras.Model) -> list[keras.Variable]:
    """Return all variables of a compiled model: weights, states of random generators, optimizer variables."""
    return [*model.variables, *model.optimizer.variables]


def values_of(model: keras.Model) -> list[np.ndarray]:
    """Return copies of the values of `variables_of` a model."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables_of(model)]


def write_checkpoint(path: Path, values: list[np.ndarray], logs: Sequence[dict[str, float]] = ()) -> None:
    """Write `values_of` a model and the metrics of its epochs atomically."""
    arrays = {NAME.format(k): value for k, value in enumerate(values)}
    write_npz(path, compressed=False, logs=np.array(json.dumps(list(logs))), **arrays)


def read_checkpoint(path: Path, model: keras.Model) -> list[dict[str, float]]:
    """Restore a model from a file of `write_checkpoint`.

    Returns:
        The metrics of the finished epochs.

    Raises:
        InputError: the file is damaged, or of another model; the model is unchanged.
    """
    stored, variables = read_npz(path), variables_of(model)
    shapes = {NAME.format(k): tuple(variable.shape) for k, variable in enumerate(variables)}
    if {name: value.shape for name, value in stored.items()} != {**shapes, "logs": ()}:
        raise InputError(path, "other arrays", "the variables of this model", "delete it and rerun")
    for name, variable in zip(shapes, variables, strict=True):
        variable.assign(stored[name])
    return json.loads(str(stored["logs"]))
