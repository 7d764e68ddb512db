"""Compilation of test models on every backend."""

import keras


def compile_with(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compile a model and create the optimizer's variables, so that TensorFlow traces the first step only once."""
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
