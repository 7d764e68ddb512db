"""Presets: pretrained models with weights, input specification and model card, and the classes that load them."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.presets.hub import PREFIX, download_preset
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


@dataclass(frozen=True)
class PresetInfo:
    """Properties of a preset, from its own files; an empty text where `preset.json` has none."""

    name: str
    kind: str  # the class that loads it
    size_mb: float
    task: str = ""
    metric: str = ""  # name, value and data of the main metric
    license: str = ""


def describe_preset(name: str) -> PresetInfo:
    """The properties of a preset that ships with the package.

    Raises:
        InputError: there is no such preset.
    """
    folder, kind = _shipped(name), list_presets()[name]
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    path = folder / "preset.json"
    if not path.is_file():
        return PresetInfo(name, kind, size)
    stored = json.loads(path.read_text(encoding="utf-8"))
    metric = stored["metric"]
    text = f"{metric['name']} {metric['value']:.3f}, {metric['on']}"
    return PresetInfo(name, kind, size, stored["task"], text, stored["license"])


def preset_card(name: str) -> str:
    """The card of a preset that ships with the package, Markdown.

    Raises:
        InputError: there is no such preset.
    """
    return (_shipped(name) / "README.md").read_text(encoding="utf-8")


def _shipped(name: str) -> Path:
    known = list_presets()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0)[0]
        raise InputError(name, "no such preset", f"one of {', '.join(known)}", f"did you mean {near}?")
    return PRESETS / name


def find_preset(name: Path | str, kind: str) -> Path:
    """The folder of a preset.

    Args:
        name: of a preset that ships with the package, a folder of `save_to_preset` or of a run, or
            `hf://user/name` on the Hugging Face Hub.
        kind: the class that is to load it.

    Raises:
        InputError: there is no such preset.
    """
    if str(name).startswith(PREFIX):
        return download_preset(str(name))
    presets = list_presets()
    if str(name) in presets:
        folder, found = PRESETS / name, presets[str(name)]
    else:
        folder, found = Path(name), kind
    if not str(name) or not folder.is_dir() or found != kind:
        known = ", ".join(preset for preset, of in presets.items() if of == kind)
        what = f"a preset of {found}" if found != kind else f"no preset of {kind}"
        raise InputError(str(name) or "preset", what, f"a folder, or one of {known}", "correct the name")
    return folder
