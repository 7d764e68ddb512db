"""Many records at once: progress, and a quiet end when an error or Ctrl-C stops them."""

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import joblib
from tqdm import tqdm

from keras_ecg.quiet import bars_hidden


@contextmanager
def each(
    function: Callable, items: list, title: str, jobs: int | None = None, quiet: bool = False, unit: str = "record"
) -> Iterator[Iterator]:
    """Results of `function(item)` in the order in which they are done; what still runs at the block's end is stopped.

    Args:
        function: picklable.
        items: its arguments.
        title: of the progress bar.
        jobs: processes; None for one per core.
        quiet: no progress bar.
        unit: what the bar calls an item.
    """
    with _interrupts_held():
        run = joblib.Parallel(jobs or -1, return_as="generator_unordered")
        results = run(joblib.delayed(function)(item) for item in items)
    with tqdm(total=len(items), desc=title, unit=unit, disable=quiet or bars_hidden() or None) as bar:
        try:
            yield _counted(results, bar)
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib tells how many tasks an error has cancelled
                results.close()
            _await_feeders()


def _counted(results: Iterator, bar: tqdm) -> Iterator:
    for result in results:
        bar.update()
        yield result


def _await_feeders() -> None:
    """Waits for the threads that fed workers which were stopped early; joblib does not.

    They are the last to hold a lock, and a program that ends while they free it reports it as leaked.
    """
    threads = threading.enumerate()
    if not any(thread.name == "ExecutorManagerThread" for thread in threads):  # workers at rest are fed still
        for thread in threads:
            if thread.name == "QueueFeederThread":
                thread.join(timeout=5)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits for the block's end, and never reaches processes started in it: they would print tracebacks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else it starts with the first worker, and unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
