"""Training of a classifier whose every class may hold, on windows in memory; chosen on some that train nothing."""

import keras
import numpy as np

from keras_ecg.config import Training
from keras_ecg.devices import WholeEvaluation
from keras_ecg.quiet import bars_hidden
from keras_ecg.training import compile_supervised, reject_no_number

Inputs = dict[str, np.ndarray]  # each (n, ...)
LEAST_BATCHES = 16  # of an epoch, which passes over few examples several times


def rows_of(inputs: Inputs, index: np.ndarray) -> Inputs:
    """The examples at `index`."""
    return {name: values[index] for name, values in inputs.items()}


def batch_of(batch_size: int, examples: int) -> int:
    """The wanted size of a batch, or half of the training examples where that is less."""
    return max(1, min(batch_size, examples // 2))


def compile_recordings(model: keras.Model, training: Training, classes: int, steps: int) -> None:
    """`adamw`, binary cross-entropy, and the mean over classes of the area under the ROC curve."""
    area = keras.metrics.AUC(200, multi_label=True, num_labels=classes, name="auroc")
    loss = keras.losses.BinaryCrossentropy(label_smoothing=training.label_smoothing)
    compile_supervised(model, training, steps, loss, [area])


def fit_recordings(
    model: keras.Model,
    inputs: Inputs,
    labels: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    training: Training,
    batch_size: int,
    patience: int,
    seed: int,
) -> list[dict]:
    """Fits a classifier, and leaves it with the weights of the epoch that ranks the held-out examples best.

    Args:
        model: named inputs to probabilities (B, C).
        inputs: of all examples.
        labels: (n, C), one where a class holds.
        train: indices of the examples to train on.
        held_out: of those that choose the epoch.
        training: how.
        batch_size: B, as `batch_of` has it; what is left of the last one is filled with the first examples once more.
        patience: epochs without a better one before it stops.
        seed: of the order, and of dropout.

    Returns:
        A row of the history for each epoch.

    Raises:
        InputError: a loss that is not a number.
    """
    keras.utils.set_random_seed(seed)
    steps = max(LEAST_BATCHES, -(-len(train) // batch_size))
    train = np.resize(train, steps * batch_size)  # one size, for which JAX compiles once
    compile_recordings(model, training, labels.shape[1], steps * training.epochs)
    best = keras.callbacks.EarlyStopping("val_auroc", mode="max", patience=patience, restore_best_weights=True)
    history = model.fit(
        rows_of(inputs, train), labels[train], batch_size=batch_size, epochs=training.epochs,
        verbose=0 if bars_hidden() else 2,
        validation_data=(rows_of(inputs, held_out), labels[held_out]),
        callbacks=[WholeEvaluation(), keras.callbacks.TerminateOnNaN(), best],
    ).history  # fmt: skip
    reject_no_number(history["loss"])
    if best.best_weights is not None:
        model.set_weights(best.best_weights)  # where it never stopped early, Keras keeps the last ones
    return [{"epoch": e + 1, **{k: float(v[e]) for k, v in history.items()}} for e in range(len(history["loss"]))]


def predict_recordings(model: keras.Model, inputs: Inputs, windows: int) -> np.ndarray:
    """Probabilities (n, C) float32 of recordings, means over the windows of each, which stand one after the other."""
    found = model.predict(inputs, batch_size=64, verbose=0)
    return found.reshape(-1, windows, found.shape[-1]).mean(1)
