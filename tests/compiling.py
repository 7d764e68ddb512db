"""Compiling by hand, on every backend."""

import keras


def compile_with(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compiles a model whose optimizer has its variables: else TensorFlow traces the first step twice, for seconds."""
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
