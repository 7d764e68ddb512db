"""Layers that two or more models share. Pure Keras: they run on every backend."""
