"""The command."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from vmr.cli import app
from vmr.errors import ConfigError
from vmr.serve.run import address, listen


def run(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


def test_a_port_that_is_taken_is_named(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("--model", model, "--port", taken.getsockname()[1])
    assert result.exit_code == 1
    assert "with --port; 0 is any free port" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--token", "short"], "at least 16"),
        (["--max-upload-mb", 20, "--max-uploads-mb", 10], "--max-upload-mb 20: one upload may not be larger"),
        (["--videos", "nowhere"], "no such folder"),
        (["--videos", __file__], "is a file. Name the folder of the videos."),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid: expected an address of this machine"),
        (
            ["--host", "192.0.2.1"],
            "192.0.2.1, port 0: cannot be used",
        ),  # an address of documentation, which no machine has
    ],
)
def test_wrong_options_give_one_clear_line(model, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = run("--model", model, "--cache", tmp_path, "--port", 0, *arguments)
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert words in result.output.replace("\n", " ")


def test_a_model_that_is_none_is_refused(tmp_path):
    assert "vmr export" in run("--model", tmp_path / "none.safetensors", "--port", 0).output


def test_addresses():
    assert address("127.0.0.1", 80, None) == "http://127.0.0.1:80/"
    assert address("::1", 80, "abc") == "http://[::1]:80/?token=abc"
    assert address("::1", 80, "a b&c#d+e%20") == "http://[::1]:80/?token=a%20b%26c%23d%2Be%2520"
    assert address("0.0.0.0", 80, None) == f"http://{socket.gethostname()}:80/"
    with pytest.raises(ConfigError):
        listen("256.256.256.256", 0)


def test_it_serves_with_a_token_of_its_own_until_it_is_told_to_end(model, tmp_path, folder):
    command = [sys.executable, "-m", "vmr", "-q", "serve", "--model", model, "--videos", folder, "--cache", tmp_path]
    process = subprocess.Popen(
        [*command, "--host", "0.0.0.0", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        where = line.split()[1]
        port, token = where.split(":")[2].split("/?token=")
        assert len(token) >= 32
        opened = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        page = opened.open(f"http://127.0.0.1:{port}/?token={token}", timeout=20).read()
        assert b"Find a moment" in page
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        said = process.stderr.read()
        process.stdout.close()
        process.stderr.close()
    assert token not in said
    assert "Traceback" not in said
