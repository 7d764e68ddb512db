"""Fitting of folds and seeds, one after the other or in parallel processes."""

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial

from tqdm import tqdm

from keras_ecg.parallel import each
from keras_ecg.quiet import PACKAGE_LOGGER, import_quietly, show_messages

logger = logging.getLogger(__name__)


def fit_folds(fit: Callable, parts: Sequence[tuple], jobs: int) -> None:
    """Call `fit(*arguments)` for every fold.

    Args:
        fit: module-level function that stores its results.
        parts: picklable arguments for each fold.
        jobs: number of parallel processes; with several, the output of a fold is printed when it is done.
    """
    if jobs == 1:
        for part in parts:
            fit(*part)
        return
    logger.info("%d folds, %d in parallel; the output of each is shown when it is done", len(parts), jobs)
    printed = partial(_printed, fit.__module__, fit.__name__, PACKAGE_LOGGER.level)
    with each(printed, list(parts), "train", jobs, unit="part") as results:
        for text in results:
            tqdm.write(text, end="")
            sys.stdout.flush()


def _printed(module: str, name: str, level: int, part: tuple) -> str:
    """Call a function of a module, which may import TensorFlow, and return its output and its messages from `level`."""
    if level:  # a program that has not set it gets no messages in this process either
        show_messages(level)
    fit = getattr(import_quietly(module), name)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):  # suppresses progress bars
        fit(*part)
    return printed.getvalue()
