"""What is shown on a terminal: messages of the package, progress bars, and none of TensorFlow's start-up messages."""

import importlib
import logging
import os
import sys
from types import ModuleType

PACKAGE_LOGGER = logging.getLogger("keras_ecg")


class PlainHandler(logging.Handler):
    """Prints each message as a line on the standard output of the moment, which tests and workers redirect."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def show_messages(level: int = logging.INFO) -> None:
    """Prints the messages of the package from this level on; the commands call it, the library never does."""
    if not any(isinstance(handler, PlainHandler) for handler in PACKAGE_LOGGER.handlers):
        PACKAGE_LOGGER.addHandler(PlainHandler())
    PACKAGE_LOGGER.setLevel(level)


def bars_hidden() -> bool:
    """Whether progress bars are left out: where only warnings are shown (`--quiet`)."""
    return PACKAGE_LOGGER.level > logging.INFO


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
