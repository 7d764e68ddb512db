"""Variants of a model beside it: another run's predictions, scored with it on the recordings that both name."""

import shutil
from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.files import atomic, read_json, write_json
from keras_ecg.predictions import file_name
from keras_ecg.runs.folder import RunFolder
from keras_ecg.runs.index import RUNS


def attach(root: Path | str, run: str, variants: dict[str, str]) -> dict:
    """Copies finished runs' predictions into a run as baselines, and computes its metrics and report anew.

    Args:
        root: holds Research_Runs.
        run: the folder that gets them.
        variants: name to folder; the name is what tables call it, with underscores for spaces.

    Returns:
        The new content of metrics.json.

    Raises:
        InputError: an unfinished run, one that names no rhythms, or predictions of other recordings.
    """
    from keras_ecg.reports import write_report  # matplotlib loads slowly

    folders = {name: RunFolder(Path(root) / RUNS / Path(folder).name) for name, folder in {"": run, **variants}.items()}
    for folder in folders.values():
        if not folder.finished or read_json(folder.path / "metrics.json").get("kind") != "rhythm":
            raise InputError(folder.path, "no finished study of rhythms", "one", "finish it, or name another")
    main = folders.pop("")
    for name, folder in folders.items():
        with atomic(main.path / file_name(name)) as partial:
            shutil.copyfile(folder.path / file_name(), partial)
    bootstrap = read_json(main.path / "metrics.json")["bootstrap"]
    metrics = evaluate_run(main.path, bootstrap["resamples"], bootstrap["seed"])
    write_json(main.path / "metrics.json", metrics)
    known = main.environment.get("variants", {})
    main.update(variants=known | {name: folder.path.name for name, folder in folders.items()})
    write_report(main.path)
    return metrics
