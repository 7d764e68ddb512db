"""What is shown on a terminal: messages of the package, progress bars, and none of TensorFlow's start-up messages."""

import importlib
import importlib.util
import logging
import os
import sys
from types import ModuleType

from keras_ecg.errors import InputError

BACKENDS = ("tensorflow", "jax")  # of Keras
PACKAGE_LOGGER = logging.getLogger("keras_ecg")


class PlainHandler(logging.Handler):
    """Print each message as a line on the standard output of the moment, which tests and workers redirect."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def show_messages(level: int = logging.INFO) -> None:
    """Print the messages of the package from this level on; the commands call it, the library never does."""
    if not any(isinstance(handler, PlainHandler) for handler in PACKAGE_LOGGER.handlers):
        PACKAGE_LOGGER.addHandler(PlainHandler())
    PACKAGE_LOGGER.setLevel(level)


def bars_hidden() -> bool:
    """Return whether progress bars are hidden: if only warnings are shown (`--quiet`)."""
    return PACKAGE_LOGGER.level > logging.INFO


def check_backend() -> None:
    """Check that the Keras backend of the environment variable KERAS_BACKEND is supported and installed.

    Raises:
        InputError: otherwise.
    """
    name = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if name not in BACKENDS or importlib.util.find_spec(name) is None:
        found = f"{name!r}, which is not installed" if name in BACKENDS else repr(name)
        raise InputError(
            "KERAS_BACKEND", found, f"one of {', '.join(BACKENDS)}, installed", f"pip install {BACKENDS[1]}"
        )


def import_quietly(name: str) -> ModuleType:
    """Import a module with the process' standard error closed; exceptions are raised as usual.

    Raises:
        InputError: as `check_backend`.
    """
    if name in sys.modules:
        return sys.modules[name]
    check_backend()
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
