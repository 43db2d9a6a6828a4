"""Downloads from a mirror on this machine that misbehaves in every way known to us."""

import contextlib
import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from momentum_cli.data import download
from momentum_cli.data.download import fetch_gzipped, gunzip, one_at_a_time
from momentum_cli.progress import NO_PROGRESS

CONTENT = bytes(range(256)) * 2000
ARCHIVE = gzip.compress(CONTENT, mtime=0)
Behaviour = Callable[[BaseHTTPRequestHandler], None]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def send(handler: BaseHTTPRequestHandler, content: bytes, announced: int | None, status: int = 200) -> None:
    handler.send_response(status)
    if announced is not None:
        handler.send_header("Content-Length", str(announced))
    handler.end_headers()
    with contextlib.suppress(OSError):  # the client may have hung up, on purpose
        handler.wfile.write(content)


RELEASE = threading.Event()
BEHAVIOURS: dict[str, Behaviour] = {
    "good": lambda h: send(h, ARCHIVE, len(ARCHIVE)),
    "silent-on-length": lambda h: send(h, ARCHIVE, None),
    "absent": lambda h: send(h, b"", 0, status=404),
    "portal": lambda h: send(h, b"<html>log in first</html>", 25),
    "breaks-off": lambda h: send(h, ARCHIVE[: len(ARCHIVE) // 2], len(ARCHIVE)),
    "breaks-off-silently": lambda h: send(h, ARCHIVE[: len(ARCHIVE) // 2], None),
    "flips-a-bit": lambda h: send(h, bytes([*ARCHIVE[:-1], ARCHIVE[-1] ^ 1]), len(ARCHIVE)),
    "endless": lambda h: send(h, bytes(4 * len(CONTENT)), None),
    "stalls": lambda h: (send(h, ARCHIVE[:10], len(ARCHIVE)), RELEASE.wait(10))[0],
}


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            BEHAVIOURS[self.path.strip("/")](self)

        def log_message(self, *args: object) -> None: ...

    monkeypatch.setenv("no_proxy", "*")
    RELEASE.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        RELEASE.set()
        server.shutdown()
        thread.join()


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int | None]] = []

    def download(self, name: str, done: int, total: int | None) -> None:
        self.calls.append((name, done, total))


def fetch(urls: list[str], target: Path, progress: download.DownloadProgress = NO_PROGRESS) -> None:
    fetch_gzipped(
        urls, target, archive_md5=md5(ARCHIVE), content_md5=md5(CONTENT), size=len(CONTENT), progress=progress
    )


def test_a_good_file_is_decompressed_and_its_progress_told(
    mirror: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    fetch([f"{mirror}/good"], tmp_path / "images", recorder)
    assert (tmp_path / "images").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert recorder.calls[0] == ("images", 0, len(ARCHIVE))
    assert recorder.calls[-1] == ("images", len(ARCHIVE), len(ARCHIVE))
    done = [call[1] for call in recorder.calls]
    assert done == sorted(done)
    assert capfd.readouterr() == ("", "")


def test_a_server_that_does_not_tell_the_length_is_served_too(mirror: str, tmp_path: Path) -> None:
    recorder = Recorder()
    fetch([f"{mirror}/silent-on-length"], tmp_path / "images", recorder)
    assert (tmp_path / "images").read_bytes() == CONTENT
    assert {call[2] for call in recorder.calls} == {None}


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("absent", "404"),
        ("portal", "sent something else"),
        ("breaks-off", f"ended after {len(ARCHIVE) // 2} of {len(ARCHIVE)} bytes"),
        ("breaks-off-silently", "sent something else"),
        ("flips-a-bit", "sent something else"),
        ("endless", f"sent more than {len(CONTENT) + len(CONTENT) // 1000 + 64} bytes"),
        ("stalls", "timed out"),
    ],
)
def test_a_bad_answer_leaves_nothing_and_the_next_mirror_is_asked(
    behaviour: str, reason: str, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    target = tmp_path / "images"
    with pytest.raises(ConnectionError, match=rf"/{behaviour}: .*{reason}"):
        fetch([f"{mirror}/{behaviour}"], target)
    assert list(tmp_path.iterdir()) == []
    fetch([f"{mirror}/{behaviour}", f"{mirror}/good"], target)
    assert target.read_bytes() == CONTENT


def test_every_mirror_that_failed_is_named(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError) as caught:
        fetch([f"{mirror}/absent", f"{mirror}/portal", "http://127.0.0.1:1/closed"], tmp_path / "images")
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in lines] == ["absent", "portal", "closed"]


def test_content_that_does_not_compress_is_not_taken_for_too_long(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(0).randbytes(100_000)
    archive = gzip.compress(content, mtime=0)
    assert len(archive) > len(content)
    monkeypatch.setitem(BEHAVIOURS, "good", lambda h: send(h, archive, len(archive)))
    fetch_gzipped(
        [f"{mirror}/good"],
        tmp_path / "images",
        archive_md5=md5(archive),
        content_md5=md5(content),
        size=len(content),
        progress=NO_PROGRESS,
    )
    assert (tmp_path / "images").read_bytes() == content


def test_an_archive_of_other_content_is_refused(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="content is damaged"):
        fetch_gzipped(
            [f"{mirror}/good"],
            tmp_path / "images",
            archive_md5=md5(ARCHIVE),
            content_md5=md5(b"other"),
            size=len(CONTENT),
            progress=NO_PROGRESS,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_killed_while_it_writes_leaves_no_file_under_the_final_name(mirror: str, tmp_path: Path) -> None:
    target = tmp_path / "images"
    code = f"""
        import os, sys, time
        from pathlib import Path
        from momentum_cli.data import NO_PROGRESS, download

        def stop(handle):
            print("written, not yet renamed", flush=True)
            time.sleep(60)

        os.fsync = stop
        with download.one_at_a_time(Path({str(tmp_path)!r})):
            download.fetch_gzipped([{mirror + "/good"!r}], Path({str(target)!r}), archive_md5={md5(ARCHIVE)!r},
                content_md5={md5(CONTENT)!r}, size={len(CONTENT)}, progress=NO_PROGRESS)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"written")
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert len(list(tmp_path.glob(".images.*.part"))) == 1
    with one_at_a_time(tmp_path):
        assert list(tmp_path.iterdir()) == []  # the orphan is cleared by the next who holds the lock
        fetch([f"{mirror}/good"], target)
    assert target.read_bytes() == CONTENT


def test_an_interrupt_while_writing_leaves_nothing(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch([f"{mirror}/good"], tmp_path / "images")
    assert list(tmp_path.iterdir()) == []


def test_one_at_a_time_excludes_the_others(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no such lock")
    entered = threading.Event()

    def other() -> None:
        with one_at_a_time(tmp_path):
            entered.set()

    thread = threading.Thread(target=other)
    with one_at_a_time(tmp_path):
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    thread.join()


def test_a_damaged_gzip_file_is_refused() -> None:
    assert gunzip(ARCHIVE, len(CONTENT)) == CONTENT
    for damaged, reason in (
        (b"plain text", "not a gzip file"),
        (ARCHIVE[:-3], "cut short"),
        (b"", "cut short"),
        (bytes([*ARCHIVE[:-1], ARCHIVE[-1] ^ 1]), "not a gzip file or damaged"),
    ):
        with pytest.raises(OSError, match=reason):
            gunzip(damaged, len(CONTENT))
    with pytest.raises(OSError, match=f"more than the expected {len(CONTENT) - 1}"):
        gunzip(ARCHIVE, len(CONTENT) - 1)
