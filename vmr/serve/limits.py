"""Limits of the page, and refusals."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from vmr.settings.section import Section


class Limits(Section):
    """Limits on everything that visitors can make grow."""

    max_upload_mb: float = Field(default=500, gt=0, description="Largest file that is taken.")
    max_uploads_mb: float = Field(default=5000, gt=0, description="All uploads together; the oldest make way.")
    max_minutes: float = Field(default=180, gt=0, description="Longest video that is taken.")
    query_chars: int = Field(default=300, description="Of a sentence.")
    moments: int = Field(default=20, description="Of an answer.")
    waiting_answers: int = Field(default=256, description="Questions that may wait at once.")
    waiting_videos: int = Field(default=16, description="Videos that may wait at once for their features.")
    searches: int = Field(default=4, description="Searches of all videos that may be at work at once.")
    waiting_clips: int = Field(default=4, description="Moments that may wait at once to be cut out.")
    uploads_at_once: int = Field(default=4, description="Uploads that may run at once.")
    silence_sec: float = Field(default=30.0, description="Longest time in which an upload sends nothing.")
    connections: int = Field(default=1000, description="At once, as far as the system's limit of open files allows.")
    head_sec: float = Field(default=10.0, description="Longest time for the head of a request.")
    idle_sec: float = Field(default=60.0, description="Longest time in which a visitor takes or sends nothing.")

    @model_validator(mode="after")
    def _one_fits(self) -> Self:
        if self.max_upload_mb > self.max_uploads_mb:
            raise ValueError(
                f"--max-upload-mb {self.max_upload_mb:g}: one upload may not be larger than all together, "
                f"--max-uploads-mb {self.max_uploads_mb:g}. Lower the one or raise the other."
            )
        return self

    @property
    def upload_bytes(self) -> int:
        """Of one uploaded file."""
        return round(self.max_upload_mb * 10**6)

    @property
    def stored_bytes(self) -> int:
        """Of all complete uploads together."""
        return round(self.max_uploads_mb * 10**6)


class Listening(Section):
    """Where the page is served, and to whom."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; others than this machine's need a token.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0: any that is free.")
    token: str | None = Field(
        default=None,
        description="What visitors must show; random where one is needed.",
        json_schema_extra={"envvar": "VMR_TOKEN"},
    )
    allow_host: list[str] = Field(default_factory=list, description="Another name by which the server is called.")


class RefusedError(Exception):
    """A refused request, with a message for the visitor."""

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

    >>> for_visitors("/data/a b.mp4: cannot be read, /home/me/.cache/vmr/x.h5: full", Path("/data/a b.mp4"), "b.mp4")
    'b.mp4: cannot be read, x.h5: full'
    """
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "", str(error).replace(str(path), name))
