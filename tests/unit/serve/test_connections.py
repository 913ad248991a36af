"""More visitors than the server can hold, slow ones among them."""

import http.client
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from vmr.errors import ConfigError
from vmr.serve import connections

SECONDS = float(os.environ.get("VMR_CROWD_SEC", "4"))  # a minute, when it is measured
FILES = 1024  # that the server may open, in the first try


def get(port, timeout=20):
    """Status, and seconds that it took, of the list of videos."""
    begin = time.monotonic()
    visitor = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        visitor.request("GET", "/api/videos")
        answer = visitor.getresponse()
        return answer.status, answer.read(), time.monotonic() - begin
    finally:
        visitor.close()


@pytest.fixture
def server(model, folder, tmp_path):
    """A server that may open few files; process and port."""
    begin = (
        "import resource, sys; from vmr.serve.limits import Limits; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {FILES})); "
        "[Limits.model_fields[name].__setattr__('default', 2.0) for name in ('head_sec', 'idle_sec')]; "
        "Limits.model_rebuild(force=True); from vmr.cli import app; app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", begin, "serve", "--model", model, "--videos", folder, "--cache", tmp_path]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [*map(str, command), "--port", "0"], stdout=subprocess.PIPE, stderr=said, text=True
        )  # fmt: skip
        try:
            line = process.stdout.readline()
            yield process, int(line.split("127.0.0.1:")[1].split("/")[0])
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_thousand_visitors_leave_no_trace(server, tmp_path):
    process, port = server
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files = Path(f"/proc/{process.pid}/fd")
    assert get(port)[0] == 200
    before = len(list(files.iterdir()))
    statuses, most, end = Counter(), 0, time.monotonic() + SECONDS
    silent = []

    def slow():
        """Seven hundred: nothing, a head byte by byte, or a body that never ends; answered or not, they stay."""
        while time.monotonic() < end:
            for number in range(700 - len(silent)):
                try:
                    visitor = socket.create_connection(("127.0.0.1", port), timeout=5)
                except OSError:
                    break
                body = b"POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
                visitor.sendall((b"", b"GET / HT", body)[number % 3])
                silent.append(visitor)
            for visitor in silent[1::3]:
                try:
                    visitor.send(b"x")
                except OSError:
                    silent.remove(visitor)
                    visitor.close()
            time.sleep(0.2)

    def ask():
        """Three hundred in thirty threads."""
        while time.monotonic() < end:
            try:
                status, body, _ = get(port)
                statuses[status] += 1
                assert status == 200 or b"Too many visitors at once" in body
            except OSError:
                statuses["refused"] += 1
                time.sleep(0.1)

    threads = [threading.Thread(target=slow), *(threading.Thread(target=ask) for _ in range(30))]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        most = max(most, len(list(files.iterdir())))
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    for visitor in silent:
        visitor.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    time.sleep(0.5)
    status, _, took = get(port)
    print(f"{statuses}, {most} files at the most, answered after {took:.2f} s")
    assert status == 200 and took < 1
    assert most < FILES and statuses[200] > 10 and statuses[503] > 0
    time.sleep(1.5)
    assert len(list(files.iterdir())) <= before + 3
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said and "Too many open files" not in said, said[-3000:]


@pytest.mark.parametrize(
    ("limits", "expected"), [((256, 1024), (100, 128)), ((64, 512), (100, 64)), ((10**6, 10**6), (100, 512))]
)
def test_room_is_made_for_connections(monkeypatch, limits, expected):
    raised = []
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(connections.resource, "setrlimit", lambda _, given: raised.append(given))
    assert connections.make_room(100) == expected
    assert raised == ([(limits[1], limits[1])] if limits[0] < limits[1] else [])


def test_a_limit_that_is_too_low_is_named(monkeypatch):
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (200, 200))
    with pytest.raises(ConfigError, match="only 200 files may be open"):
        connections.make_room(100)
