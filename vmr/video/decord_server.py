"""Process that decodes videos with decord, each in a child of its own, and hands over the chosen frames, raw.

decord can abort, hang or leak: a child dies with its video, and by itself when its time is over. The server, which
has imported decord and numpy and opened nothing, forks it in a few milliseconds; starting Python anew takes 0.4 s.
Nothing imports this; `vmr.video.processes` runs it with ``python -m``.
"""

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import decord
import numpy as np
import numpy.typing as npt

from vmr.video.pipes import MEMORY_LIMIT, enlarge_pipe

_LONGEST_ALARM_SEC = 2**31 - 2  # of 32 bits with a sign, less the second that is added
_TOLERANCE_SEC = 5e-3  # decord keeps time stamps as 32-bit floats


class _Borrowed:
    """A frame of decord as numpy takes it without a copy: decord knows an older form of the protocol."""

    def __init__(self, frame: Any) -> None:
        self._capsule = frame.to_dlpack()

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class DoubtError(Exception):
    """The frames cannot be trusted, and why."""


def hand_over_frames(plan: dict[str, Any], put: Callable[[npt.NDArray[Any]], None]) -> int:
    """Decode sequentially to the very last frame and hand over each chosen one as often as the plan says.

    Decoding to the end, though the last frames may not be needed, shows whether any frame is missing: a gap in the
    middle moves all later frames, and decord does not tell.

    Args:
        plan: `path`, `times_sec` of all frames, `repeats` of each frame, `width` and `height` of what to hand over,
            `resize` (whether decord is to bring the frames to that size; else they must have it), and `threads`.
        put: takes an RGB frame, (H, W, 3).

    Returns:
        How many frames at the end are the same, 1 where the last one differs from the one before. For frames that it
        lost anywhere, decord repeats the last one; only another decoder tells a still picture from that.

    Raises:
        DoubtError: the frames cannot be trusted.
    """
    decord.logging.set_level(decord.logging.FATAL)
    size = {"width": plan["width"], "height": plan["height"]} if plan["resize"] else {}
    reader = decord.VideoReader(plan["path"], ctx=decord.cpu(0), num_threads=plan["threads"], **size)
    times = np.asarray(plan["times_sec"], dtype=np.float64)
    if len(reader) != len(times):
        raise DoubtError(f"it counts {len(reader)} frames, the packets {len(times)}")
    stamps = np.sort(reader.get_frame_timestamp(range(len(times)))[:, 0].astype(np.float64))
    if np.abs((stamps - stamps[0]) - (times - times[0])).max() > _TOLERANCE_SEC:
        raise DoubtError("it reads other time stamps than the packets have")
    frame, same = None, 0
    for index, repeats in enumerate(plan["repeats"]):
        frame, previous = np.from_dlpack(_Borrowed(reader.next())), frame
        if frame.shape != (plan["height"], plan["width"], 3):
            found = f"{frame.shape[1]}x{frame.shape[0]}"
            raise DoubtError(f"it gives {found}, not {plan['width']}x{plan['height']}, at {index}")
        same = same + 1 if previous is not None and _equal(frame, previous) else 1
        for _ in range(repeats):
            put(frame)
    return same


def _equal(frame: npt.NDArray[Any], previous: npt.NDArray[Any]) -> bool:
    # A few rows tell most frames apart in a tenth of the time.
    return np.array_equal(frame[::16], previous[::16]) and np.array_equal(frame, previous)


def _pipe_writer(target: int) -> Callable[[npt.NDArray[Any]], None]:
    enlarge_pipe(target)

    def put(frame: npt.NDArray[Any]) -> None:
        data = frame.data.cast("B")
        while data:
            data = data[os.write(target, data) :]

    return put


def _decode(plan_file: int, log: int, target: int) -> None:
    """Life of a child: standard output and error belong to the log, whatever the libraries print; never returns."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        with os.fdopen(plan_file, "rb") as file:
            plan = json.load(file)
        # Both hold even when the one who asked is gone: SIGALRM kills a thread that hangs inside the decoder too.
        signal.alarm(int(min(plan["alarm_sec"], _LONGEST_ALARM_SEC)) + 1)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        code, last_word = 0, str(hand_over_frames(plan, _pipe_writer(target)))
    except BrokenPipeError:
        code, last_word = 0, ""  # the reader has gone and says why itself
    except (DoubtError, decord.DECORDError, StopIteration) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        code, last_word = 1, lines[0] if lines else "the frames end early"
    except BaseException as error:
        code, last_word = 1, f"{type(error).__name__}: {error}"
    os.write(2, f"\n{last_word}\n".encode())
    # No clean-up: the destructors of a decoder in disorder can hang.
    os._exit(code)


def main() -> None:
    """Decode one video after another until the client closes the connection, which is standard input."""
    connection = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        if not request:
            return
        child = os.fork()
        if child == 0:
            connection.close()
            _decode(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
