import hashlib
import http.server
import os
import socket
import threading

import pytest

from vmr.assets import download as downloads
from vmr.assets.download import download
from vmr.errors import AssetError

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at /file; each test sets how it misbehaves."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True
        self.etag = '"v1"'
        self.cut_after: list[int] = []
        self.statuses: list[int] = []
        self.redirect: str | None = None
        self.announce_length = True
        self.requests: list[dict[str, str]] = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = 0
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") in (None, server.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        body = server.content[start:]
        if server.announce_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut_after:
            body = body[: server.cut_after.pop(0)]
        self.wfile.write(body)


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights.pt"


@pytest.fixture(autouse=True)
def attempts(monkeypatch):
    """Sets how often an address is tried; nothing is waited for."""
    monkeypatch.setattr(downloads, "_WAIT_SEC", 0.0)
    monkeypatch.setattr(downloads, "_TIMEOUT_SEC", 5.0)
    return lambda number: monkeypatch.setattr(downloads, "_ATTEMPTS", number)


def fetch(server, target, **options):
    return download([server.address], destination=target, **options)


def ranges(server):
    return [request.get("Range") for request in server.requests]


def leftovers(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_plain_download_is_checked_and_complete(server, target):
    assert fetch(server, target, sha256=SHA256, size_bytes=len(CONTENT)) == SHA256
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == ["weights.pt"]
    assert ranges(server) == [None]


def test_a_file_that_is_there_is_not_asked_for_again(server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert fetch(server, target, sha256=SHA256) == SHA256
    assert server.requests == []


def test_a_cut_connection_is_resumed_within_the_call(server, target):
    server.cut_after = [1_000_000, 500_000]
    assert fetch(server, target, sha256=SHA256) == SHA256
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_cut_download_is_resumed_by_the_next_call(server, target, attempts):
    attempts(0)
    server.cut_after = [1_000_000]
    with pytest.raises(AssetError, match="connection broke after 1,000,000 of 3,000,000 bytes"):
        fetch(server, target)
    assert not target.exists()
    assert leftovers(target) == ["weights.pt.part", "weights.pt.part.json"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000000-"]
    assert server.requests[1]["If-Range"] == '"v1"'


def test_progress_renews_the_attempts(server, target, attempts):
    attempts(2)
    server.cut_after = [100_000] * 12
    assert fetch(server, target, sha256=SHA256) == SHA256


def test_a_server_without_ranges_starts_anew(server, target):
    server.ranges = False
    server.cut_after = [1_000_000]
    assert fetch(server, target, sha256=SHA256) == SHA256
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_starts_anew(server, target, attempts):
    attempts(0)
    server.cut_after = [1_000_000]
    with pytest.raises(AssetError):
        fetch(server, target)
    server.etag, server.content = '"v2"', CONTENT[::-1]
    fetch(server, target)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    ("etag", "part", "sha256", "asked"),
    [
        # No tag to compare: the hash says that the halves do not fit, and the file is loaded as a whole.
        ("", b"x" * 1_000_000, SHA256, ["bytes=1000000-", None]),
        # Without a hash, too, nothing is resumed.
        ("", b"x" * 1_000_000, None, [None]),
        # A complete part only needs the check; a longer one is thrown away.
        ('"v1"', CONTENT, SHA256, ["bytes=3000000-"]),
        ('"v1"', CONTENT + b"more", SHA256, ["bytes=3000004-", None]),
    ],
    ids=["another version", "nothing to tell it by", "complete", "too long"],
)
def test_a_part_that_somebody_left_is_judged(server, target, etag, part, sha256, asked):
    server.etag = etag
    target.parent.mkdir()
    target.with_name("weights.pt.part").write_bytes(part)
    assert fetch(server, target, sha256=sha256) == SHA256
    assert target.read_bytes() == CONTENT
    assert ranges(server) == asked


def test_a_wrong_hash_is_refused_and_removed(server, target):
    with pytest.raises(AssetError, match=f"expected SHA-256 {'0' * 64}, found 3,000,000 bytes and SHA-256 {SHA256}"):
        fetch(server, target, sha256="0" * 64)
    assert leftovers(target) == []
    assert len(server.requests) == 1


def test_a_wrong_size_is_refused_before_the_transfer(server, target):
    with pytest.raises(AssetError, match="3,000,000 bytes are announced, expected 17"):
        fetch(server, target, size_bytes=17)
    assert leftovers(target) == []


def test_a_short_file_without_announced_length_is_refused(server, target):
    server.announce_length = False
    server.cut_after = [1_000_000]
    with pytest.raises(AssetError, match=r"expected 3,000,000 bytes, found 1,000,000"):
        fetch(server, target, size_bytes=len(CONTENT))
    assert leftovers(target) == []


def test_an_unknown_hash_is_recorded_and_checked_from_then_on(server, target):
    fetch(server, target)
    assert target.with_name("weights.pt.sha256").read_text() == f"{SHA256}  weights.pt\n"
    target.write_bytes(b"altered")
    with pytest.raises(AssetError, match=f"expected SHA-256 {SHA256}, found 7 bytes"):
        fetch(server, target)
    assert target.read_bytes() == b"altered"
    target.unlink()
    server.content = CONTENT[:-1]
    with pytest.raises(AssetError, match="has changed"):
        fetch(server, target)


def test_a_broken_record_is_named(server, target):
    target.parent.mkdir()
    target.with_name("weights.pt.sha256").write_text("nonsense\n")
    with pytest.raises(AssetError, match=r"weights.pt.sha256: expected the line"):
        fetch(server, target)


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (503, 3)])
def test_attempts_are_limited_and_a_missing_file_is_not_asked_for_twice(server, target, attempts, status, asked):
    attempts(3)
    server.statuses = [status] * 10
    with pytest.raises(AssetError, match=f"HTTP status {status}"):
        fetch(server, target)
    assert len(server.requests) == asked


def test_a_busy_server_is_asked_again(server, target):
    server.statuses = [503, 429]
    assert fetch(server, target, sha256=SHA256) == SHA256
    assert len(server.requests) == 3


def test_the_next_address_is_tried(server, target):
    other = server.address.replace("/file", "/other")
    server.statuses = [404]
    assert download([other, server.address], destination=target, sha256=SHA256) == SHA256


def test_a_mirror_with_another_file_does_not_hide_the_right_one(server, target):
    """The first address gives a file of the wrong hash, the second the right one."""
    with Server() as wrong:
        wrong.content = CONTENT[::-1]
        threading.Thread(target=wrong.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert download([wrong.address, server.address], destination=target, sha256=SHA256) == SHA256
        wrong.shutdown()
    assert target.read_bytes() == CONTENT


def test_a_refused_connection_is_named_after_two_attempts(target, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AssetError, match=rf"http://127.0.0.1:{port}/file: cannot be reached .*refused"):
        download([f"http://127.0.0.1:{port}/file"], destination=target)
    assert caplog.text.count("trying again") == 1


@pytest.mark.parametrize("address", ["http://example.org/file", "file:///etc/hostname", "ftp://example.org/file"])
def test_only_https_is_trusted(target, address):
    with pytest.raises(AssetError, match="only https"):
        download([address], destination=target)


def test_a_redirect_away_from_https_is_refused(server, target):
    server.redirect = "http://example.org/file"
    with pytest.raises(AssetError, match=r"redirects to http://example.org/file, which is not https"):
        fetch(server, target)


def test_two_at_once_load_the_file_once(server, target):
    threads = [threading.Thread(target=fetch, args=(server, target)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1
