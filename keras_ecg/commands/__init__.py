"""Subcommands of `keras-ecg`, a module for each group: options, examples, and what is called with them.

The modules import TensorFlow, SciPy and the like only once the arguments are known to be right.
"""
