"""Parts of a study, a seed or a fold under one: one after the other, or several at a time in processes of their own."""

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from functools import partial

from tqdm import tqdm

from keras_ecg.parallel import each
from keras_ecg.quiet import import_quietly


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
    print(f"{len(parts)} trainings, {jobs} at a time; each one's lines come when it is done", flush=True)
    with each(partial(_printed, fit.__module__, fit.__name__), list(parts), "train", jobs, unit="part") as results:
        for text in results:
            tqdm.write(text, end="")
            sys.stdout.flush()


def _printed(module: str, name: str, part: tuple) -> str:
    """What a function of a module prints, which may import TensorFlow."""
    fit = getattr(import_quietly(module), name)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):  # no bar on a terminal of many
        fit(*part)
    return printed.getvalue()
