"""A linear classifier of four features, compiled and trained like the real ones."""

import keras
import numpy as np

from keras_ecg.config import Config, Training
from keras_ecg.training import compile_classifier

EXAMPLES = 96


def linear(batches: int, **training) -> keras.Model:
    """Build and compile the model for a number of batches; settings are those of `Training`."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    y = keras.layers.LayerNormalization(name="norm")(x)
    model = keras.Model(x, keras.layers.Dense(5, activation="softmax", name="out")(y))
    compile_classifier(model, Config(training=Training(**training)), batches)
    return model


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Draw features (n, 4) and one-hot classes (n, 5)."""
    x = np.random.default_rng(0).normal(size=(EXAMPLES, 4)).astype(np.float32)
    return x, np.eye(5, dtype=np.float32)[x.argmax(1)]


def trained(batch: int, epochs: int = 2, **training) -> list[np.ndarray]:
    """Train without shuffling, with class weights, and return the weights."""
    model = linear(EXAMPLES // batch * epochs, **training)
    weights = {k: 1.0 + k for k in range(5)}
    model.fit(*examples(), batch_size=batch, epochs=epochs, shuffle=False, class_weight=weights, verbose=0)
    return model.get_weights()
