"""Processes that decode and encode a video, joined by pipes: bounded in time and memory, none left behind.

Whatever becomes of this process, even SIGKILL, its children end: Linux kills ffmpeg with it, and decord's server ends
when its connection does, a child of it when it writes or its time is over.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import vmr
from vmr.errors import ShardError, VideoError
from vmr.video.pipes import confine, enlarge_pipe, readable

# A message of ffmpeg's libraries or of the program itself; its lists of streams and their metadata can say anything.
_COMPLAINT = re.compile(
    r"(?=\[[^\]]+ @ 0x|Error|Cannot|Invalid|Unsupported|file:).*(error|invalid|fail|cannot|unsupported)", re.I
)
# How ffmpeg ends, whatever it was; the reason is above.
_EPILOGUE = ("Conversion failed!", "Error marking filters", "Output file is empty", "video:0kB", "frame= ")
_DECORD_NOISE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: |\(-?\d+ vs\. -?\d+\) | @ 0x[0-9a-f]+")
_DEATH_SEC = 10.0  # how long a process that has closed its output may take to end


class DecordServer:
    """Client of `vmr.video.decord_server`. One video at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()  # imports while the first video is probed
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def decode(self, plan: dict[str, Any], *, log: int, target: int) -> None:
        """Begin to decode a video.

        Args:
            plan: see `vmr.video.decord_server.hand_over_frames`, and `alarm_sec`, after which the child kills itself.
            log: descriptor that takes what is said; this and the next may be closed afterwards.
            target: descriptor that takes the frames.
        """
        self.start()
        assert self._connection is not None
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            json.dump(plan, file)
            file.seek(0)
            # A server that died in between answers by silence, in `exit_code`.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self._connection, [b"+"], [file.fileno(), log, target])

    def exit_code(self, *, timeout_sec: float) -> int | None:
        """Exit code of the child, negative for a signal; None when the time is over.

        Raises:
            VideoError: the server itself died.
        """
        assert self._connection is not None
        if not readable(self._connection.fileno(), timeout_sec):
            return None
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = self._connection.recv(16)
        if not answer.endswith(b"\n"):
            raise VideoError("decord's process died")
        return int(answer)

    def close(self) -> None:
        """Kill the server with whatever it runs."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start(self) -> None:
        """Start the server if it does not run; returns before it is ready."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._connection, theirs = socket.socketpair()
        # One thread: a process that forks must have no other.
        environment = {**child_environment(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vmr.video.decord_server"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )


def child_environment() -> dict[str, str]:
    """Environment in which ``python -m vmr...`` finds this very package, installed or not."""
    root = str(Path(vmr.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + inherited if inherited else "")}


class Pipeline:
    """Decord, an ffmpeg command, or one into the other; its output is read here, in at most so many seconds."""

    def __init__(self, *, timeout_sec: float) -> None:
        self._timeout_sec = self._left_sec = timeout_sec
        self._stack = ExitStack()
        self._logs: list[IO[bytes]] = []
        self._server: DecordServer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._server is not None:  # never heard of its end
            self._server.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._close_output()
        self._stack.close()

    def add_decord(self, server: DecordServer, plan: dict[str, Any]) -> None:
        """Begin with decord's frames, before any command."""
        self._output, target = os.pipe()
        try:
            self._server = server
            server.decode(plan, log=self._new_log().fileno(), target=target)
        finally:
            os.close(target)
        enlarge_pipe(self._output)

    def add_command(self, command: list[str]) -> None:
        """Start a command that reads what there is so far and writes to its standard output.

        Raises:
            ShardError: its program is not installed.
        """
        source = subprocess.DEVNULL if self._output is None else self._output
        try:
            self._process = subprocess.Popen(
                command,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=self._new_log(),
                bufsize=0,
                preexec_fn=confine,
            )
        except FileNotFoundError as error:
            raise ShardError(f"{error.filename} was not found on the PATH. Install ffmpeg.") from error
        # Ours must be closed, or the first process would never learn that the second has gone.
        self._close_output()
        assert self._process.stdout is not None
        self._output = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        enlarge_pipe(self._output)

    def readinto(self, buffer: memoryview) -> int:
        """Read what is there, at least a byte; 0 at the end.

        Raises:
            VideoError: the time is over.
        """
        assert self._output is not None
        begin = time.monotonic()
        ready = readable(self._output, max(0.0, self._left_sec))
        self._left_sec -= time.monotonic() - begin
        if not ready:
            raise VideoError(f"decoding took longer than {self._timeout_sec:.0f} s")
        return os.readv(self._output, [buffer])

    def finish(self) -> tuple[bytes, bytes]:
        """Wait for the processes, which have closed their output: the last line of decord's log, and ffmpeg's log.

        Raises:
            VideoError: one failed.
        """
        last_word = said = b""
        if self._server is not None:
            code = self._server.exit_code(timeout_sec=max(self._left_sec, 0.0) + _DEATH_SEC)
            if code is None:
                raise VideoError("decord does not end")
            self._server = None
            last_word = _content(self._logs[0]).rstrip().rpartition(b"\n")[2]
            _refuse(code, "decord", last_word)
        if self._process is not None:
            try:
                code = self._process.wait(timeout=_DEATH_SEC)
            except subprocess.TimeoutExpired as error:
                raise VideoError("ffmpeg does not end") from error
            said = _content(self._logs[-1])
            _refuse(code, "ffmpeg", said)
        return last_word, said

    def _new_log(self) -> IO[bytes]:
        log = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
        self._logs.append(log)
        return log

    def _close_output(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None


def last_words(message: bytes) -> str:
    r"""The line of a program's messages that says best why it failed, without what differs from run to run.

    >>> last_words(b"[h264 @ 0x55d4] Invalid NAL unit size.\nError marking filters as finished\nConversion failed!")
    '[h264] Invalid NAL unit size.'
    """
    lines = [line.strip() for line in message.decode("utf-8", errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_EPILOGUE)] or lines
    telling = [line for line in lines if _COMPLAINT.match(line)]
    if not lines:
        return "it ended without a word"
    return _DECORD_NOISE.sub("", (telling or lines[-1:])[0])[:300]


def _refuse(code: int, program: str, said: bytes) -> None:
    if code < 0:
        raise VideoError(f"{program} was killed by signal {-code}: {last_words(said)}")
    if code:
        raise VideoError(f"{program}: {last_words(said)}")


def _content(log: IO[bytes]) -> bytes:
    log.seek(0)
    return log.read()
