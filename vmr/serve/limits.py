"""Limits of the page, and refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from vmr.settings.section import Section


class Limits(Section):
    """Limits on everything that visitors can make grow."""

    max_upload_mb: Annotated[float, Field(gt=0, description="Largest file that is taken.")] = 500
    max_uploads_mb: Annotated[float, Field(gt=0, description="All uploads together; the oldest make way.")] = 5000
    max_minutes: Annotated[float, Field(gt=0, description="Longest video that is taken.")] = 180
    query_chars: Annotated[int, Field(description="Of a sentence.")] = 300
    moments: Annotated[int, Field(description="Of an answer.")] = 20
    waiting_answers: Annotated[int, Field(description="Questions that may wait at once.")] = 256
    waiting_videos: Annotated[int, Field(description="Videos that may wait at once for their features.")] = 16
    searches: Annotated[int, Field(description="Searches of all videos that may be at work at once.")] = 4
    waiting_clips: Annotated[int, Field(description="Moments that may wait at once to be cut out.")] = 4
    uploads_at_once: Annotated[int, Field(description="Uploads that may run at once.")] = 4
    silence_sec: Annotated[float, Field(description="Longest time in which an upload sends nothing.")] = 30.0
    connections: Annotated[int, Field(description="At once, as far as the system's limit of open files allows.")] = 1000
    head_sec: Annotated[float, Field(description="Longest time for the head of a request.")] = 10.0
    idle_sec: Annotated[float, Field(description="Longest time in which a visitor takes or sends nothing.")] = 60.0

    @model_validator(mode="after")
    def _one_fits(self) -> Limits:
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

    host: Annotated[str, Field(description="Address to listen on; others than this machine's need a token.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="Port; 0: any that is free.")] = 8000
    token: Annotated[
        str | None,
        Field(
            description="What visitors must show; random where one is needed.",
            json_schema_extra={"envvar": "VMR_TOKEN"},
        ),
    ] = None
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
