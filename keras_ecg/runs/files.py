"""The JSON and YAML files of a run folder, checked when they are read."""

from pathlib import Path

from keras_ecg.config import read_yaml
from keras_ecg.errors import InputError
from keras_ecg.files import read_json

REQUIRED = {  # keys of each file
    "environment.json": ("kind",),
    "metrics.json": ("kind", "bootstrap", "model"),
    "config.yaml": (),
}


def read_run_file(folder: Path | str, name: str) -> dict:
    """Read `environment.json`, `metrics.json` or `config.yaml` of a run.

    Raises:
        InputError: the file is missing or damaged, or lacks a key, as those of a run of version 0.1 do.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(path, "no such file", "a finished run", "finish the run: its command resumes")
    value = read_yaml(path) if name.endswith(".yaml") else read_json(path)
    missing = [key for key in REQUIRED[name] if not isinstance(value, dict) or key not in value]
    if missing or not value:
        found = f"no {', '.join(missing) or 'content'}: a damaged file, or a run of version 0.1"
        raise InputError(path, found, "a run of this version", "run its command again")
    return value
