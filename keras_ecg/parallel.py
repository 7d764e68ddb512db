"""Parallel processing with a progress bar; workers stop without tracebacks after an error or Ctrl-C."""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import joblib
from tqdm import tqdm

from keras_ecg.quiet import bars_hidden


@contextmanager
def each(
    function: Callable, items: list, title: str, jobs: int | None = None, quiet: bool = False, unit: str = "record"
) -> Iterator[Iterator]:
    """Yield the results of `function(item)` in order of completion; running tasks are stopped at the end of the block.

    Args:
        function: picklable function of one argument.
        items: arguments of the calls.
        title: label of the progress bar.
        jobs: number of processes; None for one per core.
        quiet: whether to hide the progress bar.
        unit: name of an item in the progress bar.
    """
    with _interrupts_deferred():
        run = joblib.Parallel(jobs or -1, return_as="generator_unordered")
        results = run(joblib.delayed(_in_folder)(os.getcwd(), function, item) for item in items)
    with tqdm(total=len(items), desc=title, unit=unit, disable=quiet or bars_hidden() or None) as bar:
        try:
            yield _counted(results, bar)
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns about the number of cancelled tasks
                results.close()
            _await_feeders()


def _in_folder(folder: str, function: Callable, item: Any) -> Any:
    """Call a function in the caller's working folder; idle workers keep that of an earlier call."""
    if os.getcwd() != folder:
        os.chdir(folder)
    return function(item)


def _counted(results: Iterator, bar: tqdm) -> Iterator:
    for result in results:
        bar.update()
        yield result


def _await_feeders() -> None:
    """Wait for the feeder threads of stopped workers, which joblib does not.

    These threads own a lock; a program that exits before they release it reports a leak.
    """
    threads = threading.enumerate()
    if not any(thread.name == "ExecutorManagerThread" for thread in threads):  # idle workers keep their feeder threads
        for thread in threads:
            if thread.name == "QueueFeederThread":
                thread.join(timeout=5)


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block, and block it in processes started there, which would print tracebacks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # otherwise it starts with the first worker and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
