"""Presets: pretrained models with weights, input specification and model card, and the classes that load them."""

from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.resources import PRESETS

BEATS = "mitdb-beats"  # the default of BeatClassifier
RHYTHM = "cinc2017-rhythm"  # the default of RecordingClassifier
KINDS = {"contract.json": "Encoder", "normalization.json": "BeatClassifier", "calibration.json": "RecordingClassifier"}


def list_presets() -> dict[str, str]:
    """List the presets of the package: name of each, and of the class that loads it."""
    found = {}
    for folder in sorted(PRESETS.iterdir()):
        kinds = [kind for file, kind in KINDS.items() if (folder / file).is_file()]
        if kinds:
            found[folder.name] = kinds[0]
    return found


def find_preset(name: Path | str, kind: str) -> Path:
    """The folder of a preset.

    Args:
        name: of a preset that ships with the package, or a folder: of `save_to_preset`, or of a run.
        kind: the class that is to load it.

    Raises:
        InputError: there is no such preset.
    """
    folder = Path(name) if Path(name).is_dir() else PRESETS / name
    if not folder.is_dir():
        known = ", ".join(preset for preset, of in list_presets().items() if of == kind)
        raise InputError(name, f"no preset of {kind}", f"a folder, or one of {known}", "correct the name")
    return folder
