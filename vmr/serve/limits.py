"""What the page takes at most, and how it says no."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vmr.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds on everything that visitors can make grow.

    Attributes:
        upload_bytes: of one uploaded file.
        stored_bytes: of all uploads together, those that are coming in aside; the oldest make way.
        minutes: of an uploaded video.
        query_chars: of a sentence.
        moments: of an answer.
        waiting_answers: questions that may wait for the network at once.
        waiting_videos: videos that may wait for their features at once.
        uploads_at_once: files that may come in at once.
        silence_sec: an upload that sends nothing for so long is given up.

    Raises:
        ConfigError: one upload may be larger than all together.
    """

    upload_bytes: int = 500 * 10**6
    stored_bytes: int = 5 * 10**9
    minutes: float = 180.0
    query_chars: int = 300
    moments: int = 20
    waiting_answers: int = 256
    waiting_videos: int = 16
    uploads_at_once: int = 4
    silence_sec: float = 30.0

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other."""
        if self.upload_bytes > self.stored_bytes:
            raise ConfigError(
                f"--max-upload-mb {self.upload_bytes / 1e6:g}: one upload may not be larger than all together, "
                f"--max-uploads-mb {self.stored_bytes / 1e6:g}. Lower the one or raise the other."
            )


class RefusedError(Exception):
    """A request that is not served, with a sentence for the visitor.

    Args:
        status: of HTTP.
        message: what is wrong and what to do.
        retry_sec: after so many seconds the same request may be served.
    """

    def __init__(self, status: int, message: str, *, retry_sec: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_sec = status, message, retry_sec


def megabytes(size: int) -> str:
    """A size as people say it.

    >>> megabytes(500_000_000), megabytes(1_250_000), megabytes(900)
    ('500 MB', '1.2 MB', '0.0 MB')
    """
    return f"{size / 1e6:.0f} MB" if size >= 10**7 else f"{size / 1e6:.1f} MB"


def for_visitors(error: object, path: Path, name: str) -> str:
    """What an error says, without where things lie on the server.

    Args:
        error: it, or its words.
        path: the video that it is about.
        name: what visitors call that.

    >>> for_visitors("/data/a b.mp4: cannot be read, /home/me/.cache/vmr/x.h5: full", Path("/data/a b.mp4"), "b.mp4")
    'b.mp4: cannot be read, x.h5: full'
    """
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "", str(error).replace(str(path), name))
