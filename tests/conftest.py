"""Shared fixtures: excerpts of MIT-BIH, preprocessed and packed once per session, and helper functions."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_ecg.config import Config, from_dict, merge, to_dict  # noqa: E402 - after the environment
from keras_ecg.quiet import show_messages  # noqa: E402

show_messages()  # as the commands do

# Background jobs ignore Ctrl-C, and would pass this on to the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
TRAIN, TEST = ("114", "208"), ("200", "213")
RECORDS = TRAIN + TEST
TINY_MODEL = {"width": 8, "heads": 2}


def config_for(folder: Path, **sections) -> Config:
    """Return a small configuration with all outputs under `folder`."""
    plain = {
        "database": {
            "data_dir": str(SAMPLE),
            "hdf5_dir": str(folder / "hdf5"),
            "tfrecord_dir": str(folder / "tfrecord"),
            "runs_dir": str(folder / "runs"),
            "records": list(RECORDS),
        },
        "sequences": {"chunk_size": 64},
        "loader": {"rr_features": True, "waveforms": True},
        "model": {"options": TINY_MODEL},
        "training": {"epochs": 1},
        "evaluation": {
            "split": "records",
            "train_records": list(TRAIN),
            "test_records": list(TEST),
            "seeds": [0],
            "bootstrap": 20,
        },
    }
    return from_dict(Config, merge(plain, sections))


def with_sections(config: Config, **sections) -> Config:
    """Return the configuration with changed sections; given `model.options` replace all previous ones."""
    plain = to_dict(config)
    if "options" in sections.get("model", {}):
        plain["model"]["options"] = {}
    return from_dict(Config, merge(plain, sections))


def copy_records(target: Path, *records: str) -> Path:
    """Copy recordings to a folder in which a test may damage them."""
    target.mkdir(parents=True, exist_ok=True)
    for record in records:
        for suffix in ("hea", "dat", "atr"):
            shutil.copy(SAMPLE / f"{record}.{suffix}", target)
    return target


def write_signals(folder: Path, name: str, signals, rate: float, leads: tuple[str, ...] = ("MLII",)) -> None:
    """Write a recording of format 16 from signals (T, C) or (T,) in mV."""
    folder.mkdir(parents=True, exist_ok=True)
    width = len(leads)
    wfdb.wrsamp(
        name, rate, ["mV"] * width, list(leads), np.asarray(signals, float).reshape(-1, width), fmt=["16"] * width,
        adc_gain=[1000.0] * width, baseline=[0] * width, write_dir=str(folder),
    )  # fmt: skip


def run_on_jax(script: str, *arguments, devices: int = 1) -> str:
    """Run a script in a new process on the JAX backend with virtual devices; assert success and return its output."""
    backend = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # code that runs once takes longer to compile than to run
        "PYTHONPATH": str(Path(__file__).parent),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=SAMPLE.parent, env={**os.environ, **backend}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def batches(stream) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Collect all inputs by name, and all labels, of a finite stream."""
    inputs, labels = [], []
    for x, y in stream:
        inputs.append({k: v.numpy() for k, v in (x if isinstance(x, dict) else {"scalograms": x}).items()})
        labels.append(y.numpy())
    return {k: np.concatenate([x[k] for x in inputs]) for k in inputs[0]}, np.concatenate(labels)


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory) -> Config:
    """Four preprocessed records."""
    from keras_ecg.data.preprocess import preprocess

    config = config_for(tmp_path_factory.mktemp("excerpt"))
    preprocess(config, jobs=1)
    return config


@pytest.fixture(scope="session")
def packed_as(preprocessed, tmp_path_factory):
    """Function that packs the four records with given `sequences` options, cached by options."""
    from keras_ecg.data.tfrecords import pack

    done: dict[str, Config] = {}

    def get(**sequences) -> Config:
        key = repr(sorted(sequences.items()))
        if key not in done:
            target = str(tmp_path_factory.mktemp("packed"))
            done[key] = with_sections(preprocessed, database={"tfrecord_dir": target}, sequences=sequences)
            pack(done[key], jobs=1)
        return done[key]

    return get


@pytest.fixture(scope="session")
def packed(packed_as) -> Config:
    """The four records, packed as sequences of three beats with scalograms."""
    return packed_as()


@pytest.fixture(scope="session")
def mitdb_dir() -> Path:
    """Folder of MIT-BIH, from the environment variable MITDB_DIR."""
    if not os.environ.get("MITDB_DIR"):
        pytest.skip("MITDB_DIR does not name the whole database")
    return Path(os.environ["MITDB_DIR"])
