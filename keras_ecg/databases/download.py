"""Databases from PhysioNet, or from a local copy of one: verified, resumable, whole or absent file by file.

What to fetch stands in the database's own SHA256SUMS.txt, which also says when a file is right. A file grows under
the name `FILE.partial` and is renamed once its checksum holds, so that a killed download resumes where it stopped.
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
UNUSED_SUFFIXES = (".xws", ".hea-")  # an old viewer's settings, superseded headers
TRIES = 4
WAIT_SECONDS = 1.0  # before the second try; doubled each time
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
    """Brings a database into a folder, and verifies it; what is there and right is left alone.

    Args:
        db_name: PhysioNet's name of the database, such as "mitdb" or "nstdb".
        save_directory: Where to; the default is derived from the name.
        base_url: The server's folder of databases, `BASE_URL/NAME/VERSION/FILE`.
        source: A local folder to copy from; then no server is asked.
        version: Such as "1.0.0"; the default is the newest one on the server (for mitdb 1.0.0).
        all_files: Also the subfolders that hold no record of the database's RECORDS file, and UNUSED_SUFFIXES.

    Returns:
        The folder.

    Raises:
        InputError: no answer, no such database, a missing file, or a file that fails its checksum.
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
    """Whether every record that a folder's RECORDS file lists is there, and right where SHA256SUMS.txt knows it.

    Files that no record needs may be missing, as in a copy of the recordings alone.
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
    """The folder that a database goes to when none is named."""
    if db_name == "mitdb" and version in (None, KNOWN_VERSIONS["mitdb"]):
        return mitdb.FOLDER
    return f"{db_name}-{version}" if version else db_name


def parse_sums(text: str, where: object) -> dict[str, str]:
    """File name to SHA-256, from the text of a SHA256SUMS.txt.

    Raises:
        InputError: an empty list, a line of another kind, or a name that leads out of the folder.
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
    """File name to SHA-256, from a SHA256SUMS.txt."""
    return parse_sums(path.read_text(encoding="utf-8", errors="replace"), path)


def _select(names: dict[str, str] | list[str], folder: Path, all_files: bool) -> list[str]:
    """The files at the top and in the folders of the records that `folder`/RECORDS lists; without it, all folders."""
    if all_files:
        return sorted(names)
    names = [name for name in names if not name.endswith(UNUSED_SUFFIXES)]
    if not (folder / "RECORDS").is_file():
        return sorted(names)
    records = (folder / "RECORDS").read_text(encoding="utf-8").split()
    # A line is a record, or a folder of records: "training/A00/"
    homes = {r if r.endswith("/") else f"{PurePosixPath(r).parent}/" for r in records} - {"./"}
    return sorted(name for name in names if "/" not in name or name.startswith(tuple(homes)))


def _vital(records: list[str], sums: dict[str, str]) -> list[str]:
    """The files without which the records cannot be read: those listed; without a list, at least the headers."""
    if not sums:
        return [f"{record}.hea" for record in records if not record.endswith("/")]
    return [name for record in records for s in RECORD_SUFFIXES if (name := f"{record}{s}") in sums]


def _unfinished(folder: Path, all_files: bool) -> bool:
    """Whether anything that was asked for is missing or wrong, by the lists in the folder itself."""
    try:
        sums = read_sums(folder / SUMS)
    except (FileNotFoundError, InputError):
        return True
    if "RECORDS" in sums and not (folder / "RECORDS").is_file():
        return True
    return bool(_unverified(_select(sums, folder, all_files), sums, folder))


def _fetch_all(client: "_Client", url: str, folder: Path, all_files: bool) -> None:
    """Downloads what is missing or wrong of the database at `url`."""
    text = client.text(f"{url}/{SUMS}")
    sums = parse_sums(text, f"{url}/{SUMS}")
    write_text(folder / SUMS, text)
    if "RECORDS" in sums:  # it says which subfolders hold records
        client.fetch(f"{url}/RECORDS", folder / "RECORDS", sums["RECORDS"])
    wanted = _select(sums, folder, all_files)
    todo = sorted(_unverified(wanted, sums, folder), key=lambda name: not name.endswith(RECORD_SUFFIXES))
    with tqdm(unit="B", unit_scale=True, desc=folder.name, disable=bars_hidden()) as bar:
        for number, name in enumerate(todo, 1):
            bar.set_postfix_str(f"file {number} of {len(todo)}: {name}")
            client.fetch(f"{url}/{quote(name)}", folder / name, sums[name], bar)
    logger.info("%s: %d files in %s, all right (%d downloaded)", url, len(wanted), folder, len(todo))


def _unverified(names: list[str], sums: dict[str, str], folder: Path) -> list[str]:
    """The names whose file is missing or wrong; a wrong one is deleted."""
    todo = []
    for name in tqdm(names, desc="verify", unit="file", leave=False, delay=1, disable=bars_hidden()):
        path = folder / name
        if path.is_file() and sha256(path) != sums[name]:
            path.unlink()
        if not path.is_file():
            todo.append(name)
    return todo


def _copy(source: Path, folder: Path, all_files: bool) -> Path:
    """Copies a local copy of a database, verifying each file that its SHA256SUMS.txt lists."""
    if not source.is_dir():
        raise InputError(source, "no such folder", "a copy of the database", "name its folder with --from")
    there = [p.relative_to(source).as_posix() for p in sorted(source.rglob("*")) if p.is_file()]
    names = _select([n for n in there if not n.endswith(".partial")], source, all_files)
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
        raise InputError(source, f"no {', '.join(vital[:5])} ({len(vital)} missing)", "every record of its lists", do)
    if not any(name.endswith(".hea") for name in names):
        raise InputError(source, "no record", "WFDB records (.hea)", "name the database's folder with --from")
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
    """One HTTP session: retries what may pass, and tells the rest in one line."""

    def __init__(self, session: requests.Session):
        self.session = session
        # A compressed answer has another length than the file, which would break resuming.
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
        """`action()`, again after what may pass: TRIES times in a row without the file `growing` having grown."""
        left, best = TRIES, 0
        while True:
            try:
                return action()
            except requests.RequestException as error:
                size = growing.stat().st_size if growing and growing.is_file() else 0
                left, best = (TRIES if size > best else left) - 1, max(size, best)
                if left < 1 or isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
                    raise InputError(
                        url, f"no whole answer ({_cause(error)})", "a server that serves it", RESUME
                    ) from error
                time.sleep(WAIT_SECONDS * 2 ** (TRIES - 1 - left))

    def text(self, url: str) -> str:
        """A small file's text."""
        return self._tries(url, lambda: self._get(url).content.decode("utf-8", "replace"))

    def newest_version(self, url: str) -> str:
        """The highest version among the links of a database's index page."""
        versions = re.findall(r'href="[^"]*?(\d+(?:\.\d+)+)/"', self.text(url))
        if not versions:
            raise InputError(url, "no version", "links such as 1.0.0/", "name one with --version")
        return max(versions, key=lambda version: [int(part) for part in version.split(".")])

    def fetch(self, url: str, path: Path, checksum: str, bar: tqdm | None = None) -> None:
        """Downloads one file onto `path`.partial, from where that ends; verifies; renames.

        Raises:
            InputError: no whole answer after several tries, or a wrong checksum (the file is deleted).
        """
        if path.is_file() and sha256(path) == checksum:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        resumed = partial.is_file() and partial.stat().st_size > 0
        self._tries(url, lambda: self._append(url, partial, bar), partial)
        found = sha256(partial)
        if found != checksum and resumed:  # the beginning may stem from elsewhere: once more, whole
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
            if response.status_code == 416:  # nothing after `offset`: whole already, or from elsewhere
                return
            ranged = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            resume = response.status_code == 206 and ranged
            if response.status_code == 206 and not ranged:
                partial.unlink()
                raise requests.ConnectionError("another range than asked for")
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
    """The innermost reason, short: requests wraps it three times."""
    while True:
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            return " ".join(str(error).rsplit(": ", 1)[-1].split())[:120]
        error = inner
