"""Compilation of models, on every backend."""

import keras


def compile_with(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compile a model and build its optimizer; otherwise TensorFlow traces the first step twice, which is slow."""
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
