"""Atomic file writing: files are written under a temporary name, then renamed. JSON and YAML, hashes, clean-up."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from keras_ecg.errors import InputError


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it on success and remove it on failure.

    Raises:
        OSError: raised in the block; with `path` as file name if it has none.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write text atomically in UTF-8."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any, compact: bool = False) -> None:
    """Write `value` atomically as JSON, on one line if `compact`; NaN raises ValueError, as JSON does not allow it."""
    write_text(path, json.dumps(value, indent=None if compact else 1, allow_nan=False) + "\n")


def write_yaml(path: Path | str, value: dict) -> None:
    """Write a mapping atomically as YAML, preserving its order."""
    write_text(path, yaml.safe_dump(value, sort_keys=False))


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, f"damaged JSON ({error})", "a complete file", "delete it and rerun") from None


def write_sealed(path: Path | str, value: dict) -> None:
    """Write a mapping as one line of JSON with its hash as `fingerprint`; an identical file is not written again."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    text = json.dumps({**plain, "fingerprint": fingerprint(plain)}) + "\n"
    if not Path(path).is_file() or Path(path).read_bytes() != text.encode():
        write_text(path, text)


def read_sealed(path: Path | str, do: str) -> dict:
    """Read a file written by `write_sealed`.

    Args:
        path: path of the file.
        do: advice for the error message.

    Raises:
        InputError: the file is damaged, edited, or written by another version.
    """
    value = read_json(path)
    if isinstance(value, dict) and "fingerprint" in value:
        plain = {k: v for k, v in value.items() if k != "fingerprint"}
        if value["fingerprint"] == fingerprint(plain):
            return plain
    raise InputError(path, "another content than was written", "an unedited file of this version", do)


def sha256(path: Path | str) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return a short hash of a JSON-like value; equal values have equal fingerprints."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def sweep(folder: Path | str) -> None:
    """Remove the temporary files of killed processes from a folder."""
    for path in Path(folder).glob(".*.partial*"):
        if not is_running(path.name.split(".partial")[0].rpartition(".")[2]):
            path.unlink(missing_ok=True)


@contextmanager
def swept(folder: Path | str) -> Iterator[None]:
    """Call `sweep` before and after the block, because workers stopped by an error or Ctrl-C leave temporary files."""
    sweep(folder)
    try:
        yield
    finally:
        sweep(folder)


def is_running(process: str) -> bool:
    """Return whether a process with this id exists; True if the system cannot determine it."""
    if not process.isdigit() or not int(process):
        return False
    if os.name != "posix":
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # not Linux, or the process has just ended
        return True
    return state != "Z"  # zombie: a killed worker without a parent that waits for it stays one in a container
