"""Records of the sources of windows: selection, exclusion, and grouping into files."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from keras_ecg.config import Windows, to_dict
from keras_ecg.databases import ptbxl, recordings
from keras_ecg.databases.subjects import subjects
from keras_ecg.errors import InputError
from keras_ecg.files import sha256
from keras_ecg.parallel import each
from keras_ecg.signals.filters import check_band
from keras_ecg.signals.windows import window_starts

MIN_SAMPLES = 32  # of a window: the band-pass filter pads its ends by so many


@dataclass(frozen=True)
class Item:
    """A record to pack: name, subject, length according to its header, and SHA-256 of its files."""

    record: str
    subject: str
    seconds: float
    inputs: dict[str, str]


@dataclass(frozen=True)
class Group:
    """Records whose windows share files: one long record, or short ones that fill a chunk."""

    database: str
    folder: str
    overlap: float
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """Prefix of the file names."""
        return f"{self.database}-{self.items[0].record.replace('/', '_')}"


def window_samples(windows: Windows) -> int:
    """Return the samples T of a window."""
    return round(windows.length_seconds * windows.sampling_rate_hz)


def subject_name(database: str, subject: str) -> str:
    """Return a name that is unique among all databases, such as "mitdb/100"; the bundled excerpt counts as mitdb."""
    return f"{'mitdb' if database == 'sample' else database}/{subject}"


def check_windows(windows: Windows) -> None:
    """Check the options of windows and their sources.

    Raises:
        InputError: an option is out of range or missing; names the option.
    """

    def need(holds: bool, key: str, found: object, expected: str) -> None:
        if not holds:
            raise InputError(f"windows.{key}", str(found), expected, "correct it")

    length = window_samples(windows)
    need(bool(windows.sources), "sources", "none", "at least one folder of recordings")
    names = [source.database for source in windows.sources]
    need(len(set(names)) == len(names), "sources", ", ".join(names), "each database once")
    for k, (source, stored) in enumerate(zip(windows.sources, stored_sources(windows), strict=True)):
        need(bool(source.database and source.folder), f"sources[{k}]", source, "a database and a folder")
        overlap = stored["overlap"]
        need(0 <= overlap < 1, f"sources[{k}].overlap", overlap, "at least 0 and less than 1")
    need(windows.sampling_rate_hz > 0, "sampling_rate_hz", windows.sampling_rate_hz, "a positive number")
    need(length >= MIN_SAMPLES, "length_seconds", f"{length} samples", f"at least {MIN_SAMPLES}")
    need(bool(windows.leads), "leads", "none", "at least one")
    need(len(set(windows.leads)) == len(windows.leads), "leads", ", ".join(windows.leads), "each once")
    check_band(windows.bandpass_hz, windows.sampling_rate_hz, "windows.bandpass_hz")


def stored_sources(windows: Windows) -> list[dict]:
    """Return the sources as listed in the manifest, each with its overlap."""
    return [
        {**source, "overlap": windows.overlap if source["overlap"] is None else source["overlap"]}
        for source in to_dict(windows)["sources"]
    ]


def source_records(source: dict) -> tuple[dict[str, str], dict[str, str]]:
    """Return the subjects of a source's records: those to pack, and those excluded.

    Raises:
        InputError: a listed record or an excluded name does not exist, or all records are excluded.
    """
    folder, where = source["folder"], f"windows.sources {source['database']}"
    if source["folds"] and source["database"] != "ptbxl":
        raise InputError(f"{where}.folds", str(source["folds"]), "none, as PTB-XL alone has folds", "leave them out")
    available = recordings.list_records(folder, source["database"])
    if source["folds"]:
        in_folds = ptbxl.patients_of_folds(folder, source["folds"])
        available = [record for record in available if record in in_folds]
    missing = [record for record in source["records"] if record not in available]
    if missing:
        raise InputError(where, f"no record {', '.join(missing)}", f"records of {folder}", "correct the list")
    subject_of = subjects(folder, source["database"], available)
    unknown = set(source["exclude"]) - set(subject_of) - set(subject_of.values())
    if unknown:
        found = f"no record or subject {', '.join(sorted(unknown))} to exclude"
        raise InputError(where, found, f"records or subjects of {folder}", "correct the list")
    selected = {record: subject_of[record] for record in source["records"] or available}
    excluded = {r: s for r, s in selected.items() if r in source["exclude"] or s in source["exclude"]}
    kept = {record: subject for record, subject in selected.items() if record not in excluded}
    if not kept:
        raise InputError(where, f"{len(excluded)} records, all excluded", "at least one record", "exclude fewer")
    recordings.check_distinct_records(folder, list(kept))
    return kept, excluded


def group_items(items: list[Item], windows: Windows, overlap: float) -> list[tuple[Item, ...]]:
    """Group consecutive items so that the windows of a group fill one chunk at most."""
    length = window_samples(windows)
    groups: list[list[Item]] = []
    room = 0
    for item in items:
        samples = int(np.ceil(item.seconds * windows.sampling_rate_hz))
        count = len(window_starts(samples, length, overlap))
        if not groups or count > room:
            groups.append([])
            room = windows.chunk_size
        groups[-1].append(item)
        room -= count
    return [tuple(group) for group in groups]


def plan_groups(windows: Windows, jobs: int | None, quiet: bool) -> tuple[list[Group], dict[str, dict[str, str]]]:
    """Return the groups of all sources, and the excluded records of each source with their subjects.

    Raises:
        InputError: as `source_records`, or the header of a record cannot be read.
    """

    def describe(task: tuple[str, str, str, str]) -> tuple[str, Item]:
        database, folder, record, subject = task
        inputs = {path.name: sha256(path) for path in recordings.record_files(folder, record, None)}
        return database, Item(record, subject, recordings.record_seconds(folder, record), inputs)

    tasks, excluded = [], {}
    for source in stored_sources(windows):
        kept, excluded[source["database"]] = source_records(source)
        tasks += [(source["database"], source["folder"], record, subject) for record, subject in kept.items()]
    with each(describe, tasks, "check", jobs, quiet) as results:
        items = {(database, item.record): item for database, item in results}
    groups = []
    for source in stored_sources(windows):
        members = [items[task[0], task[2]] for task in tasks if task[0] == source["database"]]
        shared = (source["database"], source["folder"], source["overlap"])
        groups += [Group(*shared, group) for group in group_items(members, windows, source["overlap"])]
    twice = sorted(name for name, count in Counter(group.name for group in groups).items() if count > 1)
    if twice:
        raise InputError("windows.sources", f"files {', '.join(twice)} twice", "different names", "rename a database")
    return groups, excluded
