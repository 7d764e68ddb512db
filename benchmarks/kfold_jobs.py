"""K-fold cross-validation: parallel folds (`evaluation.jobs`) against sequential folds."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure import Result, alternate, check_equal
from benchmarks.workspace import Workspace, quietly
from keras_ecg.config import Config
from keras_ecg.experiments.kfold import run_kfold

NAME, TARGET = "kfold-jobs", 1.3
FOLDS = 4


def configured(workspace: Workspace) -> Config:
    """Configure k-fold on a few records, with one epoch per fold."""
    size, config = workspace.scale, workspace.packed()
    chosen = {r for r in (*size.train, *size.held_out) if r in workspace.records}
    left_out = tuple(r for r in workspace.all_records if r not in chosen)
    folds = min(FOLDS, len(chosen))
    evaluation = replace(config.evaluation, folds=folds, exclude_records=left_out, baselines=False, bootstrap=20)
    return replace(config, training=replace(config.training, epochs=1), evaluation=evaluation)


def run(workspace: Workspace) -> Result:
    config = configured(workspace)
    jobs = min(config.evaluation.folds, os.cpu_count() or 1)

    def side(name: str, jobs: int):
        def work() -> int:
            database = replace(config.database, runs_dir=str(workspace.temporary / name))
            evaluation = replace(config.evaluation, jobs=jobs)
            quietly(run_kfold, replace(config, database=database, evaluation=evaluation))
            return config.evaluation.folds

        return work

    compared = alternate(side("ours", jobs), side("reference", 1), "fold", 1, workspace.ready)  # turns take minutes
    found = []
    for name in ("ours", "reference"):
        (path,) = Path(workspace.temporary / name).glob("*/predictions.npz")
        found.append(np.load(path)["probabilities"][0])
    equal = check_equal("probabilities out of fold", *found, 0)
    workspace.clear()
    rows = compared.rows(f"{jobs} folds in parallel, including the start of the processes", "sequential folds")
    return Result(NAME, compared.ratio, TARGET, [equal, *rows])
