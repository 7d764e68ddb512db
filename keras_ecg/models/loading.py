"""Saving and loading of `.keras` models, and the folders of pretrained encoders."""

from pathlib import Path

import keras
import numpy as np

from keras_ecg.errors import InputError
from keras_ecg.files import atomic, write_json
from keras_ecg.resources import PRESETS


def save_model(path: Path | str, model: keras.Model) -> None:
    """Write a `.keras` model atomically."""
    with atomic(path) as partial:
        model.save(partial)


def save_normalized(folder: Path | str, model: keras.Model, mean: np.ndarray | None, scale: np.ndarray | None) -> None:
    """Write model.keras and normalization.json: mean and scale of the training set, null for no normalization."""
    save_model(Path(folder) / "model.keras", model)
    values = {k: None if v is None else v.tolist() for k, v in (("mean", mean), ("scale", scale))}
    write_json(Path(folder) / "normalization.json", values)


def load_model(path: Path | str) -> keras.Model:
    """Load a `.keras` model from a file or a run folder, in Keras' safe mode, which runs no pickled code.

    Raises:
        InputError: no such file, or not a valid model.
    """
    path = Path(path)
    path = path / "model.keras" if path.is_dir() else path
    if not path.is_file():
        raise InputError(path, "no such file", "a .keras model", "give a run folder with a model, or train one")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError) as error:
        raise InputError(path, " ".join(str(error).split())[:200], "a valid .keras model", "train it again") from None


def find_encoder(name: Path | str) -> Path:
    """Find the folder of a pretrained encoder, which has encoder.keras and contract.json.

    Args:
        name: name of a preset, or path of a folder, such as a run of `keras-ecg pretrain`.

    Raises:
        InputError: no such preset or folder.
    """
    folder = Path(name) if (Path(name) / "contract.json").is_file() else PRESETS / name
    if not (folder / "contract.json").is_file():
        known = ", ".join(sorted(path.parent.name for path in PRESETS.glob("*/contract.json"))) or "none yet"
        expected = f"a run folder of keras-ecg pretrain, or one of {known}"
        raise InputError(name, "no pretrained encoder", expected, "correct the name, or run keras-ecg pretrain")
    return folder
