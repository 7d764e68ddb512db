"""Parts of a study, a seed or a fold under one: one after the other, or several at a time in processes of their own."""

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


def fit_parts(fit: Callable, parts: Sequence[tuple], jobs: int) -> None:
    """Calls `fit(*part)` for every part.

    Args:
        fit: a function of a module, which stores what it finds.
        parts: its arguments, picklable.
        jobs: parts at a time. Of several, what one prints comes when it is done.
    """
    if jobs == 1:
        for part in parts:
            fit(*part)
        return
    logger.info("%d trainings, %d at a time; the output of each is printed when it is done", len(parts), jobs)
    printed = partial(_printed, fit.__module__, fit.__name__, PACKAGE_LOGGER.level)
    with each(printed, list(parts), "train", jobs, unit="part") as results:
        for text in results:
            tqdm.write(text, end="")
            sys.stdout.flush()


def _printed(module: str, name: str, level: int, part: tuple) -> str:
    """The output of a function of a module, which may import TensorFlow, with the messages from `level` on."""
    if level:  # a program that has not set it gets no messages in this process either
        show_messages(level)
    fit = getattr(import_quietly(module), name)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):  # no bar on a terminal of many
        fit(*part)
    return printed.getvalue()
