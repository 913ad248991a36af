"""Limits of the page, and refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vmr.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Limits on everything that visitors can make grow.

    Attributes:
        upload_bytes: of one uploaded file.
        stored_bytes: of all complete uploads together; the oldest are deleted for new ones.
        minutes: of an uploaded video.
        query_chars: of a sentence.
        moments: of an answer.
        waiting_answers: questions that may wait at once.
        waiting_videos: videos that may wait at once for their features.
        uploads_at_once: uploads that may run at once.
        silence_sec: longest time in which an upload sends nothing.

    Raises:
        ConfigError: the limit of one upload is larger than that of all together.
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
        """Refuse limits that contradict each other."""
        if self.upload_bytes > self.stored_bytes:
            raise ConfigError(
                f"--max-upload-mb {self.upload_bytes / 1e6:g}: one upload may not be larger than all together, "
                f"--max-uploads-mb {self.stored_bytes / 1e6:g}. Lower the one or raise the other."
            )


class RefusedError(Exception):
    """A refused request, with a message for the visitor.

    Args:
        status: of HTTP.
        message: what is wrong and what to do.
        retry_sec: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, message: str, *, retry_sec: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_sec = status, message, retry_sec


def megabytes(size: int) -> str:
    """A size for people.

    >>> megabytes(500_000_000), megabytes(1_250_000), megabytes(900)
    ('500 MB', '1.2 MB', '0.0 MB')
    """
    return f"{size / 1e6:.0f} MB" if size >= 10**7 else f"{size / 1e6:.1f} MB"


def for_visitors(error: object, path: Path, name: str) -> str:
    """The message of an error without paths on the server.

    Args:
        error: the error, or its message.
        path: the video that it names.
        name: the visitors' name of this video.

    >>> for_visitors("/data/a b.mp4: cannot be read, /home/me/.cache/vmr/x.h5: full", Path("/data/a b.mp4"), "b.mp4")
    'b.mp4: cannot be read, x.h5: full'
    """
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "", str(error).replace(str(path), name))
