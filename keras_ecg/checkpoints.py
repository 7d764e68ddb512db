"""Checkpoints of a training: after each epoch, everything that the following epochs depend on, in a single file."""

import json
from pathlib import Path

import keras
import numpy as np

from keras_ecg.errors import InputError
from keras_ecg.predictions import read_npz, write_npz

KEPT = 2  # files: where the last one is damaged, the one before it is used


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after each epoch, so that a killed training continues as if it had not been interrupted.

    A checkpoint contains all variables of the model and of its optimizer, and the logs of all epochs so far. Unlike the
    weights that `keras.callbacks.BackupAndRestore` writes, the variables include the states of random generators, on
    which masks, augmentations and dropout of the following epochs depend.

    A stream that depends on the epoch must begin with the epoch that `restore` returns.

    Args:
        folder: of the files `checkpoint_<epochs>.npz`.
    """

    def __init__(self, folder: Path | str):
        super().__init__()
        self.folder = Path(folder)
        self.logs: list[dict[str, float]] = []  # of each finished epoch

    def files(self) -> list[Path]:
        """The stored checkpoints, the last one first."""
        return sorted(self.folder.glob("checkpoint_*.npz"), reverse=True)

    def restore(self, model: keras.Model) -> int:
        """Sets a compiled model, with the variables of its optimizer, to the last checkpoint that can be read.

        Those that cannot be read are deleted, with a message.

        Returns:
            How many epochs are finished: 0 without a checkpoint, and then the model stays as it is.
        """
        variables, damaged = state_of(model), []
        for path in self.files():
            try:
                self.logs, values = read_checkpoint(path, [tuple(v.shape) for v in variables])
            except InputError as error:
                damaged.append(error)
                path.unlink()
                continue
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            break
        epochs = len(self.logs)
        following = f"resumes with epoch {epochs + 1}" if epochs else "starts again from epoch 1"
        for error in damaged:
            print(f"{error.where}: found {error.found}; it is discarded, and training {following}", flush=True)
        return epochs

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append({name: float(value) for name, value in logs.items()})
        if not np.isfinite(logs["loss"]):  # the epoch before it is the last one worth resuming from
            return
        values = {f"variable_{k}": keras.ops.convert_to_numpy(v) for k, v in enumerate(state_of(self.model))}
        path = self.folder / f"checkpoint_{len(self.logs):06d}.npz"
        write_npz(path, compressed=False, logs=np.array(json.dumps(self.logs)), **values)
        for old in self.files()[KEPT:]:
            old.unlink()


def state_of(model: keras.Model) -> list[keras.Variable]:
    """All variables of a compiled model: weights, states of random generators, and those of the optimizer."""
    return [*model.variables, *model.optimizer.variables]


def read_checkpoint(path: Path, shapes: list[tuple[int, ...]]) -> tuple[list[dict], list[np.ndarray]]:
    """The logs of the finished epochs, and the values of variables of these shapes.

    Raises:
        InputError: the file is damaged, or is not a checkpoint of such variables.
    """
    stored = read_npz(path)
    values = [stored[f"variable_{k}"] for k in range(len(shapes)) if f"variable_{k}" in stored]
    if "logs" not in stored or [v.shape for v in values] != shapes:
        raise InputError(path, "other arrays", "the variables of this model", "delete it and rerun")
    return json.loads(str(stored["logs"])), values
