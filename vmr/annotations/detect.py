"""Which of the formats an annotation file has, told by its content."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vmr.annotations.moments import MOMENT_COLUMNS
from vmr.annotations.parsed import read_bytes
from vmr.errors import AnnotationError


def detect_format(path: Path) -> str:
    """Tell the format of an annotation file by how it begins.

    Args:
        path: the file.

    Returns:
        ``activitynet_captions`` for a JSON object, ``moments`` for a CSV with the header of our table of moments,
        ``charades_sta`` where one of the first lines holds ``##``.

    Raises:
        AnnotationError: the file is missing or empty, or is none of these.
    """
    content = read_bytes(path).lstrip()
    if content.startswith(b"{"):
        return "activitynet_captions"
    lines = content[:100_000].splitlines()[:20]
    header = next(csv.reader(io.StringIO(lines[0].decode("utf-8", errors="replace"))), [])
    if set(MOMENT_COLUMNS) <= set(header):
        return "moments"
    if any(b"##" in line for line in lines):
        return "charades_sta"
    start = lines[0][:80].decode("utf-8", errors="replace")
    raise AnnotationError(
        f"{path}: the format cannot be told. Expected Charades-STA lines (`video start end##sentence.`), ActivityNet "
        f"Captions JSON or a table of moments (CSV with {', '.join(MOMENT_COLUMNS)}); it begins with {start!r}."
    )
