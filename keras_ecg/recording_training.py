"""Training of multi-label recording classifiers on windows in memory, with early stopping on held-out recordings."""

import keras
import numpy as np

from keras_ecg.config import Training
from keras_ecg.devices import WholeEvaluation
from keras_ecg.quiet import bars_hidden
from keras_ecg.training import check_finite_loss, compile_supervised

Inputs = dict[str, np.ndarray]  # each (n, ...)
LEAST_BATCHES = 16  # batches per epoch, at least: few examples are repeated within an epoch


def rows_of(inputs: Inputs, index: np.ndarray) -> Inputs:
    """Select examples by index."""
    return {name: values[index] for name, values in inputs.items()}


def batch_of(batch_size: int, examples: int) -> int:
    """Return the batch size: the configured one, or half of the training examples if that is less."""
    return max(1, min(batch_size, examples // 2))


def compile_recordings(model: keras.Model, training: Training, classes: int, steps: int) -> None:
    """Compile a model with `adamw`, binary cross-entropy and macro AUROC."""
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
    """Fit a classifier, and restore the weights of the epoch with the highest held-out macro AUROC.

    Args:
        model: model from named inputs to probabilities (B, C).
        inputs: named inputs of all examples.
        labels: (n, C) zeros and ones.
        train: indices of the training examples.
        held_out: indices of the examples that select the epoch.
        training: training settings.
        batch_size: B, see `batch_of`; the last batch is filled by repeating the first examples.
        patience: epochs without improvement before training stops.
        seed: seed of order and dropout.

    Returns:
        One row of the training log per epoch.

    Raises:
        InputError: a loss that is not finite.
    """
    keras.utils.set_random_seed(seed)
    steps = max(LEAST_BATCHES, -(-len(train) // batch_size))
    train = np.resize(train, steps * batch_size)  # one batch size, for which JAX compiles only once
    compile_recordings(model, training, labels.shape[1], steps * training.epochs)
    best = keras.callbacks.EarlyStopping("val_auroc", mode="max", patience=patience, restore_best_weights=True)
    history = model.fit(
        rows_of(inputs, train), labels[train], batch_size=batch_size, epochs=training.epochs,
        verbose=0 if bars_hidden() else 2,
        validation_data=(rows_of(inputs, held_out), labels[held_out]),
        callbacks=[WholeEvaluation(), keras.callbacks.TerminateOnNaN(), best],
    ).history  # fmt: skip
    check_finite_loss(history["loss"])
    if best.best_weights is not None:
        model.set_weights(best.best_weights)  # Keras restores them only if training stopped early
    return [{"epoch": e + 1, **{k: float(v[e]) for k, v in history.items()}} for e in range(len(history["loss"]))]


def predict_recordings(model: keras.Model, inputs: Inputs, windows: int) -> np.ndarray:
    """Predict probabilities (n, C) float32 of recordings: means over each recording's consecutive windows."""
    found = model.predict(inputs, batch_size=64, verbose=0)
    return found.reshape(-1, windows, found.shape[-1]).mean(1)
