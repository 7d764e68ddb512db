"""Variants of a model: other runs' predictions, scored with it on the recordings that both predict."""

import shutil
from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.files import atomic, read_json, write_json
from keras_ecg.predictions import file_name
from keras_ecg.runs.folder import RunFolder
from keras_ecg.runs.index import RUNS


def attach(root: Path | str, run: str, variants: dict[str, str]) -> dict:
    """Copy finished runs' predictions into a run as baselines, and recompute its metrics and report.

    Args:
        root: holds Research_Runs.
        run: the folder that receives them.
        variants: name to folder; tables show the name with spaces for underscores.

    Returns:
        The new content of metrics.json.

    Raises:
        InputError: an unfinished run, one of another kind, or predictions of other recordings.
    """
    from keras_ecg.report import write_report  # matplotlib loads slowly

    folders = {name: RunFolder(Path(root) / RUNS / Path(folder).name) for name, folder in {"": run, **variants}.items()}
    for folder in folders.values():
        if not folder.finished or folder.environment.get("kind") != "rhythm":
            raise InputError(folder.path, "no finished rhythm classification", "one", "finish it, or name another")
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
