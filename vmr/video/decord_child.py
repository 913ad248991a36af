"""Child process that decodes one video with decord and writes the chosen frames, raw, to standard output.

decord can abort, hang or leak: each video has a child of its own, which dies by itself when its time is over. Only
decord and numpy are imported, no torch. Nothing imports this; run it with ``python -m`` and a plan in JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import decord
import numpy as np

from vmr.video.pipes import enlarge_pipe

_TOLERANCE_SEC = 5e-3  # decord keeps time stamps as 32-bit floats


def write_frames(plan_path: str, target: int) -> str:
    """Decode sequentially to the very last frame and write each chosen one as often as the plan says.

    Decoding to the end, though the last frames may not be needed, shows whether any frame is missing: a gap in the
    middle moves all later frames, and decord does not tell.

    Args:
        plan_path: JSON with `path`, `times_sec` of all frames, `repeats` of each frame, `width` and `height` of what
            to write, `resize` (whether decord is to bring the frames to that size; else they must have it), and
            `timeout_sec`.
        target: descriptor that takes the raw RGB frames.

    Returns:
        Why the frames cannot be trusted, or an empty string.
    """
    plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    # The parent may be gone by then; SIGALRM kills even a thread that hangs inside the decoder.
    signal.alarm(int(plan["timeout_sec"]) + 1)
    decord.logging.set_level(decord.logging.FATAL)
    size = {"width": plan["width"], "height": plan["height"]} if plan["resize"] else {}
    reader = decord.VideoReader(plan["path"], ctx=decord.cpu(0), num_threads=1, **size)
    times = np.asarray(plan["times_sec"], dtype=np.float64)
    if len(reader) != len(times):
        return f"decord counts {len(reader)} frames, the packets {len(times)}"
    stamps = np.sort(reader.get_frame_timestamp(range(len(times)))[:, 0].astype(np.float64))
    if np.abs((stamps - stamps[0]) - (times - times[0])).max() > _TOLERANCE_SEC:
        return "decord reads other time stamps than the packets have"
    with os.fdopen(target, "wb", buffering=0) as pipe:
        enlarge_pipe(pipe)
        for index, repeats in enumerate(plan["repeats"]):
            frame = reader.next().asnumpy()
            if frame.shape != (plan["height"], plan["width"], 3):
                return (
                    f"decord gives {frame.shape[1]}x{frame.shape[0]}, not {plan['width']}x{plan['height']}, at {index}"
                )
            for _ in range(repeats):
                data = memoryview(frame).cast("B")
                while data:
                    data = data[pipe.write(data) :]
    return ""


def main() -> None:
    """Keep standard output for the frames alone, whatever the libraries print."""
    target = os.dup(1)
    os.dup2(2, 1)
    try:
        reason = write_frames(sys.argv[1], target)
    except BrokenPipeError:
        os._exit(0)  # the encoder has gone and says why itself
    except (decord.DECORDError, StopIteration) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        reason = f"decord: {lines[0] if lines else 'the frames end early'}"
    if reason:
        sys.stderr.write(f"\n{reason}\n")
        # No clean-up: the destructors of a decoder in disorder can hang.
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
