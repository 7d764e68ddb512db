"""Imports without TensorFlow's start-up messages, which it prints before anything can be set."""

import importlib
import os
import sys
from types import ModuleType


def import_quietly(name: str) -> ModuleType:
    """Imports a module with the process' standard error closed; an exception still tells what went wrong."""
    if name in sys.modules:
        return sys.modules[name]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it reports a missing GPU as an error; real ones are raised
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
