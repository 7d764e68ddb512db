"""Folders of TFRecord files with a manifest.json: an interrupted run resumes, an incomplete folder cannot be read.

An entry of the manifest describes the result of one task: its fingerprint (of parameters and inputs), and its files
with their SHA-256. Until all entries are complete, the folder contains `unfinished.json` instead of manifest.json, so
that no training uses an incomplete folder.
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
    """Return the path of a folder's manifest."""
    return Path(folder) / MANIFEST


def load_manifest(folder: Path | str, script: str) -> dict:
    """Read the manifest of a folder of TFRecord files, written by `script`.

    Raises:
        InputError: the manifest is missing, or was edited after the script wrote it.
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
    """Return the files of a manifest entry that are missing or do not match their SHA-256."""
    paths = {Path(folder) / name: digest for name, digest in entry["files"].items()}
    return [path for path, digest in paths.items() if not path.is_file() or sha256(path) != digest]


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    return sha256(path)


def check_files(folder: Path | str, files: dict[str, str], script: str) -> list[Path]:
    """Check that files match the manifest: none is missing, damaged or swapped with another.

    The SHA-256 of an unchanged file is computed once per process.

    Args:
        folder: folder of the TFRecord files.
        files: SHA-256 by file name, from the manifest.
        script: name of the script that writes them, for the message.

    Returns:
        The paths of the files.

    Raises:
        InputError: a file is missing or differs; names the first one.
    """
    paths = [Path(folder) / name for name in files]
    for path in paths:
        if not path.is_file():
            raise InputError(path, "no such file", "a file listed in manifest.json", f"run {script}")
    states = [path.stat() for path in paths]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(_digest, paths, [s.st_mtime_ns for s in states], [s.st_size for s in states])
    for path, found, expected in zip(paths, digests, files.values(), strict=True):
        if found != expected:
            what = "an empty file" if not path.stat().st_size else "another content (damaged, or another file's)"
            raise InputError(path, what, "the SHA-256 in manifest.json", f"run {script}")
    return paths


def current_entries(folder: Path, entries: dict[str, dict], fingerprints: dict[str, str]) -> dict[str, dict]:
    """Return the entries with the given fingerprints whose files are intact."""
    kept = {name: entry for name, entry in entries.items() if entry["fingerprint"] == fingerprints.get(name)}
    with ThreadPoolExecutor() as pool:
        damaged = pool.map(lambda entry: damaged_files(folder, entry), kept.values())
    return {name: entry for (name, entry), files in zip(kept.items(), damaged, strict=True) if not files}


def _stored(path: Path) -> dict | None:
    """Read a manifest; None if it is missing, damaged or edited, so that its entries are written again."""
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
    """Write the entries that are missing, damaged or outdated, and then the manifest.

    Args:
        target: folder of the TFRecord files.
        key: name of the entries in the manifest, such as "records".
        parameters: parameters of the folder; if they differ from the stored ones, all entries are outdated.
        fingerprints: fingerprint of each entry, by its name.
        tasks: argument of `work` for each entry, by its name; picklable.
        work: picklable function that writes the files of a task and returns the name and content of its entry.
        complete: function from all entries to further content of the manifest.
        title: label of the progress bar.
        jobs: number of processes; None for one per core.
        quiet: whether to hide the progress bar.

    Returns:
        The manifest, and the number of entries written.
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
    listed = {name for entry in entries.values() for name in entry["files"]}
    for file in target.glob("*.tfrecord"):
        if file.name not in listed:
            file.unlink()
    return manifest, len(stale)
