"""Subject of each record, without which no split can be checked.

The subjects of MIT-BIH, CinC 2017 and PTB-XL are known. For other folders, `subjects.csv` has the columns record and
subject.
"""

import csv
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
    if database_name in ("mitdb", "sample"):
        return {record: mitdb.subject_of(record) for record in records}
    if database_name == "cinc2017":
        return {record: cinc2017.subject_of(record) for record in records}
    if database_name == "ptbxl":
        return _only(ptbxl.patients(folder), records, Path(folder) / ptbxl.TABLE)
    path = Path(folder) / TABLE
    return _only(read_subjects(path), records, path) if path.is_file() else {record: record for record in records}


def subjects_note(folder: Path | str, database_name: str) -> str:
    """Return the remark that reports must show if subjects are assumed; empty if they are known."""
    known = database_name in ("mitdb", "sample", "cinc2017", "ptbxl") or (Path(folder) / TABLE).is_file()
    return "" if known else ASSUMED


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
