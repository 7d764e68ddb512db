"""Files that are whole or absent: written under a temporary name, then renamed."""

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
    """Yields a temporary path beside `path`; renames it on success and removes it on failure.

    Raises:
        OSError: of the block, with `path` as its file where it names none.
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
    """Writes `text` atomically, UTF-8."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any, compact: bool = False) -> None:
    """Writes `value` atomically as JSON, in one line if `compact`; a NaN is an error, since JSON has none."""
    write_text(path, json.dumps(value, indent=None if compact else 1, allow_nan=False) + "\n")


def write_yaml(path: Path | str, value: dict) -> None:
    """Writes a mapping atomically as YAML, in its own order."""
    write_text(path, yaml.safe_dump(value, sort_keys=False))


def read_json(path: Path | str) -> Any:
    """A JSON file's value.

    Raises:
        InputError: it is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, f"damaged JSON ({error})", "a whole file", "delete it and rerun") from None


def write_sealed(path: Path | str, value: dict) -> None:
    """Writes a mapping as one line of JSON, with a hash of its content as `fingerprint`, unless it is there already."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    text = json.dumps({**plain, "fingerprint": fingerprint(plain)}) + "\n"
    if not Path(path).is_file() or Path(path).read_bytes() != text.encode():
        write_text(path, text)


def read_sealed(path: Path | str, do: str) -> dict:
    """Reads what `write_sealed` wrote.

    Args:
        path: of the file.
        do: what the user can do where it is not that.

    Raises:
        InputError: it is damaged, or its content is not what was written: it was edited, or written by another version.
    """
    value = read_json(path)
    if isinstance(value, dict) and "fingerprint" in value:
        plain = {k: v for k, v in value.items() if k != "fingerprint"}
        if value["fingerprint"] == fingerprint(plain):
            return plain
    raise InputError(path, "another content than was written", "an unedited file of this version", do)


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Short hash of a JSON-like value: equal values, equal fingerprints."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def sweep(folder: Path | str) -> None:
    """Removes the temporary files that killed processes left in `folder`."""
    for path in Path(folder).glob(".*.partial*"):
        if not is_running(path.name.split(".partial")[0].rpartition(".")[2]):
            path.unlink(missing_ok=True)


@contextmanager
def swept(folder: Path | str) -> Iterator[None]:
    """Sweeps `folder` before the block and after it: workers that an error or Ctrl-C ends leave files behind, too."""
    sweep(folder)
    try:
        yield
    finally:
        sweep(folder)


def is_running(process: str) -> bool:
    """Whether there is a process of this id; the system that cannot tell says yes."""
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
    except OSError:  # not Linux, or just gone
        return True
    return state != "Z"  # a killed worker that nobody has waited for: in a container it may stay for good
