import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from keras_ecg import cli
from keras_ecg.databases import download as module
from keras_ecg.databases.download import default_directory, download, is_complete, parse_sums
from keras_ecg.errors import InputError

ROOT = Path(__file__).parents[1]
BIG = np.random.default_rng(0).bytes(300_000)
FILES = {
    "RECORDS": b"100\n101\n",
    "100.dat": BIG,
    "100.hea": b"100 1 360 10\n",
    "101.dat": BIG[:1000],
    "101.hea": b"101 1 360 10\n",
    "notes/a file.htm": b"<p>not a record</p>",
    "100.xws": b"an old viewer's settings",
}
WANTED = sorted(name for name in FILES if "/" not in name and name != "100.xws")


def sums_of(files):
    return "".join(f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in files.items()).encode()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        server, path = self.server, self.path.replace("%20", " ")
        server.asked.append((path.rsplit("/", 1)[-1], self.headers.get("Range")))
        if server.dead:
            self.close_connection = True  # no response
            return
        if server.failures:
            self.send_error(server.failures.pop(0))
            return
        if path not in server.pages:
            self.send_error(404)
            return
        data, start = server.pages[path], 0
        if server.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if server.cut is not None and len(body) > server.cut:
            self.wfile.write(body[: server.cut])
            self.wfile.flush()
            server.released.wait(60)
            self.close_connection = True  # the rest is not sent
            server.dead = server.vanishes
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A PhysioNet on 127.0.0.1 whose database `db` has the versions 0.9.0 and 0.10.0."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # killed clients cause errors
    server.pages = {f"/files/db/0.10.0/{name}": data for name, data in FILES.items()}
    server.pages["/files/db/0.10.0/SHA256SUMS.txt"] = sums_of(FILES)
    server.pages["/files/db/"] = b'<a href="../">../</a> <a href="0.9.0/">0.9.0/</a> <a href="/files/db/0.10.0/">'
    server.asked, server.failures, server.cut, server.ranges = [], [], None, True
    server.vanishes = server.dead = False
    server.released = threading.Event()
    server.released.set()
    server.url = f"http://127.0.0.1:{server.server_port}/files"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def expected(names=None):
    return {name: FILES[name] for name in names or WANTED} | {"SHA256SUMS.txt": sums_of(FILES)}


def fails(capsys, *arguments):
    """Return the error line with which the script exits with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(["download", *map(str, arguments)])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 2 and len(errors) == 1
    return errors[0]


def test_newest_version_is_downloaded_and_rerun_sends_no_request(server, tmp_path):
    assert download("db", tmp_path / "out", server.url) == tmp_path / "out"
    assert contents(tmp_path / "out") == expected()
    server.asked.clear()
    download("db", tmp_path / "out", server.url)
    assert server.asked == []
    download("db", tmp_path / "out", server.url, version="0.10.0", all_files=True)
    assert contents(tmp_path / "out") == expected(FILES)
    assert [name for name, _ in server.asked] == ["SHA256SUMS.txt", "100.xws", "a file.htm"]


def test_subfolders_with_records_are_downloaded(server, tmp_path):
    server.pages["/files/db/0.10.0/RECORDS"] = b"notes/x\n"
    server.pages["/files/db/0.10.0/SHA256SUMS.txt"] = sums_of(FILES | {"RECORDS": b"notes/x\n"})
    download("db", tmp_path, server.url)
    assert (tmp_path / "notes" / "a file.htm").read_bytes() == FILES["notes/a file.htm"]


@pytest.mark.parametrize("ranges", [True, False])
def test_rerun_resumes_after_server_failure(server, tmp_path, capsys, ranges):
    server.cut, server.ranges, server.vanishes = 100_000, ranges, True
    arguments = ("--db-name", "db", "--save-directory", tmp_path, "--base-url", server.url)
    line = fails(capsys, *arguments)
    assert "100.dat" in line and "resumes" in line
    left = (tmp_path / "100.dat.partial").read_bytes()
    assert left == BIG[: len(left)] and 0 < len(left) <= 100_000 and not (tmp_path / "100.dat").exists()
    server.cut, server.dead = None, False
    server.asked.clear()
    cli.run(["download", *map(str, arguments)])
    assert ("100.dat", f"bytes={len(left)}-") in server.asked  # a server may ignore the range
    assert contents(tmp_path) == expected()


def test_broken_transfer_is_resumed(server, tmp_path):
    server.cut = 70_000  # more interruptions than attempts, but the file grows with each attempt
    download("db", tmp_path, server.url)
    asked = [extent for name, extent in server.asked if name == "100.dat"]
    assert asked[0] is None and len(asked) == 5 and all(extent.startswith("bytes=") for extent in asked[1:])
    assert contents(tmp_path) == expected()


def test_temporary_errors_are_retried(server, tmp_path):
    server.failures = [503, 500, 429]
    download("db", tmp_path, server.url)
    assert contents(tmp_path) == expected()


def test_file_with_wrong_checksum_is_deleted(server, tmp_path, capsys):
    server.pages["/files/db/0.10.0/101.dat"] = b"other" * 200
    line = fails(capsys, "--db-name", "db", "--save-directory", tmp_path, "--base-url", server.url)
    assert "101.dat: found SHA-256" in line and "deleted" in line
    assert not list(tmp_path.glob("101.dat*")) and (tmp_path / "100.dat").read_bytes() == BIG
    server.pages["/files/db/0.10.0/101.dat"] = FILES["101.dat"]
    download("db", tmp_path, server.url)
    assert contents(tmp_path) == expected()


@pytest.mark.parametrize("stale", [b"not the beginning", BIG, BIG + b"and more"])
def test_partial_file_of_other_content_is_downloaded_again(server, tmp_path, stale):
    (tmp_path / "100.dat.partial").write_bytes(stale)
    download("db", tmp_path, server.url)
    assert contents(tmp_path) == expected()


def test_damaged_file_is_replaced(server, tmp_path):
    download("db", tmp_path, server.url)
    (tmp_path / "100.dat").write_bytes(BIG[:-1] + b"?")
    (tmp_path / "RECORDS").write_bytes(b"")
    server.asked.clear()
    download("db", tmp_path, server.url)
    assert contents(tmp_path) == expected()
    assert {"100.dat", "RECORDS"} <= {name for name, _ in server.asked}
    assert not {"101.dat", "100.hea"} & {name for name, _ in server.asked}


def test_killed_download_resumes_to_equal_files(server, tmp_path):
    server.cut = 200_000
    server.released.clear()  # the server stops sending in the middle of 100.dat
    arguments = ["--db-name", "db", "--save-directory", str(tmp_path / "out"), "--base-url", server.url]
    command = [sys.executable, str(ROOT / "download_data.py"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    partial = tmp_path / "out" / "100.dat.partial"
    while process.poll() is None and not (partial.is_file() and partial.stat().st_size > 0):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    left = partial.stat().st_size
    server.released.set()
    server.cut = None
    server.asked.clear()
    cli.run(["download", *arguments])
    assert ("100.dat", f"bytes={left}-") in server.asked
    assert contents(tmp_path / "out") == expected()


def test_offline_unknown_and_forbidden_errors_are_one_line(server, tmp_path, capsys):
    nowhere = "http://127.0.0.1:9/files"  # discard port: no server
    line = fails(capsys, "--save-directory", tmp_path / "a", "--base-url", nowhere)
    assert "no complete response" in line and "--from" in line
    line = fails(capsys, "--db-name", "bd", "--save-directory", tmp_path / "a", "--base-url", server.url)
    assert "HTTP status 404" in line and "--db-name" in line
    server.failures = [403]
    line = fails(capsys, "--db-name", "db", "--version", "1", "--save-directory", tmp_path, "--base-url", server.url)
    assert "needs an account" in line
    server.pages["/files/db/0.10.0/SHA256SUMS.txt"] = b"<html>log in</html>"
    assert "found" in fails(capsys, "--db-name", "db", "--save-directory", tmp_path, "--base-url", server.url)
    server.pages["/files/db/"] = b"nothing here"
    assert "--version" in fails(capsys, "--db-name", "db", "--save-directory", tmp_path, "--base-url", server.url)
    assert contents(tmp_path) == {}


def test_checksum_list_with_path_outside_folder_is_rejected():
    for name in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(InputError):
            parse_sums(f"{'0' * 64} {name}\n", "list")
    assert parse_sums(f"{'A' * 64} *a b\n", "list") == {"a b": "a" * 64}


@pytest.fixture
def copy(tmp_path):
    """Local copy of the database with its checksums."""
    for name, data in (FILES | {"SHA256SUMS.txt": sums_of(FILES)}).items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    return tmp_path / "copy"


def test_copy_from_folder_verifies_files(copy, tmp_path):
    for _ in range(2):
        assert download("db", tmp_path / "out", source=copy) == tmp_path / "out"
        assert contents(tmp_path / "out") == expected()
    (tmp_path / "out" / "100.dat").write_bytes(b"damaged")
    (copy / "SHA256SUMS.txt").unlink()  # optional in a copy
    download("db", tmp_path / "out", source=copy)
    assert contents(tmp_path / "out") == expected()


def test_copy_of_damaged_or_incomplete_folder_is_rejected(copy, tmp_path, capsys):
    def copying(source):
        return fails(capsys, "--from", source, "--save-directory", tmp_path / "out")

    (copy / "101.dat").write_bytes(b"damaged")
    line = copying(copy)
    assert f"{copy / '101.dat'}: found SHA-256" in line and not (tmp_path / "out" / "101.dat").exists()
    with pytest.raises(InputError):
        download("db", copy, source=copy)
    assert (copy / "101.dat").read_bytes() == b"damaged"  # files of the user are not deleted
    (copy / "101.dat").unlink()
    assert "no 101.dat" in copying(copy)
    (copy / "SHA256SUMS.txt").unlink()
    (copy / "101.hea").unlink()
    assert "no 101.hea" in copying(copy)
    shutil.rmtree(copy)
    assert "no such folder" in copying(copy)
    copy.mkdir()
    assert "no record" in copying(copy)


def test_is_complete_checks_records_and_checksums(copy):
    assert is_complete(copy)
    (copy / "notes" / "a file.htm").unlink()
    assert is_complete(copy)  # no record needs it
    (copy / "100.dat").write_bytes(BIG[:-1] + b"?")
    assert not is_complete(copy)
    (copy / "100.dat").unlink()
    assert not is_complete(copy) and not is_complete(copy / "notes")


def test_default_directory_depends_on_database():
    assert default_directory("mitdb") == "mit-bih-arrhythmia-database-1.0.0"
    assert default_directory("nstdb") == "nstdb" and default_directory("nstdb", "1.0.0") == "nstdb-1.0.0"


@pytest.mark.skipif(not os.environ.get("MITDB_DIR"), reason="MITDB_DIR does not name the whole database")
def test_mitdb_is_copied_and_verified(tmp_path, capsys):
    download(save_directory=tmp_path, source=os.environ["MITDB_DIR"])
    assert len(list(tmp_path.glob("*.dat"))) == len(list(tmp_path.glob("*.atr"))) == 48
    assert "verified" in capsys.readouterr().out
