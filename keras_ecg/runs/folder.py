"""One run's folder: identified by its fingerprint, filled part by part, finished once."""

import csv
import logging
import os
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import yaml

from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.files import atomic, is_running, read_json, sweep, write_json, write_yaml
from keras_ecg.predictions import file_name, read_npz, save_predictions, write_npz
from keras_ecg.runs.environment import collect

logger = logging.getLogger(__name__)

STAMP = "%Y%m%dT%H%M%SZ"


class RunFolder:
    """An existing run folder: `path`, its `environment` (a dict), and its unfinished parts.

    Parts are intermediate results that survive a kill; `finish` computes metrics and report from the predictions.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not (self.path / "environment.json").is_file():
            raise InputError(self.path, "no environment.json", "a run folder", "name a folder under Research_Runs")
        self.environment = read_json(self.path / "environment.json")
        self._seconds = float(self.environment.get("wall_seconds", 0))
        self._opened, self._owner = time.monotonic(), os.getpid()

    @property
    def finished(self) -> bool:
        return self.environment.get("status") == "finished"

    @property
    def config(self) -> dict:
        """The resolved configuration."""
        return yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))

    def update(self, **details) -> None:
        """Update environment.json with details and the wall time so far."""
        if os.getpid() != self._owner:
            return  # a worker process: only the process that opened the run writes its log
        seconds = self._seconds if self.finished else self._seconds + time.monotonic() - self._opened
        self.environment |= {"wall_seconds": round(seconds, 1)} | details
        write_json(self.path / "environment.json", self.environment)

    def _part(self, name: str) -> Path:
        return self.path / "parts" / f"{name}.npz"

    def has_part(self, name: str) -> bool:
        """Whether a part is stored; a damaged one is discarded, with a message, and has to be recomputed."""
        if not self._part(name).is_file():
            return False
        try:
            read_npz(self._part(name))
        except InputError as error:
            self._part(name).unlink()
            logger.warning("%s: found %s; it is discarded, and recomputed", error.where, error.found)
            return False
        return True

    def save_part(self, name: str, **arrays: np.ndarray) -> None:
        """Stores arrays under `parts/`, whole or not at all."""
        write_npz(self._part(name), **arrays)
        self.update()

    def load_part(self, name: str) -> dict[str, np.ndarray]:
        return read_npz(self._part(name))

    def write_predictions(self, name: str = "model", **arrays: np.ndarray) -> None:
        """Writes the arrays of `keras_ecg.predictions` for the model ("model") or a baseline (its name)."""
        save_predictions(self.path / file_name(name), **arrays)
        self.update()

    def write_arrays(self, name: str = "model", **arrays: np.ndarray) -> None:
        """Write the arrays of a model ("model") or a baseline that its evaluator reads, of any kind but beats."""
        write_npz(self.path / file_name(name), **arrays)
        self.update()

    def write_strips(self, **arrays: np.ndarray) -> None:
        """Writes the ECG strips of the most confident errors, drawn by the report.

        Args:
            **arrays: record, sample, y_true, y_pred, confidence (k,); signal (k, T) float32 mV, NaN beyond the ends;
                beats (k, b) int positions in the strip, -1 padding; sampling_rate_hz; start (k,), the strip's first
                sample in the recording (without it the beat nearest to the middle of the strip is marked).
        """
        write_npz(self.path / "strips.npz", **arrays)

    def write_history(self, rows: list[dict]) -> None:
        """Writes history.csv: one row per seed, fold, member and epoch, those columns first."""
        names = dict.fromkeys(name for row in rows for name in row)
        first = [name for name in ("seed", "fold", "member", "epoch") if name in names]
        columns = first + [name for name in names if name not in first]
        with atomic(self.path / "history.csv") as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def finish(self, **details) -> dict:
        """Compute metrics.json from the stored predictions, write report.html, mark the run finished.

        Args:
            **details: added to environment.json (data hashes, skipped records, ...).

        Returns:
            The content of metrics.json.
        """
        from keras_ecg.report import write_report  # matplotlib loads slowly: only a finished run needs it

        resamples = (self.config or {}).get("evaluation", {}).get("bootstrap", 1000)
        metrics = evaluate_run(self.path, resamples)
        write_json(self.path / "metrics.json", metrics)
        self.update(**details)
        write_report(self.path)
        self.environment["status"] = "finished"  # and the wall time stays as the report shows it
        write_json(self.path / "environment.json", self.environment)
        shutil.rmtree(self.path / "parts", ignore_errors=True)
        return metrics


def open_run(path: Path | str, runs_dir: Path | str = "Research_Runs") -> RunFolder:
    """The run at `path`, or of that name under `runs_dir`."""
    named = Path(runs_dir) / path
    return RunFolder(path if Path(path).is_dir() or not named.is_dir() else named)


def find_or_create(
    runs_dir: Path | str,
    experiment: str,
    model: str,
    fingerprint: str,
    config_dict: dict,
    command: str,
    details: dict | None = None,
) -> RunFolder:
    """The newest run of this experiment, model and fingerprint, finished or to be resumed; else a new folder.

    Args:
        runs_dir: holds all runs.
        experiment: e.g. "final_ds1_ds2"; with `model` the start of the folder's name.
        model: name of the model.
        fingerprint: of everything the result depends on (configuration, data hashes): `keras_ecg.files.fingerprint`.
        config_dict: the resolved configuration, for config.yaml.
        command: the command line that reproduces the run.
        details: further plain values for environment.json: `kind`, which selects the evaluator, seeds, data hashes,
            skipped records.
    """
    runs_dir = Path(runs_dir)
    name = re.compile(re.escape(f"{experiment}_{model}_") + r"\d{8}T\d{6}Z")
    for path in sorted(runs_dir.iterdir() if runs_dir.is_dir() else [], reverse=True):
        if name.fullmatch(path.name) and (path / "environment.json").is_file():
            run = RunFolder(path)
            if run.environment.get("fingerprint") == fingerprint:
                if run.finished:
                    shutil.rmtree(path / "parts", ignore_errors=True)
                else:
                    sweep(path)
                    sweep(path / "parts")
                    run.update(resumed=run.environment.get("resumed", 0) + 1)
                return run
    now = datetime.now(UTC)
    environment = {
        "experiment": experiment,
        "model": model,
        "status": "unfinished",
        "command": command,
        "started_utc": now.isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "wall_seconds": 0.0,
        **(details or {}),
        **collect(),
    }
    # Filled under another name and then renamed: a folder under its final name always has both files.
    for killed in runs_dir.glob(".*.new"):
        if not is_running(killed.name.split(".")[-2]):
            shutil.rmtree(killed, ignore_errors=True)
    hidden = runs_dir / f".{experiment}_{model}.{os.getpid()}.new"
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    try:
        write_yaml(hidden / "config.yaml", config_dict)
        write_json(hidden / "environment.json", environment)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    while (path := runs_dir / f"{experiment}_{model}_{now.strftime(STAMP)}").exists():
        now += timedelta(seconds=1)
    hidden.rename(path)
    return RunFolder(path)
