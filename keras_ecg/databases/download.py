"""Download of databases from PhysioNet, or copy from a local folder: verified and resumable.

The database's SHA256SUMS.txt lists the files and their checksums. A file is downloaded to `FILE.partial` and renamed
after verification, so that an interrupted download resumes.
"""

import filecmp
import logging
import os
import re
import shutil
import time
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import requests
from tqdm import tqdm

from keras_ecg.databases import mitdb
from keras_ecg.errors import InputError
from keras_ecg.files import atomic, sha256, write_text
from keras_ecg.quiet import bars_hidden

logger = logging.getLogger(__name__)

BASE_URL = "https://physionet.org/files"
KNOWN_VERSIONS = {"mitdb": "1.0.0"}
SUMS = "SHA256SUMS.txt"
RECORD_SUFFIXES = (".hea", ".dat", ".mat", ".atr")
UNUSED_SUFFIXES = (".xws", ".hea-")  # settings of an old viewer, outdated headers
TRIES = 4
WAIT_SECONDS = 1.0  # before the second attempt; doubled for each further one
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 16
RESUME = "check the connection and run the same command again (it resumes), or copy a local folder with --from"


def download(
    db_name: str = "mitdb",
    save_directory: Path | str | None = None,
    base_url: str = BASE_URL,
    source: Path | str | None = None,
    version: str | None = None,
    all_files: bool = False,
) -> Path:
    """Download or copy a database to a folder and verify it; correct files are kept.

    Args:
        db_name: PhysioNet's name of the database, such as "mitdb" or "nstdb".
        save_directory: target folder; the default is derived from the name.
        base_url: URL of the databases; files are at `BASE_URL/NAME/VERSION/FILE`.
        source: local folder to copy from instead of a download.
        version: version such as "1.0.0"; the default is the newest one on the server (for mitdb 1.0.0).
        all_files: whether to include subfolders without records, and files with UNUSED_SUFFIXES.

    Returns:
        The target folder.

    Raises:
        InputError: the server does not respond, the database or a file does not exist, or a checksum is wrong.
    """
    folder = Path(save_directory or default_directory(db_name, version))
    if source is not None:
        return _copy(Path(source), folder, all_files)
    if version is None and not _unfinished(folder, all_files):  # then no server is needed
        logger.info("%s: %s is complete, and every file in it is right", db_name, folder)
        return folder
    base_url = base_url.rstrip("/")
    with requests.Session() as session:
        client = _Client(session)
        version = version or KNOWN_VERSIONS.get(db_name) or client.newest_version(f"{base_url}/{quote(db_name)}/")
        _fetch_all(client, f"{base_url}/{quote(db_name)}/{quote(version)}", folder, all_files)
    return folder


def is_complete(folder: Path | str) -> bool:
    """Return whether a folder contains all records listed in its RECORDS, with correct checksums.

    Files that no record needs may be missing. Without SHA256SUMS.txt only the existence of the headers is checked.
    """
    folder = Path(folder)
    if not (folder / "RECORDS").is_file():
        return False
    records = (folder / "RECORDS").read_text(encoding="utf-8").split()
    sums = read_sums(folder / SUMS) if (folder / SUMS).is_file() else {}
    vital = _vital(records, sums)
    return bool(vital) and all(
        (folder / name).is_file() and (name not in sums or sha256(folder / name) == sums[name]) for name in vital
    )


def default_directory(db_name: str, version: str | None = None) -> str:
    """Return the default target folder of a database."""
    if db_name == "mitdb" and version in (None, KNOWN_VERSIONS["mitdb"]):
        return mitdb.FOLDER
    return f"{db_name}-{version}" if version else db_name


def parse_sums(text: str, where: object) -> dict[str, str]:
    """Parse the text of a SHA256SUMS.txt to SHA-256 by file name.

    Raises:
        InputError: the list is empty, a line is malformed, or a path is outside the folder.
    """
    sums = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(.+)", line.strip())
        path = PurePosixPath(match[2]) if match else PurePosixPath("..")
        if line.strip() and (path.is_absolute() or ".." in path.parts):
            raise InputError(
                where, repr(line[:60]), "lines of a SHA-256 and a file name", "check the server and the name"
            )
        if match:
            sums[str(path)] = match[1].lower()
    if not sums:
        raise InputError(where, "no line", "lines of a SHA-256 and a file name", "check the server and the name")
    return sums


def read_sums(path: Path) -> dict[str, str]:
    """Read a SHA256SUMS.txt: SHA-256 by file name."""
    return parse_sums(path.read_text(encoding="utf-8", errors="replace"), path)


def _select(names: dict[str, str] | list[str], folder: Path, all_files: bool) -> list[str]:
    """Select the files of the top folder and of folders with records listed in RECORDS; without RECORDS, all files."""
    if all_files:
        return sorted(names)
    names = [name for name in names if not name.endswith(UNUSED_SUFFIXES)]
    if not (folder / "RECORDS").is_file():
        return sorted(names)
    records = (folder / "RECORDS").read_text(encoding="utf-8").split()
    # A line is a record or a folder of records such as "training/A00/".
    homes = {r if r.endswith("/") else f"{PurePosixPath(r).parent}/" for r in records} - {"./"}
    return sorted(name for name in names if "/" not in name or name.startswith(tuple(homes)))


def _vital(records: list[str], sums: dict[str, str]) -> list[str]:
    """Return the files that are needed to read records: those listed in SHA256SUMS.txt, or else the headers."""
    if not sums:
        return [f"{record}.hea" for record in records if not record.endswith("/")]
    return [name for record in records for s in RECORD_SUFFIXES if (name := f"{record}{s}") in sums]


def _unfinished(folder: Path, all_files: bool) -> bool:
    """Return whether any requested file is missing or wrong, according to the lists in the folder."""
    try:
        sums = read_sums(folder / SUMS)
    except (FileNotFoundError, InputError):
        return True
    if "RECORDS" in sums and not (folder / "RECORDS").is_file():
        return True
    return bool(_unverified(_select(sums, folder, all_files), sums, folder))


def _fetch_all(client: "_Client", url: str, folder: Path, all_files: bool) -> None:
    """Download the missing and wrong files of the database at `url`."""
    text = client.text(f"{url}/{SUMS}")
    sums = parse_sums(text, f"{url}/{SUMS}")
    write_text(folder / SUMS, text)
    if "RECORDS" in sums:  # lists the subfolders with records
        client.fetch(f"{url}/RECORDS", folder / "RECORDS", sums["RECORDS"])
    requested = _select(sums, folder, all_files)
    todo = sorted(_unverified(requested, sums, folder), key=lambda name: not name.endswith(RECORD_SUFFIXES))
    with tqdm(unit="B", unit_scale=True, desc=folder.name, disable=bars_hidden()) as bar:
        for number, name in enumerate(todo, 1):
            bar.set_postfix_str(f"file {number} of {len(todo)}: {name}")
            client.fetch(f"{url}/{quote(name)}", folder / name, sums[name], bar)
    logger.info("%s: %d files in %s, verified (%d downloaded)", url, len(requested), folder, len(todo))


def _unverified(names: list[str], sums: dict[str, str], folder: Path) -> list[str]:
    """Return the names of missing and wrong files, after deleting the wrong ones."""
    todo = []
    for name in tqdm(names, desc="verify", unit="file", leave=False, delay=1, disable=bars_hidden()):
        path = folder / name
        if path.is_file() and sha256(path) != sums[name]:
            path.unlink()
        if not path.is_file():
            todo.append(name)
    return todo


def _copy(source: Path, folder: Path, all_files: bool) -> Path:
    """Copy a database from a local folder, and verify the files listed in its SHA256SUMS.txt."""
    if not source.is_dir():
        raise InputError(source, "no such folder", "a copy of the database", "correct --from")
    existing = [p.relative_to(source).as_posix() for p in sorted(source.rglob("*")) if p.is_file()]
    names = _select([n for n in existing if not n.endswith(".partial")], source, all_files)
    sums = read_sums(source / SUMS) if (source / SUMS).is_file() else {}
    records = (source / "RECORDS").read_text(encoding="utf-8").split() if (source / "RECORDS").is_file() else []
    if records and "RECORDS" in sums and sha256(source / "RECORDS") != sums["RECORDS"]:
        text = "%s is not the database's own list: taken as a partial copy of %d records"
        logger.warning(text, source / "RECORDS", len(records))
        del sums["RECORDS"]
    missing = sorted(set(_select(sums, source, all_files)) - set(names))
    vital = [name for name in _vital(records, sums) if name not in names]
    if vital:
        do = "complete the copy, or download without --from"
        raise InputError(source, f"no {', '.join(vital[:5])} ({len(vital)} missing)", "all listed records", do)
    if not any(name.endswith(".hea") for name in names):
        raise InputError(source, "no record", "WFDB records (.hea)", "set --from to the folder of the database")
    with tqdm(names, unit="file", desc=f"copy {source.name}", disable=bars_hidden()) as bar:
        for name in bar:
            _copy_file(source / name, folder / name, sums.get(name))
    verified = sum(name in sums for name in names)
    unverified = "" if sums else f" (no {SUMS})"
    logger.info("%s: %d files in %s, %d of them verified%s", source.name, len(names), folder, verified, unverified)
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        logger.info("not in %s, and not needed by any record: %s%s", source, ", ".join(missing[:5]), more)
    return folder


def _copy_file(source: Path, path: Path, checksum: str | None) -> None:
    if path.is_file() and (sha256(path) == checksum if checksum else filecmp.cmp(source, path, shallow=False)):
        return
    with atomic(path) as partial:
        shutil.copyfile(source, partial)
        found = sha256(partial)
        if checksum and found != checksum:
            if not (path.exists() and path.samefile(source)):
                path.unlink(missing_ok=True)
            do = "replace it, or download without --from"
            raise InputError(source, f"SHA-256 {found[:12]}...", f"{checksum[:12]}... of {SUMS}", do)


class _Client:
    """HTTP session that retries temporary failures, and raises an InputError for others."""

    def __init__(self, session: requests.Session):
        self.session = session
        # The length of a compressed response differs from that of the file, which would break resuming.
        self.session.headers["Accept-Encoding"] = "identity"

    def _get(self, url: str, offset: int = 0) -> requests.Response:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
        status = response.status_code
        if status in (200, 206, 416):
            return response
        response.close()
        if status in (408, 429) or status >= 500:
            raise requests.ConnectionError(f"HTTP status {status}")
        do = "check --db-name, --version and --base-url"
        if status in (401, 403):
            do = "the database needs an account: download it in a browser and copy it with --from"
        raise InputError(url, f"HTTP status {status}", "a file", do)

    def _tries(self, url: str, action, growing: Path | None = None):
        """Call `action` and retry after temporary failures, up to TRIES times without growth of the file `growing`."""
        left, best = TRIES, 0
        while True:
            try:
                return action()
            except requests.RequestException as error:
                size = growing.stat().st_size if growing and growing.is_file() else 0
                left, best = (TRIES if size > best else left) - 1, max(size, best)
                if left < 1 or isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
                    raise InputError(
                        url, f"no complete response ({_cause(error)})", "a server with this file", RESUME
                    ) from error
                time.sleep(WAIT_SECONDS * 2 ** (TRIES - 1 - left))

    def text(self, url: str) -> str:
        """Download a small text file."""
        return self._tries(url, lambda: self._get(url).content.decode("utf-8", "replace"))

    def newest_version(self, url: str) -> str:
        """Return the highest version linked on the index page of a database."""
        versions = re.findall(r'href="[^"]*?(\d+(?:\.\d+)+)/"', self.text(url))
        if not versions:
            raise InputError(url, "no version", "links such as 1.0.0/", "set --version")
        return max(versions, key=lambda version: [int(part) for part in version.split(".")])

    def fetch(self, url: str, path: Path, checksum: str, bar: tqdm | None = None) -> None:
        """Download a file to `path`.partial, resuming if it exists; verify and rename it.

        Raises:
            InputError: no complete response after several attempts, or a wrong checksum (the file is deleted).
        """
        if path.is_file() and sha256(path) == checksum:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        resumed = partial.is_file() and partial.stat().st_size > 0
        self._tries(url, lambda: self._append(url, partial, bar), partial)
        found = sha256(partial)
        if found != checksum and resumed:  # the first part may be of another file: download again from the beginning
            partial.unlink()
            self._tries(url, lambda: self._append(url, partial, bar), partial)
            found = sha256(partial)
        if found != checksum:
            partial.unlink()
            do = "it was deleted; run the same command again, or check --base-url"
            raise InputError(url, f"SHA-256 {found[:12]}...", f"{checksum[:12]}... of {SUMS}", do)
        os.replace(partial, path)

    def _append(self, url: str, partial: Path, bar: tqdm | None) -> None:
        offset = partial.stat().st_size if partial.is_file() else 0
        with self._get(url, offset) as response:
            if response.status_code == 416:  # no data after `offset`: the file is complete, or not of this database
                return
            ranged = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            resume = response.status_code == 206 and ranged
            if response.status_code == 206 and not ranged:
                partial.unlink()
                raise requests.ConnectionError("response with another range than requested")
            received = 0
            with open(partial, "ab" if resume else "wb") as stream:
                for block in response.iter_content(CHUNK_BYTES):
                    stream.write(block)
                    received += len(block)
                    if bar is not None:
                        bar.update(len(block))
            expected = response.headers.get("Content-Length")
            if expected is not None and received != int(expected):
                raise requests.ConnectionError(f"{received} of {expected} bytes")


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a requests exception, which wraps it up to three times."""
    while True:
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            return " ".join(str(error).rsplit(": ", 1)[-1].split())[:120]
        error = inner
