"""Files that ship with the package."""

from importlib import resources
from pathlib import Path

PACKAGE = Path(str(resources.files("keras_ecg")))
PRESETS = PACKAGE / "presets" / "weights"  # a folder for each preset
