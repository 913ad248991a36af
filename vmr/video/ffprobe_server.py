"""Child process that answers probes: one JSON request a line in, one JSON answer a line out.

`ffmpeg.probe` of ffmpeg-python 0.2.0 has no time limit and leaves its ffprobe behind when it is interrupted. Here it
runs in a process group of its own that the client kills as a whole. Not imported by anything; run with ``python -m``.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from typing import Any

import ffmpeg

from vmr.video.containers import SAFE_INPUT
from vmr.video.pipes import MEMORY_LIMIT

_REFUSED = re.compile(r"^\[(\S+) @ \S+\] Format not on whitelist", re.MULTILINE)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Probe one file.

    Args:
        request: `path`, absolute, and `options` of ffprobe.

    Returns:
        `result`, what ffprobe says, or `error`, the last line that it printed, or the format that is not read.
    """
    try:
        options = {"v": "error", **SAFE_INPUT, **request["options"]}
        return {"result": ffmpeg.probe(f"file:{request['path']}", **options)}
    except ffmpeg.Error as error:
        text = error.stderr.decode("utf-8", errors="replace").strip()
        if refused := _REFUSED.search(text):
            return {"error": f"its format {refused[1]!r} is none that holds a video by itself; convert it to mp4"}
        lines = text.splitlines()
        return {"error": lines[-1] if lines else "ffprobe failed without a word"}
    except (OSError, ValueError) as error:
        return {"error": f"ffprobe cannot run: {error}"}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))  # its ffprobes inherit it
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
