"""Saved models, and where the weights of pretrained encoders are."""

from pathlib import Path

import keras

from keras_ecg.errors import InputError
from keras_ecg.files import atomic
from keras_ecg.resources import PRESETS


def save_model(path: Path | str, model: keras.Model) -> None:
    """Writes a `.keras` model, whole or not at all."""
    with atomic(path) as partial:
        model.save(partial)


def load_model(path: Path | str) -> keras.Model:
    """A saved `.keras` model, or the one in a run folder; no pickled code is run (Keras' safe mode).

    Raises:
        InputError: no such file, or not a model.
    """
    path = Path(path)
    path = path / "model.keras" if path.is_dir() else path
    if not path.is_file():
        raise InputError(path, "no such file", "a .keras model", "name a run folder that has one, or train it")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError) as error:
        raise InputError(path, " ".join(str(error).split())[:200], "a whole .keras model", "train it again") from None


def find_encoder(name: Path | str) -> Path:
    """The folder of a pretrained encoder: encoder.keras and contract.json.

    Args:
        name: of a preset, or the path of a folder, such as a run of run_pretraining.py.

    Raises:
        InputError: no such folder.
    """
    folder = Path(name) if (Path(name) / "contract.json").is_file() else PRESETS / name
    if not (folder / "contract.json").is_file():
        known = ", ".join(sorted(path.parent.name for path in PRESETS.glob("*/contract.json"))) or "none yet"
        expected = f"a run of run_pretraining.py, or one of {known}"
        raise InputError(name, "no encoder", expected, "name one, or run run_pretraining.py")
    return folder
