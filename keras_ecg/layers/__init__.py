"""Layers shared by two or more models. They use `keras.ops` only, so they run on every Keras backend."""
