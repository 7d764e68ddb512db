"""Files that ship with the package: pretrained weights, configurations, and an excerpt of the MIT-BIH database.

In an installed package they are inside it; in a checkout `configs/` and `sample_data/` are beside it.
"""

import difflib
from importlib import resources
from pathlib import Path

from keras_ecg.errors import InputError

PACKAGE = Path(str(resources.files("keras_ecg")))


def _shipped(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.with_name(name)


PRESETS = PACKAGE / "presets" / "weights"  # a folder for each preset
CONFIGS = _shipped("configs")
SAMPLE = _shipped("sample_data")


def list_configs() -> list[str]:
    """The names of the configurations that ship with the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def find_config(name: Path | str) -> Path:
    """The file of a configuration.

    Args:
        name: a path, or the name of a configuration that ships with the package: `mitdb`, `mitdb.yaml` or
            `configs/mitdb.yaml`, the last of which is the user's own file where there is one.

    Raises:
        InputError: no such file, and no configuration of that name; close names are listed.
    """
    path = Path(name)
    if path.is_file():
        return path
    stem, known = path.name.removesuffix(".yaml"), list_configs()
    if path.parent.as_posix() in (".", "configs") and stem in known:
        return CONFIGS / f"{stem}.yaml"
    near = difflib.get_close_matches(stem, known, 3, 0.5)
    expected = "a YAML file, or the name of a shipped configuration"
    do = f"did you mean {' or '.join(near)}?" if near else f"give a path, or one of {', '.join(known)}"
    raise InputError(name, "no such file", expected, do)


def find_data(path: Path | str) -> str:
    """The path of recordings; where it begins with `sample_data` and no such folder is here, the bundled ones."""
    first, *rest = Path(path).parts or ("",)
    bundled = first == "sample_data" and not Path(first).exists()
    return str(SAMPLE.joinpath(*rest)) if bundled else str(path)


def list_sample_records() -> list[str]:
    """The names of the bundled recordings."""
    return sorted(path.stem for path in SAMPLE.glob("*.hea"))


def sample_record(name: str = "213") -> str:
    """The path, without suffix, of a bundled recording: five minutes of a MIT-BIH record with its annotations.

    Args:
        name: of the record, such as "213".

    Raises:
        InputError: there is no such recording.
    """
    known = list_sample_records()
    if name not in known:
        raise InputError(name, "no bundled recording", f"one of {', '.join(known)}", "correct the name")
    return str(SAMPLE / name)
