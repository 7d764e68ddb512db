"""Temporary files: those of ended processes are removed, those of running ones are kept."""

import os
import subprocess
import sys

import pytest

from keras_ecg.files import sweep


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_temporary_files_of_zombie_process_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # the process has ended but remains in the process table
    dead, alive = (tmp_path / f".100.{pid}.partial.h5" for pid in (process.pid, os.getpid()))
    dead.touch()
    alive.touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [alive]
    process.communicate()
