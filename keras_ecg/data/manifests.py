"""A folder of TFRecords and the manifest.json that says what it holds: resumed after a kill, whole or not there at all.

An entry of the manifest is what one piece of work wrote: its fingerprint (parameters and inputs) and its files with
their SHA-256. While anything is missing there is `unfinished.json` instead: nothing can be trained on half of it.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from keras_ecg.errors import InputError
from keras_ecg.files import read_sealed, sha256, swept, write_sealed
from keras_ecg.parallel import each

MANIFEST, UNFINISHED = "manifest.json", "unfinished.json"


def manifest_path(folder: Path | str) -> Path:
    return Path(folder) / MANIFEST


def load_manifest(folder: Path | str, script: str) -> dict:
    """The manifest of a folder of TFRecords, which `script` writes.

    Raises:
        InputError: there is none, or its labels, subjects or files are not those that the script wrote.
    """
    path = manifest_path(folder)
    if not path.is_file():
        raise InputError(path, "no such file", "packed TFRecords", f"run {script}")
    state = path.stat()
    return _load(path, f"run {script}", state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _load(path: Path, do: str, changed: int, size: int) -> dict:
    return read_sealed(path, do)


def damaged_files(folder: Path | str, entry: dict) -> list[Path]:
    """Those files of a manifest's entry that are missing or fail their SHA-256."""
    paths = {Path(folder) / name: digest for name, digest in entry["files"].items()}
    return [path for path, digest in paths.items() if not path.is_file() or sha256(path) != digest]


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    return sha256(path)


def check_files(folder: Path | str, files: dict[str, str], script: str) -> list[Path]:
    """Checks that files are those that the manifest lists: neither missing, damaged nor exchanged with one another.

    A file is read once in a process as long as it does not change.

    Args:
        folder: of the TFRecords.
        files: SHA-256 by name, as the manifest lists them.
        script: what writes them.

    Returns:
        Their paths.

    Raises:
        InputError: names the first file that is missing or has another content.
    """
    paths = [Path(folder) / name for name in files]
    for path in paths:
        if not path.is_file():
            raise InputError(path, "no such file", "a chunk that manifest.json names", f"run {script}")
    states = [path.stat() for path in paths]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(_digest, paths, [s.st_mtime_ns for s in states], [s.st_size for s in states])
    for path, found, expected in zip(paths, digests, files.values(), strict=True):
        if found != expected:
            what = "an empty file" if not path.stat().st_size else "another content (damaged, or another file's)"
            raise InputError(path, what, "the SHA-256 in manifest.json", f"run {script}")
    return paths


def current_entries(folder: Path, entries: dict[str, dict], fingerprints: dict[str, str]) -> dict[str, dict]:
    """The entries that have these fingerprints, and whose files are whole."""
    kept = {name: entry for name, entry in entries.items() if entry["fingerprint"] == fingerprints.get(name)}
    with ThreadPoolExecutor() as pool:
        damaged = pool.map(lambda entry: damaged_files(folder, entry), kept.values())
    return {name: entry for (name, entry), files in zip(kept.items(), damaged, strict=True) if not files}


def _stored(path: Path) -> dict | None:
    """The content of a manifest; None where it is missing, damaged or edited: what it lists is written again."""
    try:
        return read_sealed(path, "") if path.is_file() else None
    except InputError:
        return None


def pack_entries(
    target: Path,
    key: str,
    parameters: dict,
    fingerprints: dict[str, str],
    tasks: dict[str, Any],
    work: Callable[[Any], tuple[str, dict]],
    complete: Callable[[dict[str, dict]], dict],
    title: str,
    jobs: int | None = None,
    quiet: bool = False,
) -> tuple[dict, int]:
    """Writes the entries that are missing, damaged or not current, and then the manifest.

    Args:
        target: the folder.
        key: what the manifest calls its entries, such as "records".
        parameters: of the whole folder; under others no entry is current.
        fingerprints: of every entry, by name.
        tasks: what each of them is made from, picklable.
        work: picklable; from a task to the entry's name and the entry, having written its files.
        complete: from all entries to what the manifest says besides its parameters and them.
        title: of the progress bar.
        jobs: processes; None for one per core.
        quiet: no progress bar.

    Returns:
        The manifest, and how many entries were written.
    """
    target.mkdir(parents=True, exist_ok=True)
    path, unfinished = manifest_path(target), target / UNFINISHED
    old = _stored(path) or _stored(unfinished) or {"parameters": None}
    entries = current_entries(target, old[key], fingerprints) if old["parameters"] == parameters else {}
    stale = [name for name in fingerprints if name not in entries]

    def save() -> None:
        write_sealed(unfinished, {"parameters": parameters, key: entries})

    if stale:
        save()
        path.unlink(missing_ok=True)
    saved = time.monotonic()
    with swept(target), each(work, [tasks[name] for name in stale], title, jobs, quiet, key.rstrip("s")) as results:
        for name, entry in results:
            entries[name] = entry
            if time.monotonic() > saved + 1:
                save()
                saved = time.monotonic()
    entries = {name: entries[name] for name in fingerprints}
    manifest = {"parameters": parameters, **complete(entries), key: entries}
    write_sealed(path, manifest)
    unfinished.unlink(missing_ok=True)
    known = {name for entry in entries.values() for name in entry["files"]}
    for file in target.glob("*.tfrecord"):
        if file.name not in known:
            file.unlink()
    return manifest, len(stale)
