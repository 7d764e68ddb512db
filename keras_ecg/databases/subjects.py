"""Subject of each record, without which no split can be checked.

A table `subjects.csv` in the folder has the columns record and subject. Without it, the subjects of the records of
MIT-BIH, CinC 2017 and PTB-XL are known.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from keras_ecg.databases import cinc2017, mitdb, ptbxl
from keras_ecg.errors import InputError

TABLE = "subjects.csv"
ASSUMED = (
    f"no {TABLE}: each record is assumed to be of another subject; a subject with two records may be on both sides"
)


def subjects(folder: Path | str, database_name: str, records: Sequence[str]) -> dict[str, str]:
    """Return the subject of each record; without a table, the record itself (see `subjects_note`).

    Raises:
        InputError: the table cannot be read, lacks a column or a record, or lists two subjects for a record.
    """
    if database_name == "ptbxl":
        return _only(ptbxl.patients(folder), records, Path(folder) / ptbxl.TABLE)
    path = Path(folder) / TABLE
    if path.is_file():
        return _only(read_subjects(path), records, path)
    subject_of = cinc2017.subject_of if database_name == "cinc2017" else mitdb.subject_of
    return {r: subject_of(r) if _is_known(r, database_name) else r for r in records}


def subjects_note(folder: Path | str, database_name: str, records: Sequence[str]) -> str:
    """Return the remark that reports must show if subjects are assumed; empty if they are known."""
    if database_name == "ptbxl" or (Path(folder) / TABLE).is_file():
        return ""
    return "" if all(_is_known(record, database_name) for record in records) else ASSUMED


def _is_known(record: str, database_name: str) -> bool:
    """Return whether the subject of a record is published; other records may be in the folder of a database."""
    if database_name == "cinc2017":
        return bool(re.fullmatch(r"A\d{5}", record))
    return database_name in mitdb.NAMES and record in mitdb.RECORDS


def read_subjects(path: Path) -> dict[str, str]:
    """Read a table with the columns record and subject, in UTF-8 or in UTF-16 with byte order mark.

    Raises:
        InputError: another encoding, a missing column, or a record with two subjects.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, f"text that is not UTF-8 ({error.reason})", "UTF-8", "save it as UTF-8") from None
    if "\0" in text:
        raise InputError(path, "NUL characters", "text", "save it as UTF-8")
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if not {"record", "subject"} <= set(reader.fieldnames or ()):
        found = f"columns {', '.join(reader.fieldnames or ()) or 'none'}"
        raise InputError(path, found, "the columns record,subject", "correct its first line")
    out: dict[str, str] = {}
    for row in reader:
        record, subject = (row["record"] or "").strip(), (row["subject"] or "").strip()
        if subject and out.setdefault(record, subject) != subject:
            found = f"record {record} with the subjects {out[record]} and {subject}"
            raise InputError(path, found, "one subject per record", "correct it")
    return out


def _only(known: dict[str, str], records: Sequence[str], path: Path) -> dict[str, str]:
    missing = [record for record in records if record not in known]
    if missing:
        raise InputError(path, f"no subject for {', '.join(missing)}", "one line per record", "add them")
    return {record: known[record] for record in records}
