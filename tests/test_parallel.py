"""Parallel processing in worker processes."""

import subprocess
import sys
from pathlib import Path

from conftest import SAMPLE

from keras_ecg.parallel import each

# The thread that fed joblib's killed workers is the last to hold one of their locks, and is slow to free it.
SLOW_FEEDER = """
import importlib, threading, time

loky = "joblib.externals.loky.backend."
queues, synchronize = importlib.import_module(loky + "queues"), importlib.import_module(loky + "synchronize")
feed, unlink = queues.Queue._feed, synchronize.sem_unlink

def feed_and_wait(*arguments):
    feed(*arguments)
    time.sleep(0.1)

def unlink_slowly(name):
    unlink(name)
    if threading.current_thread().daemon:
        time.sleep(0.4)

queues.Queue._feed, synchronize.sem_unlink = feed_and_wait, unlink_slowly
"""
ONE_BAD = """
from keras_ecg.errors import InputError, run_script
from keras_ecg.parallel import each

def read(record):
    raise InputError(record, "nothing", "beats", "leave it out")

def main():
    try:
        with each(read, ["200"], "read", jobs=2, quiet=True) as results:
            list(results)
    finally:
        time.sleep(0.3)

run_script(main)
"""


def test_error_in_worker_prints_only_its_message():
    command = [sys.executable, "-c", SLOW_FEEDER + ONE_BAD]
    ended = subprocess.run(command, cwd=SAMPLE.parent, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: 200: found nothing; expected beats; leave it out\n"


def test_workers_follow_the_working_folder(tmp_path, monkeypatch):
    def find(name: str) -> bool:
        return Path(name).is_file()

    with each(find, ["a", "b"], "find", 2, quiet=True) as results:
        assert list(results) == [False, False]
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    monkeypatch.chdir(tmp_path)
    with each(find, ["a", "b"], "find", 2, quiet=True) as results:
        assert list(results) == [True, True]
